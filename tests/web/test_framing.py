"""Where a request ends.

In the same place however its bytes come, and where gunicorn sees its end.
"""

import random

import pytest
from gunicorn import http
from gunicorn.config import Config
from gunicorn.http.errors import ParseException

from service.web.framing import HEAD_LIMIT, LINE_LIMIT, Framing, Malformed

NEXT = b'GET /next HTTP/1.1\r\nHost: gateway\r\n\r\n'
CONFIG = Config()
NO_BODY = b'GET /healthz HTTP/1.1\r\nHost: gateway\r\n\r\n'


def post(body=b'', *headers):
    lines = [b'POST /whatsapp-cloud/send HTTP/1.1', b'Host: gateway', *headers]
    return b'\r\n'.join(lines) + b'\r\n\r\n' + body


def chunked(body):
    return post(body, b'Transfer-Encoding: chunked')


WHOLE = {
    'no body': NO_BODY,
    'no headers': b'GET / HTTP/1.0\r\n\r\n',
    'a line before it': b'\r\n' + NO_BODY,
    'a length': post(b'{"a": 1}', b'Content-Length: 8'),
    'a length of 0': post(b'', b'Content-Length: 0'),
    'a length in other letters': post(b'12345', b'CONTENT-length:\t5 '),
    'a body that looks like a request': post(NEXT, b'Content-Length: %d' % len(NEXT)),
    'chunks': chunked(b'5\r\nhello\r\n1\r\n!\r\n0\r\n\r\n'),
    'no chunk but the last': chunked(b'0\r\n\r\n'),
    'chunks in other letters': post(b'A\r\n0123456789\r\n0\r\n\r\n', b'transfer-encoding: Chunked'),
    'an extension': chunked(b'5 ;a=b;c="d"\r\nhello\r\n0;x\r\n\r\n'),
    'trailers': chunked(b'5\r\nhello\r\n0\r\nX-Sum: 1\r\nY: 2\r\n\r\n'),
    'line ends within a chunk': chunked(b'8\r\n0\r\n\r\n0\r\n\r\n0\r\n\r\n'),
    'leading zeros': chunked(b'0005\r\nhello\r\n000\r\n\r\n'),
}


@pytest.mark.parametrize('raw', WHOLE.values(), ids=WHOLE)
def test_a_request_ends_in_the_same_place_however_it_comes(raw):
    at_once = Framing()
    at_once.update(bytearray(raw + NEXT))
    assert (at_once.size, at_once.expects_continue) == (len(raw), False)
    framing, data = Framing(), bytearray()
    for byte in raw:
        assert framing.size is None or framing.size > len(data)
        data.append(byte)
        framing.update(data)
    assert framing.size == len(raw)


@pytest.mark.parametrize('raw', WHOLE.values(), ids=WHOLE)
def test_gunicorn_sees_the_same_end(raw):
    assert read_by_gunicorn(raw + NEXT) == len(raw)


def read_by_gunicorn(data):
    """How many bytes gunicorn takes for the first request.

    None when it refuses it or wants more.
    """
    parser, body = http.get_parser(CONFIG, iter([data]), ('127.0.0.1', 1)), b''
    try:
        request = next(parser)
        while piece := request.body.read(65536):
            body += piece
    except (ParseException, OSError, StopIteration):
        return None
    if len(body) < int(dict(request.headers).get('CONTENT-LENGTH', 0)):
        return None
    return len(data) - len(parser.unreader.take_buffered())


PARTS = [
    b'POST /a HTTP/1.1\r\n',
    b'Content-Length: 5\r\n',
    b'Content-Length: 3\r\n',
    b'Content-Length',
    b'Transfer-Encoding: chunked\r\n',
    b'Transfer-Encoding:',
    b'identity',
    b'gzip, chunked\r\n',
    b'Expect: x\r\n',
    b'\r\n',
    b'\n',
    b'\r',
    b' ',
    b'\t',
    b':',
    b';x',
    b'\x00',
    b'A: b\r\n',
    b'hello',
    b'5\r\n',
    b'0\r\n',
    b'3\r\nabc\r\n',
    b'0\r\n\r\n',
    b'+5\r\n',
    b'0x5\r\n',
]


def test_where_both_see_an_end_it_is_the_same_in_20_000_random_requests():
    """Else what one takes for a body would be the next request for the other."""
    draw, seen = random.Random(7), 0
    starts = [post()[:-2], chunked(b'')[:-2], post(b'', b'Content-Length: 5')[:-2]]
    for _ in range(20_000):
        raw = draw.choice(starts) + b''.join(draw.choices(PARTS, k=draw.randrange(1, 8)))
        framing = Framing()
        try:
            framing.update(bytearray(raw))
        except Malformed:
            continue
        theirs = read_by_gunicorn(raw)
        if theirs is not None:
            assert framing.size == theirs, raw
            seen += 1
    assert seen > 400


@pytest.mark.parametrize(
    'headers',
    [
        [b'Content-Length: 5', b'Content-Length: 5'],
        [b'Content-Length: 5', b'Transfer-Encoding: chunked'],
        [b'Transfer-Encoding: chunked', b'Transfer-Encoding: chunked'],
        [b'Transfer-Encoding: identity'],
        [b'Content-Length: +5'],
        [b'Content-Length: 5, 5'],
        [b'Content-Length: five'],
        [b'Content-Length: ' + b'9' * 30],
    ],
)
def test_what_gunicorn_will_refuse_is_handed_to_it_at_once(headers):
    framing = Framing()
    raw = bytearray(post(b'', *headers))
    framing.update(raw)
    assert framing.size == len(raw)


@pytest.mark.parametrize(
    'body',
    [
        b'xyz\r\n',
        b'-5\r\n',
        b'5\r\nhello!!',
        b'5\r\nhelloX\r',
        b'\r\n',
        b'f' * 17 + b'\r\n',
        b'0' * LINE_LIMIT,
    ],
)
def test_malformed_chunks_are_handed_on_at_once(body):
    framing = Framing()
    raw = bytearray(chunked(body))
    framing.update(raw)
    assert framing.size == len(raw)


@pytest.mark.parametrize(('raw', 'status'), [
    (b'GET / HTTP/1.1\n\n', 400), (b'GET / HTTP/1.1\r\nHost: a\nb', 400),
    (b'GET / HTTP/1.1\r\nHost: a\r\n\nA: b\r\n\r\n', 400), (b'GET /' + b'a' * HEAD_LIMIT, 431),
    (NO_BODY[:-2] + b'A: b\r\n' * 20_000, 431), (chunked(b'0\r\n' + b'A: b\r\n' * 20_000), 400),
])  # fmt: skip
def test_what_has_no_end_is_refused(raw, status):
    with pytest.raises(Malformed) as caught:
        Framing().update(bytearray(raw))
    assert caught.value.status == status


def test_who_waits_to_be_told_to_send_is_known():
    framing = Framing()
    framing.update(bytearray(post(b'', b'Content-Length: 5', b'expect: 100-continue')))
    assert (framing.expects_continue, framing.size - framing.head) == (True, 5)
