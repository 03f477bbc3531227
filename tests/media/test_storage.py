"""The storage for files, as a directory and as a bucket: whole or not at all, in pieces, under keys
of ours alone.
"""

import io
import os
import socket
import tracemalloc
from contextlib import suppress
from pathlib import Path

import pytest
from botocore.config import Config

from service.media import storage_s3
from service.media.storage import storage
from service.media.storage_directory import Directory
from service.media.storage_interface import Missing, StorageError, key_of
from service.runtime.config import ConfigError, settings
from tests.bucket import CREDENTIALS
from tests.people import CHATBOT

ID = '01930000-0000-7000-8000-000000000000'
KEY = key_of(CHATBOT, ID)


@pytest.fixture(params=['directory', 'bucket'])
def place(request, monkeypatch, tmp_path):
    """The storage under test, empty."""
    if request.param == 'directory':
        monkeypatch.setenv('MEDIA_URL', f'file://{tmp_path}/a%20place')
        settings.forget()
        yield storage()
        settings.forget()
    else:
        request.getfixturevalue('in_bucket')
        yield storage()


def whole(place, key=KEY, **stretch):
    with place.open(key, **stretch) as piece:
        return b''.join(piece)


def test_what_is_put_is_read_again(place):
    place.put(KEY, io.BytesIO(b'0123456789'))
    assert place.size(KEY) == 10
    assert whole(place) == b'0123456789'


@pytest.mark.parametrize(
    ('start', 'length', 'expected'),
    [(0, 4, b'0123'), (3, None, b'3456789'), (3, 2, b'34'), (9, 1, b'9'), (0, 10, b'0123456789')],
)
def test_any_stretch_of_it_is_read(place, start, length, expected):
    place.put(KEY, io.BytesIO(b'0123456789'))
    assert whole(place, start=start, length=length) == expected


def test_it_is_read_like_a_file_too(place):
    place.put(KEY, io.BytesIO(b'0123456789'))
    with place.open(KEY, 1, 8) as piece:
        assert [piece.read(5), piece.read(-1), piece.read(5)] == [b'12345', b'678', b'']


def test_an_empty_file_is_a_file(place):
    place.put(KEY, io.BytesIO())
    assert (place.size(KEY), whole(place)) == (0, b'')
    with place.open(KEY, 0, 0) as piece:
        assert piece.read() == b''


def test_a_second_one_under_the_same_key_takes_the_place_of_the_first(place):
    place.put(KEY, io.BytesIO(b'first, and longer'))
    place.put(KEY, io.BytesIO(b'second'))
    assert (place.size(KEY), whole(place)) == (6, b'second')


def test_what_is_deleted_or_never_was_is_missing(place):
    place.put(KEY, io.BytesIO(b'x'))
    place.delete(KEY)
    place.delete(KEY)
    for ask in (place.open, place.size):
        with pytest.raises(Missing):
            ask(KEY)


def test_nobody_sees_a_draft_and_one_that_is_not_kept_is_gone(place):
    with place.create(KEY) as draft:
        draft.write(b'half of it')
        with pytest.raises(Missing):
            place.size(KEY)
    with pytest.raises(Missing):
        place.size(KEY)


def test_what_is_kept_soon_is_there_at_once_and_settled_with_others(place):
    for number in range(3):
        with place.create(f'{KEY}-{number}') as draft:
            draft.write(b'x')
            draft.keep(soon=True)
        assert place.size(f'{KEY}-{number}') == 1
    place.fsync([f'{KEY}-{number}' for number in range(3)])


def test_a_reader_keeps_the_file_that_it_opened(place):
    place.put(KEY, io.BytesIO(b'first'))
    with place.open(KEY) as piece:
        place.put(KEY, io.BytesIO(b'second'))
        assert piece.read() == b'first'


@pytest.mark.parametrize(
    'key',
    [
        '',
        '/etc/passwd',
        '../x',
        'a/../../x',
        'a//b',
        'a/',
        '.drafts/x',
        'a/.b',
        'a\\b',
        'a\x00b',
        'a/b\n',
        'é',
        'a b',
        'A',
    ],
)
def test_a_key_that_is_not_ours_is_refused(place, key):
    for call in (
        place.open,
        place.size,
        place.delete,
        lambda key: place.put(key, io.BytesIO(b'x')),
    ):
        with pytest.raises(ValueError, match='not a storage key'):
            call(key)


def test_a_key_tells_nothing_of_whose_file_it_is_and_keeps_chatbots_apart():
    assert CHATBOT not in KEY
    assert key_of('../../etc', ID) != key_of('other', ID)
    assert key_of(CHATBOT, ID) == KEY


class Endless(io.RawIOBase):
    """Twenty megabytes that lie nowhere."""

    def __init__(self):
        self.left = 20 * 2**20

    def readable(self):
        return True

    def read(self, size=-1):
        size = min(size, self.left)
        self.left -= size
        return b'x' * size


def test_a_large_file_is_never_in_memory(place):
    place.put(KEY, io.BytesIO(b'warm'))  # what a library loads at its first use
    tracemalloc.start()
    try:
        place.put(KEY, Endless())
        with place.open(KEY) as piece:
            assert sum(map(len, piece)) == 20 * 2**20
        assert tracemalloc.get_traced_memory()[1] < 12 * 2**20
    finally:
        tracemalloc.stop()


def test_a_directory_holds_whole_files_and_no_drafts(tmp_path):
    place = Directory(tmp_path)
    place.put(KEY, io.BytesIO(b'x'))
    assert [str(path.relative_to(tmp_path)) for path in tmp_path.rglob('*') if path.is_file()] == [
        KEY
    ]


def test_drafts_that_a_dead_process_left_are_cleared_away_after_a_day(tmp_path):
    (tmp_path / '.drafts').mkdir()
    old, new = tmp_path / '.drafts' / 'old', tmp_path / '.drafts' / 'new'
    old.touch()
    new.touch()
    os.utime(old, (0, 0))
    Directory(tmp_path)
    assert (old.exists(), new.exists()) == (False, True)


def test_a_place_that_cannot_be_written_says_so_without_its_path(tmp_path):
    (tmp_path / 'file').touch()
    with pytest.raises(StorageError, match='Not a directory') as error:
        Directory(tmp_path / 'file').put(KEY, io.BytesIO(b'x'))
    assert str(tmp_path) not in str(error.value)


def test_a_bucket_that_is_not_there_says_so(bucket, in_bucket, setting):
    setting('MEDIA_URL', bucket.url.replace('s3://files', 's3://elsewhere'))
    with pytest.raises(StorageError, match='NoSuchBucket'):
        storage().put(KEY, io.BytesIO(b'x'))


def test_a_deletion_in_a_bucket_that_hangs_is_given_up_after_one_attempt(monkeypatch, setting):
    for name, value in CREDENTIALS.items():
        monkeypatch.setenv(name, value)
    asked = []
    with socket.create_server(('127.0.0.1', 0)) as hanging:
        quick = storage_s3.IMPATIENT.merge(Config(read_timeout=0.2))
        monkeypatch.setattr(storage_s3, 'IMPATIENT', quick)
        port = hanging.getsockname()[1]
        setting('MEDIA_URL', f's3://hangs?endpoint_url=http://127.0.0.1:{port}&region=x')
        with pytest.raises(StorageError, match='ReadTimeoutError'):
            storage().delete(KEY)
        hanging.setblocking(False)
        with suppress(BlockingIOError):
            while True:
                asked.append(hanging.accept()[0])
    for connection in asked:
        connection.close()
    assert len(asked) == 1


def test_a_bucket_keeps_to_its_prefix(bucket, in_bucket):
    storage().put(KEY, io.BytesIO(b'x'))
    assert bucket.keys() == [f'some/prefix/{KEY}']


def test_a_relative_directory_is_of_the_working_directory(setting, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    setting('MEDIA_URL', 'file:some/where')
    assert storage().root == Path(tmp_path) / 'some/where'


def test_without_boto3_the_process_says_what_to_install(monkeypatch):
    monkeypatch.setenv('MEDIA_URL', 's3://bucket')
    monkeypatch.setattr('service.runtime.env_values.find_spec', lambda name: None)
    settings.forget()
    with pytest.raises(ConfigError, match=r'^MEDIA_URL .*boto3.*requirements-s3\.txt'):
        _ = settings.MEDIA_URL
    settings.forget()
