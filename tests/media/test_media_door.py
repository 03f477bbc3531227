"""GET /messages/<id>/media: streamed, in stretches if asked, and never as something that a browser
would run.
"""

import hashlib
import io
import tracemalloc
from email.utils import parsedate_to_datetime

import pytest
from werkzeug.http import parse_options_header

from service.media.storage import storage
from service.media.storage_interface import key_of
from service.runtime.db import db
from tests.files import at_meta, comes_in, media_message
from tests.people import CHATBOT, sql, text_message

CONTENT = b'0123456789'
TAG = f'"{hashlib.sha256(CONTENT).hexdigest()}"'


@pytest.fixture
def acme(backend):
    backend.account(responder={'kind': 'none'})
    return backend


@pytest.fixture(params=['directory', 'bucket'])
def place(request):
    """Where files lie in this test."""
    return request.getfixturevalue('in_bucket') if request.param == 'bucket' else None


@pytest.fixture
def stored(acme, meta, workers):
    """stored(content, mime_type=…, filename=…): a document that came in and was fetched; the path
    of its file.
    """

    def keep(content=CONTENT, mime_type='application/pdf', filename='a.pdf'):
        comes_in(
            meta, workers, media_message('1', 'document', mime_type=mime_type, filename=filename)
        )
        (message,) = acme.messages()
        ((media_id,),) = sql('SELECT id FROM media')
        file = content if hasattr(content, 'read') else io.BytesIO(content)
        storage().put(key_of(CHATBOT, media_id), file)
        sql(
            "UPDATE media SET status = 'stored', due_at = NULL, storage_key = %s, size = %s, "
            'sha256 = %s',
            key_of(CHATBOT, media_id),
            storage().size(key_of(CHATBOT, media_id)),
            hashlib.sha256(CONTENT).digest(),
        )
        return f'/messages/{message["id"]}/media'

    return keep


def test_the_file_comes_back_as_the_customer_sent_it(acme, meta, workers, stand_in, place):
    content = bytes(range(256)) * 3000
    comes_in(meta, workers, media_message(at_meta(stand_in, content), content=content))
    workers.errands()
    (message,) = acme.messages()
    answer = acme.get(message['media']['url'].removeprefix('/whatsapp-cloud'))
    assert (answer.status_code, answer.data) == (200, content)
    assert answer.headers['Content-Length'] == str(len(content))
    assert answer.headers['ETag'] == f'"{message["media"]["sha256"]}"'


RANGES = [
    ('bytes=0-3', 206, b'0123', 'bytes 0-3/10'),
    ('bytes=3-', 206, b'3456789', 'bytes 3-9/10'),
    ('bytes=0-', 206, CONTENT, 'bytes 0-9/10'),
    ('bytes=-4', 206, b'6789', 'bytes 6-9/10'),
    ('bytes=-99', 206, CONTENT, 'bytes 0-9/10'),
    ('bytes=7-99', 206, b'789', 'bytes 7-9/10'),
    ('bytes=9-9', 206, b'9', 'bytes 9-9/10'),
    ('bytes=10-', 416, None, 'bytes */10'),
    ('bytes=99-100', 416, None, 'bytes */10'),
    ('bytes=0-1,4-5', 200, CONTENT, None),  # several may be answered with the whole (RFC 9110)
    ('bytes=5-3', 200, CONTENT, None),
    ('bytes=a-b', 200, CONTENT, None),
    ('lines=1-2', 200, CONTENT, None),
    ('bytes=', 200, CONTENT, None),
]


@pytest.mark.parametrize(
    ('asked', 'status', 'body', 'content_range'), RANGES, ids=[case[0] for case in RANGES]
)
def test_a_stretch_of_it_is_given(acme, stored, asked, status, body, content_range):
    answer = acme.get(stored(), headers={'Range': asked})
    assert (answer.status_code, answer.headers.get('Content-Range')) == (status, content_range)
    if body is None:
        assert answer.content_type == 'application/problem+json'
    else:
        assert (answer.data, answer.headers['Content-Length']) == (body, str(len(body)))
        assert answer.headers['Accept-Ranges'] == 'bytes'


def test_a_stretch_comes_from_a_bucket_as_well(acme, stored, place):
    answer = acme.get(stored(), headers={'Range': 'bytes=-3'})
    assert (answer.status_code, answer.data) == (206, b'789')


@pytest.mark.parametrize(
    ('condition', 'status'),
    [
        ({'If-Range': TAG}, 206),
        ({'If-Range': '"another"'}, 200),
        ({'If-Range': 'Mon, 01 Jan 2024 00:00:00 GMT'}, 200),
        ({'If-None-Match': TAG}, 304),
        ({'If-None-Match': '"another"'}, 206),
        ({'If-Match': '"another"'}, 412),
    ],
)
def test_a_stretch_is_of_the_file_that_the_caller_knows(acme, stored, condition, status):
    answer = acme.get(stored(), headers={'Range': 'bytes=0-3', **condition})
    assert answer.status_code == status
    assert answer.headers['ETag'] == TAG


def test_its_date_is_as_good_as_its_tag(acme, stored):
    path = stored()
    modified = acme.get(path).headers['Last-Modified']
    assert parsedate_to_datetime(modified) is not None
    assert acme.get(path, headers={'Range': 'bytes=0-3', 'If-Range': modified}).status_code == 206
    assert acme.get(path, headers={'If-Modified-Since': modified}).status_code == 304


def test_head_tells_all_but_the_bytes(acme, stored):
    path = stored()
    answer, whole = acme.request('HEAD', path), acme.get(path)
    assert (answer.status_code, answer.data) == (200, b'')
    told = (
        'Content-Length',
        'Content-Type',
        'ETag',
        'Last-Modified',
        'Accept-Ranges',
        'Content-Disposition',
    )
    assert {name: answer.headers[name] for name in told} == {
        name: whole.headers[name] for name in told
    }
    assert (
        acme.request('HEAD', path, headers={'Range': 'bytes=0-3'}).headers['Content-Length'] == '4'
    )


def test_an_empty_file_is_given_whole(acme, stored):
    answer = acme.get(stored(b''), headers={'Range': 'bytes=0-3'})
    assert (answer.status_code, answer.data, answer.headers['Content-Length']) == (200, b'', '0')


@pytest.mark.parametrize(
    ('told', 'given'),
    [
        ('image/png', 'image/png'),
        ('audio/ogg; codecs=opus', 'audio/ogg'),
        ('application/pdf', 'application/pdf'),
        ('text/html', 'application/octet-stream'),
        ('image/svg+xml', 'application/octet-stream'),
        ('application/xhtml+xml', 'application/octet-stream'),
        ('text/html\r\nX: y', 'application/octet-stream'),
        ('', 'application/octet-stream'),
        ('image/png, text/html', 'application/octet-stream'),
    ],
)
def test_nothing_is_given_that_a_browser_would_run(acme, stored, told, given):
    answer = acme.get(stored(b'<script>alert(1)</script>', mime_type=told, filename='x.html'))
    assert answer.content_type.partition(';')[0] == given
    assert answer.headers['X-Content-Type-Options'] == 'nosniff'
    assert answer.headers['Content-Security-Policy'] == "sandbox; default-src 'none'"
    assert answer.headers['Cache-Control'] == 'private, no-cache'
    assert answer.headers['Content-Disposition'].startswith('attachment; ')


NAMES = [
    ('a.pdf', 'a.pdf', 'a.pdf'),
    ('Invoice ñ 2026.pdf', 'Invoice n 2026.pdf', 'Invoice ñ 2026.pdf'),
    ('発票.pdf', 'file.pdf', '発票.pdf'),
    ('../../x"\r\nSet-Cookie: a=b', 'x"Set-Cookie: a=b.pdf', 'x"Set-Cookie: a=b.pdf'),
    ('a\\"; filename=evil.exe', '"; filename=evil.exe.pdf', '"; filename=evil.exe.pdf'),
    ("a%0d%0a'b;c.pdf", "a%0d%0a'b;c.pdf", "a%0d%0a'b;c.pdf"),
    ('.htaccess', 'htaccess.pdf', '.htaccess.pdf'),
    ('\u202efdp.exe', 'fdp.exe.pdf', 'fdp.exe.pdf'),
    ('．．／．．／etc＼℀', '_.._etc_a_c.pdf', '．．／．．／etc＼℀.pdf'),
    ('cotizacion', 'cotizacion.pdf', 'cotizacion.pdf'),
    ('photo.jpg', 'photo.pdf', 'photo.pdf'),
    ('Report v1.2', 'Report v1.2.pdf', 'Report v1.2.pdf'),
    ('A.PDF', 'A.PDF', 'A.PDF'),
]


@pytest.mark.parametrize(('sent', 'plain', 'full'), NAMES, ids=[repr(case[0]) for case in NAMES])
def test_a_name_that_the_sender_gave_is_only_a_name(acme, stored, sent, plain, full):
    answer = acme.get(stored(filename=sent))
    disposition = answer.headers['Content-Disposition']
    assert parse_options_header(disposition) == ('attachment', {'filename': full})
    assert parse_options_header(disposition.partition('; filename*=')[0])[1] == {'filename': plain}
    assert disposition.isascii()
    assert disposition.isprintable()
    assert 'Set-Cookie' not in answer.headers


def test_a_file_without_a_name_gets_one_of_ours(acme, stored):
    path = stored(filename=None)
    assert f'filename={path.split("/")[2]}.pdf' in acme.get(path).headers['Content-Disposition']


def test_the_database_is_given_back_before_the_first_byte(acme, stored, place):
    answer = acme.get(stored(), buffered=False)
    assert db.is_closed()
    assert b''.join(answer.response) == CONTENT


def test_a_large_file_is_never_in_memory(acme, stored, place):
    acme.get(stored(io.BytesIO(b'warm')))  # what a library loads at its first use
    path = stored(io.BytesIO(bytes(12 * 2**20)))
    tracemalloc.start()
    try:
        answer = acme.get(path, buffered=False)
        assert sum(map(len, answer.response)) == 12 * 2**20
        assert tracemalloc.get_traced_memory()[1] < 4 * 2**20
    finally:
        tracemalloc.stop()
        answer.close()


def test_while_it_is_fetched_the_caller_is_asked_to_come_again(acme, meta, workers):
    comes_in(meta, workers, media_message('1'))
    (message,) = acme.messages()
    answer = acme.get(f'/messages/{message["id"]}/media')
    assert (answer.status_code, answer.headers['Retry-After']) == (409, '1')
    assert 'being fetched' in answer.json['detail']


def test_what_failed_says_why(acme, meta, workers, stand_in):
    comes_in(meta, workers, media_message('404404'))
    workers.errands()
    (message,) = acme.messages()
    answer = acme.get(f'/messages/{message["id"]}/media')
    assert (answer.status_code, 'Retry-After' in answer.headers) == (409, False)
    assert 'Ask the customer to send it again.' in answer.json['detail']


def test_a_message_without_a_file_has_none(acme, meta, workers):
    comes_in(meta, workers, text_message())
    ids = [message['id'] for message in acme.messages()] + ['01930000-0000-7000-8000-000000000000']
    for message_id in ids:
        assert acme.get(f'/messages/{message_id}/media').status_code == 404
        assert acme.post(f'/messages/{message_id}/media/fetch').status_code == 404


def test_a_file_that_the_storage_has_lost_is_503(acme, stored, place):
    path = stored()
    ((key,),) = sql('SELECT storage_key FROM media')
    storage().delete(key)
    answer = acme.get(path)
    assert (answer.status_code, 'MEDIA_URL' in answer.json['detail']) == (503, True)


def test_what_failed_can_be_fetched_again(acme, meta, workers, stand_in):
    comes_in(meta, workers, media_message(at_meta(stand_in)))
    sql(
        "UPDATE media SET status = 'failed', due_at = NULL, attempts = 9, error = '{\"code\": "
        "131000}'"
    )
    (message,) = acme.messages()
    answer = acme.post(f'/messages/{message["id"]}/media/fetch')
    assert (answer.status_code, answer.json['status'], answer.json['error']) == (
        202,
        'fetching',
        None,
    )
    workers.errands()
    assert acme.message(message['id'])['media']['status'] == 'stored'
    assert acme.post(f'/messages/{message["id"]}/media/fetch').status_code == 409


def test_what_the_storage_has_lost_can_be_fetched_again(acme, meta, workers, stand_in):
    comes_in(meta, workers, media_message(at_meta(stand_in)))
    workers.errands()
    (message,) = acme.messages()
    path = f'/messages/{message["id"]}/media'
    before = acme.get(path)
    ((key,),) = sql('SELECT storage_key FROM media')
    storage().delete(key)
    assert acme.post(f'{path}/fetch').status_code == 202
    assert acme.get(path).status_code == 409
    workers.errands()
    assert (before.status_code, acme.get(path).data) == (200, before.data)


def test_what_a_worker_has_in_hand_is_left_to_it(acme, meta, workers):
    comes_in(meta, workers, media_message('1'))
    sql("UPDATE media SET due_at = now() + interval '1 minute', attempts = 1")  # as a claim does
    (message,) = acme.messages()
    assert acme.post(f'/messages/{message["id"]}/media/fetch').status_code == 202
    assert sql('SELECT attempts, due_at > now() FROM media') == [(1, True)]
    sql('UPDATE media SET error = \'{"code": 131000}\'')  # as an attempt that failed does
    assert acme.post(f'/messages/{message["id"]}/media/fetch').status_code == 202
    assert sql('SELECT attempts, due_at > now() FROM media') == [(0, False)]


def test_what_meta_never_gave_cannot_be_fetched_again(acme, meta, workers):
    message = text_message(type='video', errors=[{'code': 131052, 'title': 'too big'}])
    comes_in(meta, workers, message)
    (message,) = acme.messages()
    answer = acme.post(f'/messages/{message["id"]}/media/fetch')
    assert (answer.status_code, answer.json['detail']) == (
        409,
        'Meta gave no file with this message.',
    )
