"""Many want one upload, it takes long, a worker dies in the middle of it: once, in order, never
doubled.
"""

import os
import signal
from datetime import timedelta

import pytest

from service.content.file_types import KB, MB
from service.runtime.db import connection
from tests.content.test_media_types import sample
from tests.media.test_media_out import arrived, send, uploads
from tests.media.test_uploads import upload
from tests.people import sql
from tests.sending.test_send import due_now
from tests.stack import PHONE_NUMBER_ID, Processes, wait_until
from workers import send as send_room
from workers import send_files

LEASES = """
SELECT m.due_at, c.send_after, u.lease_until
FROM message m JOIN conversation c ON c.id = conversation_id CROSS JOIN media_upload u WHERE
  m.status = 'sending'
"""


@pytest.fixture
def acme(backend, stand_in):
    stand_in.config(strict=True)  # an id that Meta does not know is refused
    backend.account()
    return backend


@pytest.fixture
def file(acme):
    """A document of one megabyte."""
    return document(acme, MB)


@pytest.fixture
def processes(acme, tmp_path):
    """start(n): so many real send workers and a clock, gone at the end of the test."""
    processes = Processes(tmp_path, {'GRAPH_API_URL': os.environ['GRAPH_API_URL']})

    def start(workers):
        processes.start('worker_send', workers)
        processes.start('clock')
        wait_until(lambda: processes.logs('worker_send').count('started') == workers, 20)
        return processes

    yield start
    processes.stop_all(20)


@pytest.fixture
def sender(workers):
    """This process's sender, with a lease of two seconds, too short to be renewed."""
    sender = send_room.sender()
    sender.lease = sender.attacher.lease = 2
    return sender


def document(backend, size):
    return upload(backend, sample('paper.pdf').ljust(size, b'\0'), 'a.pdf').json['id']


def leased_by_another(file, seconds):
    sql(
        "INSERT INTO media_upload VALUES (%s, %s, NULL, now() + %s * interval '1 second')",
        file,
        PHONE_NUMBER_ID,
        seconds,
    )


def states(backend):
    return [
        (message['status'], message['attempts'], message['tries']) for message in backend.messages()
    ]


def test_fifty_messages_over_two_workers_are_one_upload(acme, file, processes, stand_in):
    stand_in.config(upload_rate=1.0 * MB)
    for number in range(50):
        send(acme, 'document', f'+120255502{number:02}', id=file)
    processes(2)
    wait_until(lambda: stand_in.get('/sends', counts='brief')['accepted'] == 50, 30)
    assert len(uploads(stand_in)) == 1
    assert stand_in.get('/sends', counts=1)['accepted_more_than_once'] == 0
    wait_until(lambda: {message['status'] for message in acme.messages()} == {'accepted'})
    assert states(acme) == [('accepted', 1, [])] * 50


def test_threads_of_one_worker_share_an_upload(acme, file, workers, stand_in):
    stand_in.config(upload_rate=2.0 * MB)
    for number in range(20):
        send(acme, 'document', f'+120255502{number:02}', id=file)
    workers.send()
    assert len(uploads(stand_in)) == 1
    assert states(acme) == [('accepted', 1, [])] * 20


def test_who_comes_too_late_gives_his_message_back_and_the_order_holds(
    acme, file, workers, stand_in
):
    leased_by_another(file, 60)
    send(acme, 'document', id=file)
    acme.send('+12025550143', 'After it')
    acme.send('+12025550199', 'To somebody else')
    workers.send()
    assert [call['recipient'] for call in stand_in.sends()] == ['12025550199']
    sql('UPDATE media_upload SET meta_id = %s, lease_until = NULL, uploaded_at = now()', '123')
    stand_in.config(strict=False)
    wait_until(lambda: workers.send() or len(stand_in.sends()) == 3, interval=0.2)
    assert arrived(stand_in)[1:] == [{'id': '123', 'filename': 'a.pdf'}, {'body': 'After it'}]
    assert states(acme) == [('accepted', 1, [])] * 3
    assert uploads(stand_in) == []
    ((owed,),) = sql("SELECT pair_free_at - now() FROM conversation WHERE wa_id = '12025550143'")
    assert owed < timedelta(
        seconds=13
    )  # two messages, six seconds each: what was given back costs nothing


def test_an_upload_of_a_dead_worker_is_taken_over_after_its_lease(acme, file, workers, stand_in):
    leased_by_another(file, 60)
    send(acme, 'document', id=file)
    workers.send()
    assert (stand_in.sends(), uploads(stand_in)) == ([], [])
    sql('UPDATE media_upload SET lease_until = now()')
    wait_until(lambda: workers.send() or stand_in.sends(), interval=0.2)
    assert len(uploads(stand_in)) == 1
    assert states(acme) == [('accepted', 1, [])]


def test_a_worker_killed_in_mid_upload_leaves_nothing_half_done(
    acme, file, processes, stand_in, workers
):
    stand_in.config(upload_rate=64.0 * KB)
    send(acme, 'document', id=file)
    running = processes(1)
    wait_until(lambda: sql('SELECT 1 FROM media_upload WHERE lease_until IS NOT NULL'))
    running.kill('worker_send')
    running.stop('clock')
    stand_in.config(upload_rate=0.0)
    assert states(acme)[0][0] == 'sending'
    sql('UPDATE media_upload SET lease_until = now()')  # the leases run out
    for state in (
        'sending',
        'unknown',
    ):  # as after any call whose worker died: its fate is decided by on_unknown
        due_now(state)
        workers.sweep()
    workers.send()
    (message,) = acme.messages()
    assert (message['status'], len(arrived(stand_in)), len(uploads(stand_in))) == ('accepted', 1, 1)


def test_at_sigterm_an_upload_is_broken_off_and_its_message_given_back(
    acme, file, processes, stand_in
):
    stand_in.config(upload_rate=64.0 * KB)
    big = document(acme, 30 * MB)  # more than what lies in sockets on the way
    sent = send(acme, 'document', id=big).json
    running = processes(1)
    wait_until(lambda: sql('SELECT 1 FROM media_upload WHERE lease_until IS NOT NULL'))
    running.kill('worker_send', signal.SIGTERM)
    assert running.stop('worker_send', 15) == [0]
    running.stop('clock')
    message = acme.message(sent['id'])
    assert (message['status'], message['attempts'], message['tries']) == ('queued', 0, [])
    assert sql('SELECT meta_id, lease_until FROM media_upload') == [(None, None)]


def test_what_took_too_long_is_not_sent_on_the_rest_of_a_lease(
    acme, file, workers, sender, stand_in
):
    stand_in.config(upload_rate=0.8 * MB)  # 1.25 s of the lease of two
    send(acme, 'document', id=file)
    workers.send()
    assert len(uploads(stand_in)) == 1
    assert (stand_in.sends(), states(acme)) == ([], [('queued', 0, [])])
    wait_until(lambda: workers.send() or stand_in.sends(), interval=0.2)
    assert len(uploads(stand_in)) == 1
    assert states(acme) == [('accepted', 1, [])]


def test_a_long_upload_holds_on_to_its_message(acme, workers, sender, stand_in, monkeypatch):
    monkeypatch.setattr(send_files, 'RENEW_SECONDS', 0.1)
    stand_in.config(upload_rate=5.0 * MB)
    sender.lease = sender.attacher.lease = 4
    send(acme, 'document', id=document(acme, 16 * MB))
    with connection():
        sender.step()
    (first,) = wait_until(lambda: sql(LEASES))
    wait_until(
        lambda: all(later > sooner for later, sooner in zip(sql(LEASES)[0], first, strict=True)), 5
    )
    wait_until(lambda: workers.sweep() or states(acme) == [('accepted', 1, [])], interval=0.2)
    assert len(stand_in.sends()) == 1


def test_a_database_that_is_away_lets_a_message_wait_not_fail(
    acme, file, workers, stand_in, monkeypatch
):
    def away(*_):
        raise send_room.CONNECTION_LOST[0]

    with monkeypatch.context() as patch:
        patch.setattr(send_files.meta_upload, 'claim', away)
        send(acme, 'document', id=file)
        workers.send()
        assert states(acme) == [('queued', 0, [])]
    wait_until(lambda: workers.send() or stand_in.sends(), interval=0.2)
    assert states(acme) == [('accepted', 1, [])]
