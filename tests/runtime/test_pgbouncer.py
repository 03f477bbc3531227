"""The gateway behind PgBouncer in transaction mode, with the configuration that PgBouncer comes
with.
"""

import time
from contextlib import closing

import psycopg2
import pytest

from tests.bouncer import BINARY, PgBouncer
from tests.gateway import ENTRIES, Gateway
from tests.people import contact, envelope, sql, text_message
from tests.stack import wait_until

needs_pgbouncer = pytest.mark.skipif(
    not BINARY,
    reason='NOT TRIED BEHIND THE REAL PGBOUNCER, which is not installed: apt-get install pgbouncer',
)
FOLLOWED = {
    'application_name',
    'client_encoding',
    'DateStyle',
    'TimeZone',
    'standard_conforming_strings',
}
LEFT_BEHIND = "SELECT name FROM pg_settings WHERE source = 'session'"


def test_nothing_is_asked_for_at_start_up_that_pgbouncer_refuses(strict, backend):
    backend.account()
    assert backend.send()['status'] == 'queued'
    assert backend.get('/messages').status_code == 200


def test_why_it_refuses_is_told(strict, postgres, by_way_of, application):
    by_way_of(f'{strict.before(postgres.url)}?options=-c%20geqo%3Doff')
    answer = application.test_client().get('/readyz')
    assert answer.status_code == 503
    assert answer.json['reasons'] == {'database': 'unsupported startup parameter: options'}


@pytest.fixture
def behind_pgbouncer(tmp_path):
    gateway = Gateway(tmp_path)
    gateway.postgres.start()
    with PgBouncer(tmp_path / 'pgbouncer', gateway.postgres) as bouncer:
        gateway.url_by_bouncer = bouncer.before(gateway.postgres.url)
        gateway.processes.env['DATABASE_URL'] = gateway.url_by_bouncer
        with gateway:
            gateway.backend.account()
            yield gateway


def delivered(gateway):
    return {call['body']['text']['body'] for call in gateway.stand_in.sends() if call['wamid']}


@needs_pgbouncer
@pytest.mark.alone
def test_all_works_behind_the_real_one_and_leaves_nothing_to_its_other_clients(behind_pgbouncer):
    gateway = behind_pgbouncer
    for number in range(30):
        phone = f'1202555{number:04}'
        body = envelope(
            [text_message(f'hello {number}', f'wamid.{number}', phone)],
            contacts=[contact(phone=phone)],
        )
        assert gateway.meta.webhook(body).status_code == 200
        gateway.backend.send(f'+1303555{number:04}')
    replies = {f'You said: hello {number}' for number in range(30)}
    wait_until(
        lambda: replies <= delivered(gateway),
        30,
        message=lambda: ''.join(gateway.processes.logs(name)[-2000:] for name in ENTRIES),
    )
    wait_until(lambda: len(gateway.stand_in.sends()) == 60, 30)
    for _ in range(20):
        with closing(psycopg2.connect(gateway.url_by_bouncer)) as other, other.cursor() as cursor:
            cursor.execute(LEFT_BEHIND)
            assert {name for (name,) in cursor.fetchall()} <= FOLLOWED
    assert gateway.processes.run('release') == 0


@needs_pgbouncer
@pytest.mark.alone
def test_time_outs_hold_behind_the_real_one(behind_pgbouncer):
    gateway = behind_pgbouncer
    with gateway.postgres.connect() as direct, direct.cursor() as cursor:
        cursor.execute('SELECT 1 FROM whatsapp_cloud_account FOR UPDATE')
        began = time.monotonic()
        answer = gateway.backend.post('/account/acme/deactivate', {})
        assert (answer.status_code, time.monotonic() - began < 20) == (503, True)
    direct.close()


def test_days_are_utc_whatever_the_zone_of_the_session(backend, by_way_of, postgres):
    backend.account()
    backend.send()
    (message,) = backend.messages()
    sql(
        'INSERT INTO usage_log (message_id, chatbot_id, direction, type, at) '
        "VALUES (%s, 'acme', 'outbound', 'text', '2026-03-01T00:30:00Z')",
        message['id'],
    )
    for zone in ('Pacific/Kiritimati', 'America/St_Johns', 'UTC'):
        by_way_of(
            f'{postgres.url}?options=-c%20TimeZone%3D{zone}%20-c%20IntervalStyle%3Diso_8601%20-c%20DateStyle%3DGerman'
        )
        day = {'day': '2026-03-01', 'direction': 'outbound', 'category': None, 'count': 1}
        for first, last, expected in (
            ('2026-03-01', '2026-03-01', [day]),
            ('2026-02-28', '2026-02-28', []),
            ('2026-03-02', '2026-03-02', []),
        ):
            answer = backend.get(
                '/usage', query_string={'chatbot_id': 'acme', 'from': first, 'to': last}
            )
            counted = [{name: row[name] for name in day} for row in answer.json['data']]
            assert counted == expected, (zone, first)
        assert backend.get(f'/messages/{message["id"]}').json['created_at'] == message['created_at']
