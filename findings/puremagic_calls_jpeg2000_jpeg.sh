#!/bin/sh
# puremagic 1.30 names a JPEG 2000 picture image/jpeg.
#
# Its tables match such a file three times: twice as image/jp2, and once, with the highest confidence, as "JPEG2000 image
# files" of type image/jpeg. So from_string(mime=True) and the first of magic_string()
# say image/jpeg for a valid .jp2 as Pillow (OpenJPEG) writes it. WhatsApp takes JPEG and refuses JPEG 2000, so a gateway
# that believes it stores the picture, promises to send it, and hears of the refusal only from Meta. That is why
# service/content/file_types.py knows the pictures that WhatsApp takes by signatures of its own.
#
# Exits non-zero when puremagic says anything else.
set -eu
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
python3 -m venv "$place/venv"
"$place/venv/bin/pip" install -q puremagic==1.30 Pillow==12.0.0
"$place/venv/bin/python" - <<'PYTHON'
import io
import puremagic
from PIL import Image

file = io.BytesIO()
Image.new('RGB', (16, 16), 'red').save(file, 'JPEG2000')
picture = file.getvalue()
assert picture[:12] == b'\0\0\0\x0cjP  \r\n\x87\n', 'Pillow did not write a JPEG 2000'
found = [(one.mime_type, one.confidence) for one in puremagic.magic_string(picture)]
said = puremagic.from_string(picture, mime=True)
print('JPEG 2000 is taken for', said, 'among', found)
assert said == found[0][0] == 'image/jpeg', said
assert ('image/jp2' in [mime_type for mime_type, _ in found[1:]]), found
PYTHON
