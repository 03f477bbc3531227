"""Bodies that were cut off on their way: the answer is 400 and nothing is stored, at every cut."""

import io
import json
import socket
import struct
from datetime import UTC, datetime, timedelta

import pytest
from urllib3 import encode_multipart_formdata

from service.content.file_types import MB
from service.runtime.db import db
from service.web.auth import sign
from tests.content.test_media_types import sample
from tests.people import APP_SECRET, CHATBOT, envelope, sql, text_message
from tests.web.clients import SEND

KEY = 'Authorization: Bearer test-key'
HEADER = b'to,name\r\n'
# What a body is cut in the middle of; one of more than 4 MiB is read by its view, piece by piece,
# as it comes in.
SMALL = [b'+1202555%04d,Ana\r\n' % number for number in range(20)]
LARGE = [b'+1202555%04d,%b\r\n' % (number, b'x' * 4000) for number in range(1200)]


@pytest.fixture
def acme(backend):
    backend.account()
    return backend


@pytest.fixture
def post(web, acme):
    """post(target, content_type, body, sent, end=…): announce `body`, send `sent`, then `end`."""

    def post(target, kind, body, sent, end='half-close', headers=(KEY,), chunked=False):
        length = 'Transfer-Encoding: chunked' if chunked else f'Content-Length: {len(body)}'
        lines = [
            f'POST /whatsapp-cloud{target} HTTP/1.1',
            'Host: gateway',
            f'Content-Type: {kind}',
            length,
            *headers,
        ]
        with socket.create_connection(('127.0.0.1', web.port), timeout=30) as connection:
            connection.sendall('\r\n'.join(lines).encode() + b'\r\n\r\n' + sent)
            if end == 'reset':
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 0))
            if end != 'half-close':
                return None
            connection.shutdown(socket.SHUT_WR)
            return answer_of(connection)

    return post


def answer_of(connection):
    """(status, JSON or text) of the only answer on a connection."""
    raw = b''
    while data := connection.recv(65536):
        raw += data
    head, _, body = raw.partition(b'\r\n\r\n')
    return int(head.split()[1]), json.loads(body) if b'json' in head else body.decode()


def chunks(body, size=60_000):
    parts = (body[at : at + size] for at in range(0, len(body), size))
    return b''.join(b'%x\r\n%b\r\n' % (len(part), part) for part in parts)


def counted():
    return sql(
        'SELECT (SELECT count(*) FROM batch) + (SELECT count(*) FROM message) + (SELECT count(*) '
        'FROM media) '
        '+ (SELECT count(*) FROM webhook_event) + (SELECT count(*) FROM idempotency_key)'
    )[0][0]


def bulk(text='Hello {{name}}'):
    return f'/send/bulk?chatbot_id={CHATBOT}&text={text.replace(" ", "%20")}'


CUTS = {
    'between rows': 0,
    'within a row': 8,
    'within a number': 4,
    'before the last line end': -1,
    'one byte short': -1,
}


@pytest.mark.parametrize('rows', [SMALL, LARGE], ids=['small', 'large'])
@pytest.mark.parametrize('cut', CUTS.values(), ids=CUTS)
@pytest.mark.parametrize('chunked', [False, True], ids=['length', 'chunked'])
def test_a_csv_that_was_cut_off_is_400_and_its_repeat_is_sent_whole(post, acme, rows, cut, chunked):
    body, key = HEADER + b''.join(rows), 'Idempotency-Key: once'
    end = len(HEADER + b''.join(rows[: len(rows) // 2])) + cut if cut >= 0 else len(body) + cut
    sent = chunks(body[:end]) if chunked else body[:end]
    status, problem = post(bulk(), 'text/csv', body, sent, headers=(KEY, key), chunked=chunked)
    assert (status, counted()) == (400, 0)
    assert 'The body ended before its announced end' in problem['detail']
    whole = chunks(body) + b'0\r\n\r\n' if chunked else body
    status, batch = post(bulk(), 'text/csv', body, whole, headers=(KEY, key), chunked=chunked)
    assert (status, batch['counts']['queued']) == (202, len(rows))


@pytest.mark.parametrize('end', ['close', 'reset'])
@pytest.mark.parametrize('rows', [SMALL, LARGE], ids=['small', 'large'])
def test_who_hangs_up_in_a_csv_has_sent_nothing(post, acme, web, rows, end):
    body = HEADER + b''.join(rows)
    post(bulk(), 'text/csv', body, body[: len(body) // 2], end)
    assert (
        post('/send', 'application/json', b'{}', b'{}')[0] == 422
    )  # by then the door has seen the end of it
    assert counted() == 0


@pytest.mark.parametrize('size', [20_000, 5 * MB], ids=['small', 'large'])
@pytest.mark.parametrize(
    'left', [1, 3, 40, 10_000], ids=['last byte', 'boundary', 'end of the file', 'file']
)
@pytest.mark.parametrize('chunked', [False, True], ids=['length', 'chunked'])
def test_a_file_that_was_cut_off_is_not_stored(post, size, left, chunked):
    content = sample('photo.jpg').ljust(size, b'\0')
    body, kind = encode_multipart_formdata({'chatbot_id': CHATBOT, 'file': ('a.jpg', content)})
    sent = body[:-left]
    status, problem = post('/media', kind, body, chunks(sent) if chunked else sent, chunked=chunked)
    assert (status, 'The body ended' in problem['detail'], counted()) == (400, True, 0)


def test_a_file_without_the_last_boundary_is_not_stored(post):
    body, kind = encode_multipart_formdata(
        {'chatbot_id': CHATBOT, 'file': ('a.jpg', sample('photo.jpg'))}
    )
    for sent in (body[:-10], body[:-50], body[:1000]):
        status, problem = post('/media', kind, sent, sent)
        assert (status, counted()) == (422, 0), problem


MESSAGE = {'chatbot_id': CHATBOT, 'to': '+12025550143', 'type': 'text', 'text': {'body': 'Hello'}}


@pytest.mark.parametrize('cut', [0, 1, 20, -1])
@pytest.mark.parametrize('chunked', [False, True], ids=['length', 'chunked'])
def test_json_that_was_cut_off_is_400(post, cut, chunked):
    body = json.dumps(MESSAGE).encode()
    sent = chunks(body[:cut]) if chunked else body[:cut]
    status, problem = post('/send', 'application/json', body, sent, chunked=chunked)
    assert (status, 'The body ended' in problem['detail'], counted()) == (400, True, 0)


def test_json_that_is_whole_before_its_announced_end_is_400(post):
    body = json.dumps(MESSAGE).encode()
    assert post('/send', 'application/json', body + b' ', body)[0] == 400
    assert (
        post('/send', 'application/json', body, chunks(body), chunked=True)[0] == 400
    )  # the last chunk is missing
    assert counted() == 0


def test_an_order_whose_body_is_not_even_read_is_not_followed_when_it_was_cut_off(post, acme):
    message = acme.send(send_at=(datetime.now(UTC) + timedelta(days=1)).isoformat())
    assert post(f'/messages/{message["id"]}/cancel', 'application/json', b'{}', b'{')[0] == 400
    assert acme.message(message['id'])['status'] == 'scheduled'
    assert post(f'/messages/{message["id"]}/cancel', 'application/json', b'{}', b'{}')[0] == 200


@pytest.mark.parametrize('size', [0, 100_000, 3_500_000])
@pytest.mark.parametrize('chunked', [False, True], ids=['length', 'chunked'])
def test_a_webhook_that_was_cut_off_is_400_even_if_what_came_was_signed(post, size, chunked):
    part = json.dumps(envelope([text_message('x' * size)])).encode()
    signature = f'X-Hub-Signature-256: {sign(part, APP_SECRET)}'
    sent = chunks(part) if chunked else part
    status, _ = post(
        '/webhook', 'application/json', part + b' ', sent, headers=(signature,), chunked=chunked
    )
    assert (status, counted()) == (400, 0)
    sent += b'0\r\n\r\n' if chunked else b''
    assert (
        post('/webhook', 'application/json', part, sent, headers=(signature,), chunked=chunked)[0]
        == 200
    )
    assert counted() == 1


MALFORMED = {
    'no size': b'\r\n{}\r\n0\r\n\r\n',
    'no number': b'xyz\r\n{}\r\n0\r\n\r\n',
    'negative': b'-2\r\n{}\r\n0\r\n\r\n',
    'hex prefix': b'0x2\r\n{}\r\n0\r\n\r\n',
    'space': b' 2\r\n{}\r\n0\r\n\r\n',
    'longer': b'2\r\n{}}\r\n0\r\n\r\n',
    'shorter': b'3\r\n{}\r\n0\r\n\r\n',
    'bare LF': b'2\n{}\n0\n\n',
    'huge': b'f' * 40 + b'\r\n{}\r\n0\r\n\r\n',
    'endless size': b'0' * 20_000,
    'extension': b'2;\x00\r\n{}\r\n0\r\n\r\n',
    'no chunks': b'{}',
    'bad trailer': b'2\r\n{}\r\n0\r\nno colon\r\n\r\n',
    'length in a trailer': b'2\r\n{}\r\n0\r\nContent-Length: 2\r\n\r\n',
    'bare LF in a trailer': b'2\r\n{}\r\n0\r\na: b\nc: d\r\n\r\n',
    'endless trailer': b'2\r\n{}\r\n0\r\n' + b'a: b\r\n' * 200_000,
}


@pytest.mark.parametrize('body', MALFORMED.values(), ids=MALFORMED)
@pytest.mark.parametrize(
    'target', ['/send', bulk(), '/media', '/webhook'], ids=['json', 'csv', 'file', 'webhook']
)
def test_malformed_chunks_are_a_400(post, web, target, body):
    kind = {'/send': 'application/json', '/media': 'multipart/form-data; boundary=x'}.get(
        target, 'text/csv'
    )
    status, _ = post(
        target, kind, b'', body, headers=(KEY, 'X-Hub-Signature-256: sha256=0'), chunked=True
    )
    assert (status, counted()) == (400, 0)
    assert 'unexpected error' not in web.processes.logs('web')


def test_a_body_is_read_before_a_database_connection_is_taken(backend, application):
    backend.account()
    seen = []

    class Slow(io.BytesIO):
        def readinto(self, buffer):
            seen.append(db.is_closed())
            return super().readinto(buffer)

    body = json.dumps(SEND).encode()
    for path in ('/send', '/account', '/messages/01930000-0000-7000-8000-000000000000/read'):
        application.test_client().post(
            f'/whatsapp-cloud{path}',
            input_stream=Slow(body),
            content_length=len(body),
            headers={'Authorization': 'Bearer test-key', 'Content-Type': 'application/json'},
        )
    assert seen
    assert all(seen)
    assert sql('SELECT count(*) FROM message') == [(1,)]
