"""What a file really is, and which messages may carry it: real files of tests/samples, and some
made here.
"""

import io
import struct
import sys
import zipfile

import pytest

from service.content import file_check, file_signatures, file_types
from service.content.file_signatures import OPENXML
from service.content.file_types import KB, MB
from tests.stack import ROOT

SAMPLES = ROOT / 'tests' / 'samples'


def sample(name):
    return (SAMPLES / name).read_bytes()


def sniffed(content):
    return file_check.sniff(io.BytesIO(content))


def problem(content, size=None):
    stream = io.BytesIO(content)
    return file_check.problem(
        stream, file_check.sniff(stream), len(content) if size is None else size
    )


def archive(*names):
    file = io.BytesIO()
    with zipfile.ZipFile(file, 'w') as together:
        for name in names:
            together.writestr(name, 'content of ' + name)
    return file.getvalue()


def old_office(stream):
    """The head of an OLE file: a directory in its first sector, with a root and one stream."""
    entries = b''.join(
        name.encode('utf-16-le').ljust(128, b'\0') for name in ('Root Entry', stream)
    )
    head = (
        file_signatures.OLE
        + bytes(16)
        + struct.pack('<HHHH', 0x3E, 3, 0xFFFE, 9)
        + bytes(16)
        + struct.pack('<I', 0)
    )
    return head.ljust(512, b'\0') + entries.ljust(512, b'\0')


@pytest.mark.parametrize(
    ('name', 'mime_type', 'kind'),
    [
        ('photo.jpg', 'image/jpeg', 'image'),
        ('drawing.png', 'image/png', 'image'),
        ('sticker.webp', 'image/webp', 'sticker'),
        ('moving.webp', 'image/webp', 'sticker'),
        ('film.mp4', 'video/mp4', 'video'),
        ('film.3gp', 'video/3gpp', 'video'),
        ('sound.aac', 'audio/aac', 'audio'),
        ('sound.amr', 'audio/amr', 'audio'),
        ('tagged.mp3', 'audio/mpeg', 'audio'),
        ('bare.mp3', 'audio/mpeg', 'audio'),
        ('sound.m4a', 'audio/mp4', 'audio'),
        ('voice.ogg', 'audio/ogg', 'audio'),
        ('sound_only.mp4', 'audio/mp4', 'audio'),
        ('paper.pdf', 'application/pdf', 'document'),
        ('old.xls', 'application/vnd.ms-excel', 'document'),
        # what WhatsApp does not take is still called by its name
        ('film.mov', 'video/quicktime', None),
        ('film.webm', 'video/webm', None),
        ('moving.gif', 'image/gif', None),
        ('vorbis.ogg', 'audio/vorbis', None),
    ],
)
def test_a_real_file_is_known_by_its_content(name, mime_type, kind):
    found = sniffed(sample(name))
    assert (found, file_types.kind_of(found)) == (mime_type, kind)


@pytest.mark.parametrize(
    ('content', 'mime_type'),
    [
        (
            archive('[Content_Types].xml', 'word/document.xml'),
            f'{OPENXML}wordprocessingml.document',
        ),
        (archive('[Content_Types].xml', 'xl/workbook.xml'), f'{OPENXML}spreadsheetml.sheet'),
        (
            archive('[Content_Types].xml', 'ppt/presentation.xml'),
            f'{OPENXML}presentationml.presentation',
        ),
        (archive('readme.txt'), 'application/zip'),
        (archive('word/document.xml'), 'application/zip'),
        (b'PK\3\4 cut off', 'application/zip'),
        (old_office('WordDocument'), 'application/msword'),
        (old_office('PowerPoint Document'), 'application/vnd.ms-powerpoint'),
        (old_office('Installer'), 'application/x-ole-storage'),
        (file_signatures.OLE, 'application/octet-stream'),
    ],
)
def test_an_office_document_is_told_from_an_archive_by_its_parts(content, mime_type):
    assert sniffed(content) == mime_type


def test_an_archive_with_a_document_in_it_is_an_archive():
    inside = archive('[Content_Types].xml', 'word/document.xml')
    file = io.BytesIO()
    with zipfile.ZipFile(file, 'w', zipfile.ZIP_STORED) as together:
        together.writestr('a.docx', inside)
    assert sniffed(file.getvalue()) == 'application/zip'


@pytest.mark.parametrize(
    'text',
    [
        'Hello\r\n\tworld',
        'a,b\n1,2',
        '{"a": 1}',
        'Ação 日本 😀',
        'MZ is a text',
        'BM, GIF8, ID3',
        '<3 you',
    ],
)
def test_text_is_text_whatever_it_begins_with(text):
    assert sniffed(text.encode()) == 'text/plain'


def test_text_is_looked_through_to_its_end():
    assert sniffed('ñ'.encode('latin-1') * 600_000) == 'text/plain'
    assert sniffed(b'a' * 1_000_000 + b'\0') == 'application/octet-stream'


@pytest.mark.parametrize(
    ('content', 'mime_type'),
    [
        (b'<!DOCTYPE html><p>Hi', 'text/html'),
        (b'\xef\xbb\xbf \n<HTML>', 'text/html'),
        (b'<script>x()', 'text/html'),
        (b'<svg xmlns="http://www.w3.org/2000/svg"/>', 'text/html'),
        (b'<?xml version="1.0"?><a/>', 'application/xml'),
        (b'#!/bin/sh\nrm -rf /', 'text/x-shellscript'),
        (b'{\\rtf1 hello}', 'application/rtf'),
        (b'MZ\x90\0\3\0\0\0\4\0', 'application/x-executable'),
        (b'\x7fELF\2\1\1\0', 'application/x-executable'),
        (b'\0\1\2\3', 'application/octet-stream'),
        (b'\xff', 'text/plain'),
        (b'RIFF\0\0\0\0AVI LIST', 'video/avi'),
        (b'\xff\xfeH\0\0\0', 'application/octet-stream'),
        (b'\0\0\0\x18ftyp', 'application/octet-stream'),
        (b'\0\0\0\0ftypisom' + b'\xff' * 64, 'video/mp4'),
        (b'\0\0\0\1ftypheic' + bytes(64), 'image/heic'),
    ],
)
def test_what_only_looks_harmless_is_not_taken_for_it(content, mime_type):
    assert sniffed(content) == mime_type


def test_an_endless_chain_of_parts_is_not_followed_to_its_end():
    assert (
        sniffed(
            struct.pack('>I4s4s', 12, b'ftyp', b'isom') + struct.pack('>I4s', 8, b'free') * 200_000
        )
        == 'video/mp4'
    )


def test_this_interpreter_is_a_program():
    with open(sys.executable, 'rb') as file:
        assert file_check.sniff(file) == 'application/x-executable'


@pytest.mark.parametrize(
    ('name', 'limit'),
    [
        ('photo.jpg', 5 * MB),
        ('drawing.png', 5 * MB),
        ('voice.ogg', 16 * MB),
        ('sound.m4a', 16 * MB),
        ('film.mp4', 16 * MB),
        ('film.3gp', 16 * MB),
        ('paper.pdf', 100 * MB),
        ('sticker.webp', 100 * KB),
        ('moving.webp', 500 * KB),
    ],
)
def test_each_kind_has_its_limit_to_the_byte(name, limit):
    content = sample(name)
    assert problem(content, limit) is None
    assert f'{limit:,} bytes' in problem(content, limit + 1)


def test_a_refusal_names_what_it_is_and_what_is_allowed():
    sentence = problem(b'<html>')
    assert 'text/html' in sentence
    assert 'image/jpeg' in sentence
    assert 'application/pdf' in sentence
    assert 'static sticker' in problem(sample('sticker.webp'), MB)
    assert 'animated sticker' in problem(sample('moving.webp'), MB)


@pytest.mark.parametrize(
    ('claimed', 'found', 'agreed'),
    [
        ('image/jpeg', 'image/jpeg', True),
        ('IMAGE/JPG', 'image/jpeg', True),
        ('image/png', 'image/jpeg', False),
        ('audio/ogg; codecs=opus', 'audio/ogg', True),
        ('text/csv', 'text/plain', True),
        ('', 'text/plain', False),
        ('text/html', 'text/plain', False),
        ('application/pdf', 'text/plain', False),
        ('audio/x-m4a', 'audio/mp4', True),
    ],
)
def test_a_type_that_was_named_must_be_that_of_the_content(claimed, found, agreed):
    assert file_types.agrees(claimed, found) is agreed
