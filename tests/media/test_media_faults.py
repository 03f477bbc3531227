"""What goes wrong between Meta and the storage: tried again, given up with a reason, and never a
wrong file.
"""

import hashlib
import threading
import time
import tracemalloc
from base64 import b64encode
from datetime import UTC, datetime, timedelta

import pytest

from service.graph import media_client
from service.graph.outcome import Outcome
from service.media import inbound_file
from service.media.inbound_file import StoredFile
from service.media.storage import storage
from service.runtime.db import connection
from tests.files import CONTENT, at_meta, attempts, comes_in, media_message, media_row
from tests.people import CHATBOT, sql
from tests.stack import Processes, wait_until
from workers import fetch_media


@pytest.fixture
def acme(backend):
    backend.account(responder={'kind': 'none'})
    return backend


def short(handler):
    """Half of the file, then the end."""
    handler.send_response(200)
    handler.send_header('Content-Length', '9')
    handler.end_headers()
    handler.wfile.write(b'a pi')
    handler.close_connection = True


def silent(handler):
    """Half of the file, then nothing."""
    handler.send_response(200)
    handler.send_header('Content-Length', '9')
    handler.end_headers()
    handler.wfile.write(b'a pi')
    time.sleep(2)
    handler.close_connection = True


@pytest.mark.parametrize(
    'answer', [short, silent, (500, {}, b''), (503, {}, b'x'), (204, {}, b''), (302, {}, b'')]
)
def test_a_file_that_does_not_arrive_is_tried_again_and_nothing_is_kept(
    acme, meta, workers, file_server, answer
):
    file_server.says['/file'] = answer
    comes_in(meta, workers, media_message('77', content=CONTENT))
    workers.errands()
    assert media_row()[:2] == ('fetching', 1)
    assert not list(storage().root.rglob(sql('SELECT id FROM media')[0][0]))
    file_server.says['/file'] = 200, {}, CONTENT
    assert attempts(workers, 1)[:3] == ('stored', 2, None)


@pytest.mark.parametrize(
    'lie',
    [{'sha256': hashlib.sha256(b'x').hexdigest()}, {'file_size': 8}, {'file_size': '10'}],
    ids=str,
)
def test_a_file_that_is_not_the_announced_one_is_given_up_after_four_attempts(
    acme, meta, workers, file_server, lie
):
    file_server.describe(**lie)
    comes_in(meta, workers, media_message('77', content=CONTENT))
    assert attempts(workers, 3)[:2] == ('fetching', 3)
    assert acme.messages()[0]['media']['fix'] == 'Nothing to do: it is tried again by itself.'
    status, tried, error, _ = attempts(workers, 1)
    assert (status, tried) == ('failed', 4)
    assert 'than Meta announced' in error['title']
    (message,) = acme.messages()
    assert message['media']['fix'] == 'Ask the customer to send it again.'
    assert 'cause' not in message['media']['error']


def test_what_the_webhook_promised_counts_too(meta, workers, file_server):
    comes_in(meta, workers, media_message('77', content=b'another'))
    assert attempts(workers, 4)[:2] == ('failed', 4)


@pytest.mark.parametrize('form', ['hex', 'base64', 'nonsense', None])
def test_a_digest_may_come_in_either_form_or_not_at_all(meta, workers, file_server, form):
    digest = hashlib.sha256(CONTENT)
    forms = (
        {'hex': digest.hexdigest().upper(), 'base64': b64encode(digest.digest()).decode()}
        if form
        else {}
    )
    file_server.describe(sha256=forms.get(form, form))
    comes_in(meta, workers, media_message('77'))
    workers.errands()
    assert media_row()[0] == 'stored'


@pytest.mark.parametrize('where', ['description', 'length', 'bytes'])
def test_what_is_over_the_limit_is_given_up_at_once(meta, workers, file_server, monkeypatch, where):
    monkeypatch.setattr(media_client, 'LARGEST', 5)
    monkeypatch.setattr('workers.fetch_media.LARGEST', 5)
    if where != 'description':
        file_server.describe(file_size=None)
    if where == 'bytes':
        file_server.says['/file'] = chunked
    comes_in(meta, workers, media_message('77'))
    workers.errands()
    assert media_row()[:2] == ('failed', 1)
    assert media_row()[2]['title'] == 'The file is larger than 100 MB'


def chunked(handler):
    handler.send_response(200)
    handler.send_header('Transfer-Encoding', 'chunked')
    handler.end_headers()
    handler.wfile.write(b'9\r\n' + CONTENT + b'\r\n0\r\n\r\n')


@pytest.mark.parametrize('mended', ['token', 'resume'])
def test_a_token_that_expired_waits_and_a_new_one_is_used_at_once(
    acme, meta, workers, stand_in, mended
):
    acme.account(access_token='EXPIRED-1')
    comes_in(meta, workers, media_message(at_meta(stand_in)))
    workers.errands()
    status, tried, error, wait = media_row()
    assert (status, tried, error['code']) == ('fetching', 1, 190)
    assert 50 < wait <= 60
    if mended == 'token':
        acme.account(access_token='fresh')
    else:
        stand_in.config(tokens=['EXPIRED-1'])
        acme.post(f'/account/{CHATBOT}/resume')
    workers.errands()
    assert media_row()[0] == 'stored'


def test_a_key_that_is_lost_waits_as_well(acme, meta, workers, stand_in):
    sql("UPDATE whatsapp_cloud_account SET access_token = 'no token'")
    comes_in(meta, workers, media_message(at_meta(stand_in)))
    workers.errands()
    assert media_row()[0] == 'fetching'
    (message,) = acme.messages()
    assert 'ENCRYPTION_KEYS' in message['media']['explanation']


def test_a_storage_that_cannot_be_written_loses_nothing(
    acme, meta, workers, file_server, setting, tmp_path
):
    (tmp_path / 'place').touch()
    setting('MEDIA_URL', f'file://{tmp_path}/place')
    comes_in(meta, workers, media_message('77'))
    status, tried, error, _ = attempts(workers, 6)
    assert (status, tried) == ('fetching', 6)
    assert error['title'] == 'The storage cannot be used now (Not a directory)'
    (tmp_path / 'place').unlink()
    assert attempts(workers, 1)[0] == 'stored'


def test_a_large_file_is_never_in_memory(meta, workers, file_server):
    """Nor are several of them at once."""
    comes_in(meta, workers, media_message('77', wamid='wamid.warm'))
    workers.errands()  # what a library loads at its first use
    file_server.content = bytes(16 * 2**20)
    file_server.says['/file'] = 200, {}, file_server.content
    file_server.describe()
    comes_in(meta, workers, *(media_message('77', wamid=f'wamid.{number}') for number in range(3)))
    tracemalloc.start()
    try:
        workers.errands()
        assert tracemalloc.get_traced_memory()[1] < 12 * 2**20
    finally:
        tracemalloc.stop()
    found = sql('SELECT status, size FROM media ORDER BY size')
    assert found[1:] == [('stored', 16 * 2**20)] * 3


def test_a_file_that_is_not_safe_yet_does_not_count_as_stored(acme, meta, workers):
    comes_in(meta, workers, media_message('77'))
    with connection():
        (claimed,) = inbound_file.claim(1, 60)
        gone = StoredFile('ab/cd/nowhere', 9, hashlib.sha256(CONTENT).digest(), 'image/png')
        fetch_media.record([(claimed, gone)])
    status, _, error, wait = media_row()
    assert (status, error['cause']) == ('fetching', 'storage')
    assert wait <= 2


def test_the_first_attempts_come_soon_and_the_others_until_meta_forgets():
    now = datetime.now(UTC)
    passing = Outcome('retry', error={})

    def waits(outcome, written, numbers=range(1, 9)):
        return [inbound_file.delay_after(outcome, n, now - written, now) for n in numbers]

    assert waits(passing, timedelta()) == [2, 4, 8, 60, 600, 3600, 21600, 21600]
    assert waits(passing, timedelta(days=6, hours=23, minutes=30)) == [
        2,
        4,
        8,
        60,
        600,
        None,
        None,
        None,
    ]
    assert waits(passing, timedelta(days=40)) == [2, 4, 8, None, None, None, None, None]
    assert waits(Outcome('held', error={}), timedelta())[:5] == [60, 600, 3600, 21600, 21600]
    assert waits(Outcome('failed', error={}), timedelta())[0] is None
    assert waits(Outcome('retry', error={}, delay=90), timedelta())[:4] == [90, 90, 90, 90]


def test_a_claim_counts_and_is_nobody_elses_until_its_lease_ends(acme, meta, workers):
    comes_in(meta, workers, media_message('77'))
    with connection():
        (first,) = inbound_file.claim(10, 60)
        assert inbound_file.claim(10, 60) == []
        sql('UPDATE media SET due_at = now()')
        (second,) = inbound_file.claim(10, 60)
        assert (first.attempts, second.attempts) == (1, 2)
        assert (inbound_file.renew(first, 60), inbound_file.renew(second, 60)) == (False, True)
        inbound_file.record([(first, Outcome('failed', error={'code': 1}))])
        assert media_row()[0] == 'fetching'


def test_a_slow_file_keeps_its_claim(acme, meta, workers, file_server, setting):
    def slow(handler):
        handler.send_response(200)
        handler.send_header('Content-Length', '9')
        handler.end_headers()
        for byte in CONTENT:
            time.sleep(0.4)
            handler.wfile.write(bytes([byte]))

    file_server.says['/file'] = slow
    setting('GRAPH_TIMEOUT', 10)
    comes_in(meta, workers, media_message('77', content=CONTENT))
    fetcher = fetch_media.Fetcher()
    fetcher.lease = 2
    with connection():
        (claimed,) = inbound_file.claim(1, fetcher.lease)
    before = media_row()[3]
    stored = fetcher.fetch(claimed)
    assert stored.sha256 == hashlib.sha256(CONTENT).digest()
    assert media_row()[3] > before - 3.5  # it would have ended long ago


def test_a_worker_that_is_killed_in_the_middle_of_a_file_is_followed_by_another(
    acme, meta, workers, file_server, tmp_path
):
    """The real process; what it had in hand is fetched again when its lease has ended."""
    started = threading.Event()

    def endless(handler):
        handler.send_response(200)
        handler.send_header('Content-Length', '9')
        handler.end_headers()
        handler.wfile.write(CONTENT[:4])
        started.set()
        with_patience(handler)

    file_server.says['/file'] = endless
    comes_in(meta, workers, media_message('77', content=CONTENT))
    processes = Processes(tmp_path, {'GRAPH_API_URL': file_server.url, 'GRAPH_TIMEOUT': '60'})
    processes.start('errands', command='python -m workers errands')
    processes.start('clock')
    try:
        assert started.wait(20), processes.logs('errands')
        processes.kill('errands')
        assert media_row()[:2] == ('fetching', 1)
        assert not list(storage().root.rglob(sql('SELECT id FROM media')[0][0]))
        file_server.says['/file'] = 200, {}, CONTENT
        sql('UPDATE media SET due_at = now()')  # its lease has ended
        processes.start('errands', command='python -m workers errands')
        wait_until(
            lambda: media_row()[:2] == ('stored', 2), 20, message=lambda: processes.logs('errands')
        )
    finally:
        processes.stop_all()


def with_patience(handler):
    """Until the other side has hung up."""
    handler.connection.settimeout(20)
    try:
        while handler.connection.recv(1):
            pass
    except OSError:
        pass
    handler.close_connection = True
