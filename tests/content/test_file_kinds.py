"""Files of the programs that people use: they are what they are, and go to Meta by a name that says
so.
"""

import io
import struct
import zipfile

import pytest
from urllib3.filepost import encode_multipart_formdata

from service.content.file_check import sniff
from service.content.file_signatures import OPENXML
from tests.people import CHATBOT, CUSTOMER, sql
from tests.stack import ROOT

SAMPLES = ROOT / 'tests' / 'samples'


def sniffed(content):
    return sniff(io.BytesIO(content))


def archive(*names):
    file = io.BytesIO()
    with zipfile.ZipFile(file, 'w') as together:
        for name in names:
            together.writestr(name, '<x/>')
    return file.getvalue()


def box(kind, content=b''):
    return struct.pack('>I4s', 8 + len(content), kind) + content


def iso(brand, *tracks, like=()):
    """An ISO media file of a brand, with tracks of these handlers (vide, soun)."""
    handlers = [
        box(b'trak', box(b'mdia', box(b'hdlr', bytes(8) + kind + bytes(13)))) for kind in tracks
    ]
    return (
        box(b'ftyp', brand + bytes(4) + b''.join(like))
        + box(b'moov', b''.join(handlers))
        + box(b'mdat', bytes(64))
    )


def opus(channels):
    return b'OggS\0\2' + bytes(22) + b'OpusHead\1' + bytes([channels]) + bytes(60)


def tagged(*frames, size=300, footer=False):
    """Sound behind an ID3 tag."""
    length = bytes([size >> shift & 0x7F for shift in (21, 14, 7, 0)])
    return (
        b'ID3\4\0'
        + (b'\x10' if footer else b'\0')
        + length
        + bytes(size + 10 * footer)
        + b''.join(frames)
    )


AAC, MP3, CONTENT = (
    b'\xff\xf1\x50\x80' + bytes(60),
    b'\xff\xfb\x90\x04' + bytes(60),
    '[Content_Types].xml',
)
OPEN = [
    (archive(CONTENT, '_rels/.rels', 'word/document2.xml'), f'{OPENXML}wordprocessingml.document'),
    (archive('word/document.xml', CONTENT), f'{OPENXML}wordprocessingml.document'),
    (archive(CONTENT, 'xl/workbook2.xml'), f'{OPENXML}spreadsheetml.sheet'),
    (archive(CONTENT, 'ppt/presentation11.xml'), f'{OPENXML}presentationml.presentation'),
    (
        archive(CONTENT, 'word/document2.xml', 'word/vbaProject.bin'),
        'application/vnd.ms-office.macroenabled.12',
    ),
    (archive(CONTENT, 'xl/workbook.bin'), 'application/zip'),
    (archive('word/document2.xml'), 'application/zip'),
]
TEXTS = [
    ('hello\n'.encode('utf-16'), 'text/plain'),
    (b'\xfe\xff' + 'olá\t日本 😀\r\n'.encode('utf-16-be'), 'text/plain'),
    ('hello'.encode('utf-32'), 'text/plain'),
    (('a,b\n' * 200_000).encode('utf-16'), 'text/plain'),
    ('<html><p>'.encode('utf-16'), 'text/html'),
    ('a\0b'.encode('utf-16'), 'application/octet-stream'),
    ('abc'.encode('utf-16') + b'x', 'application/octet-stream'),
    (b'\xff\xfe' + b'\x00\xd8\x00\xd8' * 40, 'application/octet-stream'),
    (b'<?xml version="1.0" encoding="UTF-8"?><invoice/>', 'application/xml'),
    (b'ID3 is a tag', 'text/plain'),
]
PAPERS = [
    b'%PDF-1.4\nbody',
    b'\n%PDF-1.7\n\xe2\xe3\0\0 body',
    b'\r\n%PDF-1.7\nascii body',
    b'\xef\xbb\xbf%PDF-1.7\n\xe2\0',
    b'\xef\xbb\xbf\r\n \t%PDF-1.3\n',
    b'\0\0%PDF-1.5\n\xff\xfe\0',
]
FILMS = [
    b'isom',
    b'iso2',
    b'iso6',
    b'isoa',
    b'mp41',
    b'mp42',
    b'mp4v',
    b'mmp4',
    b'avc1',
    b'hvc1',
    b'hev1',
    b'XAVC',
    b'M4V ',
    b'M4VP',
    b'MSNV',
    b'dash',
    b'cmfc',
    b'f4v ',
    b'F4V ',
    b'NDSC',
    b'NDXM',
    b'SDV ',
    b'caqv',
    b'av01',
    b'dby1',
    b'FACE',
    b'mp71',
    b'piff',
]
OTHERS = [
    (iso(b'qt  ', b'vide', b'soun'), 'video/quicktime'),
    (iso(b'3gp4', b'vide', b'soun'), 'video/3gpp'),
    (iso(b'3gp5', b'soun'), 'audio/3gpp'),
    (iso(b'3gr6', b'soun'), 'audio/3gpp'),
    (iso(b'3g2a', b'vide'), 'video/3gpp2'),
    (iso(b'heic', b'pict', like=[b'mif1', b'heic']), 'image/heic'),
    (iso(b'hevc', b'pict'), 'image/heic'),
    (iso(b'avif', b'pict', like=[b'mif1']), 'image/avif'),
    (iso(b'jp2 '), 'image/jp2'),
    (iso(b'OWN!', b'vide', like=[b'OWN!', b'mp42']), 'video/mp4'),
    (iso(b'OWN!', b'vide'), 'application/octet-stream'),
    (iso(b'OWN!', b'soun', like=[b'isom']), 'audio/mp4'),
    (iso(b'M4A ', b'soun'), 'audio/mp4'),
    (iso(b'dash', b'soun'), 'audio/mp4'),
    (
        box(b'jP  ', b'\r\n\x87\n') + box(b'ftyp', b'jp2 \0\0\0\0jp2 ') + box(b'jp2h', bytes(40)),
        'image/jp2',
    ),
    (b'\xff\x4f\xff\x51\0\x2f' + bytes(60), 'image/jp2'),
    (b'\xff\xd8\xff\xf7\0\x0b' + bytes(60), 'image/jls'),
    (AAC, 'audio/aac'),
    (tagged(AAC), 'audio/aac'),
    (tagged(AAC, size=70_000), 'audio/aac'),
    (tagged(AAC, footer=True), 'audio/aac'),
    (tagged(tagged(AAC)), 'audio/aac'),
    (tagged(bytes(40), AAC), 'audio/aac'),
    (tagged(MP3), 'audio/mpeg'),
    (tagged(tagged(MP3)), 'audio/mpeg'),
    (tagged(b'fLaC' + bytes(60)), 'audio/flac'),
    (tagged(bytes(9)), 'audio/mpeg'),
    (opus(1), 'audio/ogg'),
    (b'OggS\0\2' + bytes(22) + b'\x80theora' + opus(2), 'video/ogg'),
]


@pytest.mark.parametrize(('content', 'mime_type'), [
    *OPEN, *TEXTS, *OTHERS, *((paper, 'application/pdf') for paper in PAPERS), *((iso(one, b'vide'),
        'video/mp4') for one in FILMS),
])  # fmt: skip
def test_a_file_is_what_it_is(content, mime_type):
    assert sniffed(content) == mime_type


# ---- through the door


@pytest.fixture
def acme(backend):
    backend.account()
    return backend


def upload(acme, content, name):
    body, content_type = encode_multipart_formdata({'chatbot_id': CHATBOT, 'file': (name, content)})
    return acme.request('POST', '/media', data=body, content_type=content_type)


@pytest.mark.parametrize(('content', 'name', 'kind'), [
    (OPEN[0][0], 'word-online.docx', 'document'), (PAPERS[1], 'newline-first.pdf', 'document'),
    (PAPERS[2], 'newline-first-ascii.pdf', 'document'), (TEXTS[0][0], 'unicode.txt', 'document'),
    (iso(b'XAVC', b'vide', b'soun'), 'C0001.MP4', 'video'), (tagged(AAC), 'song.aac', 'audio'),
])  # fmt: skip
def test_it_is_taken(acme, content, name, kind):
    answer = upload(acme, content, name)
    assert answer.status_code == 201, answer.text
    assert answer.json['kinds'] == [kind]


@pytest.mark.parametrize(
    ('content', 'name'),
    [
        (OTHERS[14][0], 'photo.jpg'),
        (iso(b'3gp4', b'soun'), 'film.3gp'),
        (OPEN[4][0], 'macro.docm'),
        (OPEN[4][0], 'macro.docx'),
        (b'<?xml version="1.0"?><invoice/>', 'invoice.xml'),
        (iso(b'qt  ', b'vide'), 'film.mp4'),
    ],
)
def test_it_is_refused_by_its_true_name(acme, content, name):
    answer = upload(acme, content, name)
    assert answer.status_code == 422
    assert f'The file is {sniffed(content)}, which' in answer.json['errors']['file'][0]


NAMES = [
    (opus(1), 'audio', 'voice-note.mp4', 'voice-note.ogg'),
    (opus(1), 'audio', 'note.opus', 'note.ogg'),
    (PAPERS[0], 'document', 'cotizacion', 'cotizacion.pdf'),
    (PAPERS[0], 'document', 'Offer v1.2', 'Offer v1.2.pdf'),
    (PAPERS[0], 'document', 'A.PDF', 'A.PDF'),
    (PAPERS[0], 'document', 'photo.jpg', 'photo.pdf'),
    (b'a,b\n1,2\n', 'document', 'table.csv', 'table.txt'),
    (b'Hi', 'document', 'readme', 'readme.txt'),
    (OPEN[0][0], 'document', 'letter.doc', 'letter.docx'),
    (MP3, 'audio', 'song', 'song.mp3'),
    (iso(b'M4A ', b'soun'), 'audio', 'memo.mp4', 'memo.m4a'),
    (iso(b'3gp4', b'vide'), 'video', 'film.mp4', 'film.3gp'),
    ((SAMPLES / 'photo.jpg').read_bytes(), 'image', 'photo.jfif', 'photo.jpg'),
    ((SAMPLES / 'sticker.webp').read_bytes(), 'sticker', 'sticker.png', 'sticker.webp'),
]


@pytest.mark.parametrize(('content', 'kind', 'given', 'sent'), NAMES, ids=[one[2] for one in NAMES])
def test_meta_gets_a_file_by_a_name_that_ends_in_what_it_is(
    acme, workers, stand_in, content, kind, given, sent
):
    media_id = upload(acme, content, given).json['id']
    body = {'chatbot_id': CHATBOT, 'to': f'+{CUSTOMER}', 'type': kind, kind: {'id': media_id}}
    assert acme.post('/send', body).status_code == 202
    workers.send()
    assert [one['filename'] for one in stand_in.get('/uploads')['data']] == [sent]
    (call,) = stand_in.sends()
    shown = sent.replace('table.txt', 'table.csv')  # people know a text by other endings, too
    assert call['body'][kind].get('filename') == (shown if kind == 'document' else None)
    disposition = acme.get(f'/media/{media_id}/content').headers['Content-Disposition']
    assert shown.rpartition('.')[2] in disposition.rpartition('.')[2] or given.endswith(
        ('.opus', '.mp4', '.jfif')
    )


def test_a_name_that_the_caller_gives_stays(acme, workers, stand_in):
    media_id = upload(acme, PAPERS[0], 'cotizacion').json['id']
    document = {'id': media_id, 'filename': 'Your offer'}
    acme.post('/send', {'chatbot_id': CHATBOT, 'to': f'+{CUSTOMER}', 'document': document})
    workers.send()
    assert stand_in.sends()[0]['body']['document']['filename'] == 'Your offer'


def voice(acme, media_id, **more):
    audio = {'id': media_id, 'voice': True, **more}
    return acme.post('/send', {'chatbot_id': CHATBOT, 'to': f'+{CUSTOMER}', 'audio': audio})


def test_a_voice_message_is_mono_ogg_with_opus(acme):
    mono, stereo, song = (upload(acme, one, 'a.ogg').json['id'] for one in (opus(1), opus(2), MP3))
    assert voice(acme, mono).status_code == 202
    for media_id, word in ((stereo, 'stereo'), (song, 'audio/mpeg')):
        answer = voice(acme, media_id)
        assert (answer.status_code, list(answer.json['errors'])) == (422, ['audio.id'])
        assert word in answer.json['errors']['audio.id'][0]
        assert voice(acme, media_id, voice=False).status_code == 202
    sql('UPDATE media SET channels = NULL')  # uploaded before anybody looked
    assert voice(acme, stereo).status_code == 202
