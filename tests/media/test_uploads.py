"""POST /media: what may be uploaded to be sent, and what is refused with a sentence."""

import hashlib
import socket
from types import SimpleNamespace

import psutil
import pytest
import requests
from urllib3 import encode_multipart_formdata

from service.content.file_types import KB, MB
from service.media.storage import storage
from service.media.storage_interface import key_of
from tests.content.test_media_types import sample
from tests.people import CHATBOT, sql
from tests.stack import Processes, free_port, wait_until

KEY = {'Authorization': 'Bearer test-key'}
HTML = b'<!DOCTYPE html><script>alert(1)</script>'


@pytest.fixture
def acme(backend):
    backend.account()
    return backend


def upload(backend, content, name='a.bin', chatbot_id=CHATBOT, **fields):
    """As a client's library writes it; None leaves a field out."""
    parts = {'chatbot_id': chatbot_id, 'file': (name, content), **fields}
    body, content_type = encode_multipart_formdata(
        {name: part for name, part in parts.items() if part is not None}
    )
    return backend.request('POST', '/media', data=body, content_type=content_type)


def refusal(answer, field):
    assert answer.status_code == 422, answer.text
    assert answer.json['errors'].keys() == {field}
    assert sql('SELECT count(*) FROM media') == [(0,)]
    return answer.json['errors'][field][0]


def padded(name, size):
    return sample(name).ljust(size, b'\0')


def test_a_file_is_stored_and_described(acme):
    content = sample('photo.jpg')
    answer = upload(
        acme, content, 'Sunset at sea.jpg', type='image/jpeg', messaging_product='whatsapp'
    )
    assert answer.status_code == 201
    file = answer.json
    assert file.keys() == {
        'id',
        'chatbot_id',
        'mime_type',
        'size',
        'sha256',
        'filename',
        'kinds',
        'created_at',
    }
    assert (file['mime_type'], file['size'], file['kinds']) == (
        'image/jpeg',
        len(content),
        ['image'],
    )
    assert (file['filename'], file['sha256']) == (
        'Sunset at sea.jpg',
        hashlib.sha256(content).hexdigest(),
    )
    assert file['created_at'].endswith('Z')
    assert acme.get(f'/media/{file["id"]}').json == file
    given_back = acme.get(f'/media/{file["id"]}/content', headers={'Range': 'bytes=2-'})
    assert (given_back.status_code, given_back.data, given_back.mimetype) == (
        206,
        content[2:],
        'image/jpeg',
    )
    assert 'Sunset at sea.jpg' in given_back.headers['Content-Disposition']
    with storage().open(key_of(CHATBOT, file['id'])) as stored:
        assert stored.read() == content


@pytest.mark.parametrize(
    ('name', 'limit'),
    [
        ('photo.jpg', 5 * MB),
        ('tagged.mp3', 16 * MB),
        ('film.3gp', 16 * MB),
        ('sticker.webp', 100 * KB),
        ('moving.webp', 500 * KB),
    ],
)
def test_each_kind_is_taken_up_to_its_limit_and_not_a_byte_more(acme, name, limit):
    assert 'bytes' in refusal(upload(acme, padded(name, limit + 1)), 'file')
    assert upload(acme, padded(name, limit)).status_code == 201


def test_a_document_may_have_100_mb_and_a_body_hardly_more(acme):
    answer = upload(acme, padded('paper.pdf', 100 * MB))
    assert (answer.status_code, answer.json['kinds']) == (201, ['document'])
    assert upload(acme, bytes(101 * MB)).status_code == 413


@pytest.mark.parametrize(
    ('content', 'name', 'said'),
    [
        (b'', 'empty.txt', 'empty'),
        (HTML, 'page.txt', 'text/html'),
        (b'MZ\x90\0\3', 'a.pdf', 'executable'),
        (b'\0\1', 'a.jpg', 'octet-stream'),
        (sample('moving.gif'), 'a.png', 'image/gif'),
        (sample('vorbis.ogg'), 'a.ogg', 'audio/vorbis'),
        (b'#!/bin/sh\nrm x', 'a.txt', 'shellscript'),
    ],
)
def test_what_whatsapp_does_not_take_is_refused_whatever_its_name_says(acme, content, name, said):
    sentence = refusal(upload(acme, content, name), 'file')
    assert said in sentence
    assert content == b'' or 'image/jpeg' in sentence  # what is allowed


def test_a_type_that_lies_is_refused_with_the_true_one(acme):
    sentence = refusal(upload(acme, sample('drawing.png'), type='image/jpeg'), 'type')
    assert 'image/png' in sentence
    assert upload(acme, b'a,b\n1,2', 'table.csv', type='text/csv').json['mime_type'] == 'text/plain'


@pytest.mark.parametrize(
    ('given', 'kept'),
    [
        ('../../etc/passwd', 'passwd'),
        ('C:\\Windows\\a.txt', 'a.txt'),
        ('a\r\nX-Evil: 1.txt', 'aX-Evil: 1.txt'),
        ('über "uns".txt', 'über "uns".txt'),
        ('.htaccess', 'htaccess'),
        ('..', None),
        ('/', None),
        ('n' * 300 + '.txt', 'n' * 236 + '.txt'),
        ('a\u202etxt.exe', 'atxt.exe'),
        ('a\0b', 'ab'),
    ],
)
def test_a_hostile_file_name_becomes_a_harmless_one(acme, given, kept):
    file = upload(acme, b'Hello', filename=given).json
    assert file['filename'] == kept
    assert acme.get(f'/media/{file["id"]}').json['filename'] == kept


def test_what_is_missing_or_unknown_is_named(acme):
    assert 'Unknown' in refusal(upload(acme, b'x', colour='blue'), 'colour')
    refusal(upload(acme, b'x', chatbot_id=None), 'chatbot_id')
    refusal(upload(acme, b'x', chatbot_id='a\0b'), 'chatbot_id')
    refusal(upload(acme, b'x', file='a text'), 'file')
    broken = acme.request(
        'POST', '/media', data=b'--x\r\nnonsense', content_type='multipart/form-data; boundary=x'
    )
    assert (broken.status_code, set(broken.json['errors'])) == (422, {'chatbot_id', 'file'})
    assert acme.post('/media', {'chatbot_id': CHATBOT}).status_code == 415


def test_an_empty_field_is_left_out_and_none_is_given_twice(acme):
    paper = ('a.pdf', b'%PDF-1.4\nbody')
    assert upload(acme, b'', file=paper, type='', filename='').json['filename'] == 'a.pdf'
    parts = [('chatbot_id', CHATBOT), ('file', paper), ('filename', 'b.pdf'), ('filename', 'c.pdf')]
    body, content_type = encode_multipart_formdata(parts)
    twice = acme.request('POST', '/media', data=body, content_type=content_type)
    assert (twice.status_code, list(twice.json['errors'])) == (422, ['filename'])


def test_only_a_chatbot_that_is_there_and_active_has_files(acme):
    assert upload(acme, b'Hello', chatbot_id='nobody').status_code == 404
    acme.post(f'/account/{CHATBOT}/deactivate')
    assert upload(acme, b'Hello').status_code == 400
    assert acme.get('/media/01930000-0000-7000-8000-000000000000').status_code == 404
    assert acme.get('/media/01930000-0000-7000-8000-000000000000/content').status_code == 404


@pytest.fixture
def web(database, backend, tmp_path):
    """A real web process with one worker; its address and that worker."""
    backend.account()
    port = free_port()
    processes = Processes(tmp_path, {'PORT': str(port), 'WEB_CONCURRENCY': '1'})
    processes.start('web')
    processes.wait_port(port)
    try:
        (worker,) = wait_until(
            psutil.Process(processes.children['web'][0].process.pid).children, 20
        )
        yield SimpleNamespace(
            port=port, url=f'http://127.0.0.1:{port}/whatsapp-cloud/media', worker=worker
        )
    finally:
        assert processes.stop_all() == {'web': [0]}


class Body:
    """A multipart body of `size` bytes of file, made while it is read.

    Meanwhile it looks at a process's memory.
    """

    def __init__(self, size, process):
        form, self.content_type = encode_multipart_formdata(
            {'chatbot_id': CHATBOT, 'file': ('a.pdf', b'')}
        )
        end = form.rindex(b'\r\n--')
        self.parts = (form[:end], sample('paper.pdf').ljust(size, b'\0'), form[end:])
        self.process, self.most = process, 0

    def __len__(self):
        return sum(map(len, self.parts))

    def __iter__(self):
        for part in self.parts:
            for at in range(0, len(part), MB):
                yield part[at : at + MB]
                self.most = max(self.most, self.process.memory_info().rss)


@pytest.mark.parametrize('chunked', [False, True])
def test_60_mb_pass_through_the_web_process_without_staying_in_it(web, chunked):
    """It grows by the pieces in flight, measured once it has what its first files made it load."""

    def post(size):
        body = Body(size, web.worker)
        headers = {**KEY, 'Content-Type': body.content_type}
        data = iter(body) if chunked else body
        answer = requests.post(web.url, data=data, headers=headers, timeout=60)
        assert (answer.status_code, answer.json()['size']) == (201, size)
        return max(body.most, web.worker.memory_info().rss)

    warm = max(post(8 * MB) for _ in range(2))
    assert post(60 * MB) - warm < 12 * MB
    assert sql("SELECT count(*) FROM pg_stat_activity WHERE state = 'idle in transaction'") == [
        (0,)
    ]


def test_while_a_caller_takes_his_time_nobody_waits_for_his_connection(web):
    """A pool of ten connections, twelve callers in the middle of their files.

    One more is served.
    """
    head = (
        b'POST /whatsapp-cloud/media HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer test-key\r\n'
        b'Content-Type: multipart/form-data; boundary=x\r\nContent-Length: 1000\r\n\r\n--x\r\n'
    )
    slow = [socket.create_connection(('127.0.0.1', web.port)) for _ in range(12)]
    try:
        for connection in slow:
            connection.sendall(head)
        form = {'chatbot_id': (None, CHATBOT), 'file': ('a.txt', b'Hello')}
        answer = requests.post(web.url, files=form, headers=KEY, timeout=8)
        assert answer.status_code == 201
    finally:
        for connection in slow:
            connection.close()


def test_without_its_storage_the_gateway_takes_no_file_and_says_so(acme, setting):
    setting('MEDIA_URL', 'file:///proc/nowhere')
    answer = upload(acme, b'Hello')
    assert (answer.status_code, answer.headers['Retry-After']) == (503, '2')
    assert 'nowhere' not in answer.text
    assert sql('SELECT count(*) FROM media') == [(0,)]


def test_a_file_that_lies_in_a_bucket_is_sent_alike(acme, in_bucket, stand_in, workers):
    content = sample('paper.pdf').ljust(3 * MB, b'\0')
    file = upload(acme, content, 'a.pdf').json
    acme.post(
        '/send',
        {
            'chatbot_id': CHATBOT,
            'to': '+12025550143',
            'type': 'document',
            'document': {'id': file['id']},
        },
    )
    workers.send()
    (seen,) = stand_in.get('/uploads')['data']
    assert (seen['size'], seen['filename'], acme.messages()[0]['status']) == (
        3 * MB,
        'a.pdf',
        'accepted',
    )
