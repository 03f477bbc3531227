"""What an operator hears of the back room: its processes, what waits too long, who is held, who
answers nobody.
"""

import json
import logging
import resource

import pytest

from service.graph.error_codes import explain
from service.runtime.db import connection
from service.sending import holds
from service.webhooks import messages_field
from tests.people import CUSTOMER, WABA, envelope, sql, text_message
from tests.stack import wait_until
from workers import chores, clock
from workers.__main__ import MOST_FILES, allow_files

KINDS = {'incoming', 'send', 'errands', 'events', 'clock'}


def readyz(application, query='?deep=1'):
    answer = application.test_client().get(f'/readyz{query}')
    return answer.status_code, answer.json


def lines(caplog, message):
    return [vars(record) for record in caplog.records if record.getMessage() == message]


def test_readyz_asks_about_the_back_room_only_when_it_is_to_look_deep(application, database):
    assert readyz(application, '') == (200, {'status': 'ok', 'away': []})
    status, told = readyz(application)
    assert (status, set(told['away'])) == (503, KINDS)
    assert told['processes'] == dict.fromkeys(KINDS, {'alive': 0, 'seen_seconds_ago': None})


def test_processes_are_seen_while_they_live_and_not_after_they_ended(application, back_room):
    processes = back_room()
    wait_until(lambda: set(readyz(application)[1]['away']) == {'incoming', 'errands', 'events'}, 20)
    told = readyz(application)[1]['processes']
    assert (told['send']['alive'], told['clock']['alive']) == (1, 1)
    assert processes.stop_all(20) == {'worker_send': [0], 'clock': [0]}
    assert set(readyz(application)[1]['away']) == KINDS
    assert sql('SELECT kind FROM process WHERE kind = ANY(%s)', [*KINDS]) == []


def test_a_process_that_was_killed_or_hangs_is_missed_within_a_minute(application, database):
    sql(
        'INSERT INTO process (id, kind, host, pid, seen_at) '
        "VALUES (gen_random_uuid(), 'send', 'h', 1, now() - interval '50 s')"
    )
    status, told = readyz(application)
    assert (status, told['processes']['send']['alive']) == (503, 0)
    assert 50 <= told['processes']['send']['seen_seconds_ago'] < 60
    sql('UPDATE process SET seen_at = now()')
    assert 'send' not in readyz(application)[1]['away']


def test_the_oldest_due_row_of_each_kind_is_told(application, backend):
    backend.account()
    backend.send(f'+{CUSTOMER}')
    sql("UPDATE message SET due_at = now() - interval '90 s'")
    oldest = readyz(application)[1]['oldest_due_seconds']
    assert 90 <= oldest.pop('send') < 120
    assert set(oldest.values()) == {None}


def test_what_is_due_for_more_than_a_minute_is_a_warning_with_its_kind(backend, meta, caplog):
    backend.account()
    backend.send(f'+{CUSTOMER}')
    meta.webhook(envelope([text_message()]))
    with connection():
        assert not clock.report_late_work(clock.job_table.next_due())
    sql("UPDATE message SET due_at = now() - interval '90 s'")
    sql("UPDATE webhook_event SET due_at = now() - interval '70 s'")
    with connection():
        assert clock.report_late_work(clock.job_table.next_due())
    (line,) = lines(caplog, 'work is late')
    assert line['levelno'] == logging.WARNING
    assert {kind: seconds // 10 for kind, seconds in line['oldest_due_seconds'].items()} == {
        'send': 9,
        'webhooks': 7,
    }


def test_accounts_are_listed_the_newest_first_a_page_at_a_time(backend):
    ids = [f'shop-{n}' for n in range(5)]
    for n, chatbot_id in enumerate(ids):
        backend.account(chatbot_id, str(300 + n))
    sql(
        "UPDATE whatsapp_cloud_account SET created_at = '2026-11-01' WHERE chatbot_id IN "
        "('shop-1', 'shop-2')"
    )
    seen, query = [], '?limit=2'
    while query:
        page = backend.get(f'/accounts{query}').json
        seen += [one['chatbot_id'] for one in page['data']]
        query = page['next_cursor'] and f'?limit=2&cursor={page["next_cursor"]}'
    assert seen == ['shop-4', 'shop-3', 'shop-0', 'shop-1', 'shop-2']
    assert page['data'][0].items() <= backend.get('/account/shop-2').json.items()
    assert 'access_token' not in page['data'][0]


@pytest.mark.parametrize('query', ['cursor=nobody', 'send_state=broken', 'limit=0', 'limit=201'])
def test_a_list_of_accounts_names_the_parameter_that_is_wrong(backend, query):
    answer = backend.get(f'/accounts?{query}')
    assert (answer.status_code, list(answer.json['errors'])) == (422, [query.split('=')[0]])


def test_the_accounts_that_cannot_send_are_found_with_the_reason_and_the_fix(backend):
    for n, chatbot_id in enumerate(('good', 'bad')):
        backend.account(chatbot_id, str(300 + n))
    reason = {'code': 190, 'title': 'Access token has expired', 'details': None, 'fbtrace_id': 'F'}
    with connection():
        holds.hold_account('bad', reason)
    (held,) = backend.get('/accounts?send_state=held').json['data']
    assert held['chatbot_id'] == 'bad'
    assert held['send_state_reason'] == reason | explain(190)
    assert backend.get('/account/bad').json['send_state_reason'] == reason | explain(190)
    assert [one['chatbot_id'] for one in backend.get('/accounts?send_state=ok').json['data']] == [
        'good'
    ]


def test_messages_that_their_template_stops_leave_a_line(backend, caplog):
    backend.account(waba_id=WABA)
    template = {'name': 'sale', 'language': {'code': 'en_US'}}
    for customer in ('12025550143', '12025550144'):
        backend.post(
            '/send',
            {'chatbot_id': 'acme', 'to': f'+{customer}', 'type': 'template', 'template': template},
        )
    sql(
        "INSERT INTO template (waba_id, name, language, status) VALUES (%s, 'sale', 'en_US', "
        "'PAUSED')",
        WABA,
    )
    with connection():
        chores.sweep()
    (line,) = lines(caplog, 'messages stopped by their template')
    named = ('chatbot_id', 'template_name', 'template_language', 'status', 'cause', 'messages')
    assert [line[name] for name in named] == ['acme', 'sale', 'en_US', 'held', 'template_paused', 2]


def test_an_account_that_answers_nobody_leaves_one_line_and_not_one_for_every_message(
    backend, meta, workers, caplog, monkeypatch
):
    monkeypatch.setattr(messages_field, '_warned_at', {})
    backend.account()
    backend.account('quiet', '77', responder={'kind': 'none'})
    for n in range(3):
        meta.webhook(envelope([text_message(wamid=f'wamid.{n}')]))
        meta.webhook(envelope([text_message(wamid=f'wamid.q{n}')], number='77'))
        workers.incoming()
    (line,) = lines(caplog, 'no reply: the account has no responder and AI_BASE_URL is not set')
    assert line['chatbot_id'] == 'acme'
    assert CUSTOMER not in json.dumps(line, default=str)


def test_a_worker_may_have_more_connections_than_most_shells_allow():
    was = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (900, was[1]))
        allow_files()
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        assert hard == was[1]
        assert soft == (MOST_FILES if hard == resource.RLIM_INFINITY else min(hard, MOST_FILES))
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, was)
