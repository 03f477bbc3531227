"""GET /metrics: who may, what is counted, and that a count never falls."""

import json
import os
import threading

import psutil
import pytest
import requests
from prometheus_client.parser import text_string_to_metric_families

from service.runtime import heartbeat, metrics
from service.runtime.db import connection
from service.web.auth import sign
from tests import stack
from tests.people import APP_SECRET, CUSTOMER, envelope, sql, text_message

TOKEN = 'a-token-for-prometheus'


@pytest.fixture
def scrape(backend, monkeypatch):
    """scrape('name', label='value'): a value of now, with what this process has counted."""
    monkeypatch.setattr(heartbeat, 'BEAT_EVERY', 0)

    def read(name, **labels):
        heartbeat.beat('web')
        answer = backend.get('/metrics')
        assert answer.status_code == 200
        assert answer.content_type == 'text/plain; version=0.0.4; charset=utf-8'
        return value_in(answer.text, name, **labels)

    return read


def value_in(text, name, **labels):
    families = text_string_to_metric_families(text)
    found = [
        sample.value
        for family in families
        for sample in family.samples
        if sample.name == name and labels.items() <= sample.labels.items()
    ]
    assert found, f'{name} {labels} is not there'
    return sum(found)


def get(application, token):
    headers = {'Authorization': f'Bearer {token}'}
    return application.test_client().get('/whatsapp-cloud/metrics', headers=headers)


# ---- who may


def test_without_a_token_of_its_own_only_a_root_key_may_read_it(application, backend):
    backend.account()
    order = {'name': 'shop', 'chatbot_ids': ['acme'], 'scopes': ['read', 'manage', 'send']}
    key = backend.post('/keys', order).json['key']
    assert get(application, 'test-key').status_code == 200
    assert get(application, key).json['code'] == 'scope_missing'
    assert get(application, TOKEN).json['code'] == 'unauthorized'


def test_its_token_opens_this_address_and_no_other(application, database, setting):
    setting('METRICS_TOKEN', TOKEN)
    assert get(application, TOKEN).status_code == 200
    assert get(application, 'test-key').status_code == 200
    assert get(application, f'{TOKEN}x').status_code == 401
    headers = {'Authorization': f'Bearer {TOKEN}'}
    other = application.test_client().get('/whatsapp-cloud/accounts', headers=headers)
    assert other.status_code == 401


# ---- what is counted


def test_requests_are_counted_by_route_without_the_ids_in_it(backend, scrape):
    name = 'whatsapp_http_request_duration_seconds_count'
    route = '/whatsapp-cloud/messages/{message_id}'
    backend.account()
    sent = backend.send(f'+{CUSTOMER}')['id']
    backend.get(f'/messages/{sent}')
    backend.get('/messages/01930000-0000-7000-8000-000000000000')
    found = scrape(name, route=route, status='2xx')
    backend.get(f'/messages/{sent}')
    assert scrape(name, route=route, status='2xx') == found + 1
    assert scrape(name, route=route, status='4xx') >= 1
    backend.get('/nowhere')
    assert scrape(name, route='none', status='4xx') >= 1
    assert sent not in backend.get('/metrics').text


def test_a_webhook_and_its_items_are_counted(backend, meta, workers, scrape):
    backend.account(responder={'kind': 'none'})
    stored = scrape('whatsapp_webhooks_total', outcome='stored')
    refused = scrape('whatsapp_webhooks_total', outcome='refused')
    items = scrape('whatsapp_webhook_items_total', kind='message', outcome='stored')
    meta.webhook(envelope([text_message()]))
    meta.webhook(envelope([text_message()]), secret='wrong')
    workers.incoming()
    assert scrape('whatsapp_webhooks_total', outcome='stored') == stored + 1
    assert scrape('whatsapp_webhooks_total', outcome='refused') == refused + 1
    found = scrape('whatsapp_webhook_items_total', kind='message', outcome='stored')
    assert found == items + 1


def test_a_send_is_counted_from_the_queue_to_the_graph_call(backend, stand_in, workers, scrape):
    names = {
        'whatsapp_messages_queued_total': {'source': 'single'},
        'whatsapp_send_attempts_total': {'result': 'accepted'},
        'whatsapp_graph_call_duration_seconds_count': {'outcome': 'success'},
    }
    backend.account()
    before = {name: scrape(name, **labels) for name, labels in names.items()}
    backend.send(f'+{CUSTOMER}')
    assert scrape('whatsapp_messages_waiting', state='queued') == 1
    assert scrape('whatsapp_messages_waiting_oldest_seconds', state='queued') < 60
    workers.send()
    after = {name: scrape(name, **labels) for name, labels in names.items()}
    assert after == {name: count + 1 for name, count in before.items()}
    assert scrape('whatsapp_messages_waiting', state='queued') == 0


def test_a_call_that_does_not_reach_meta_is_unreachable(backend, workers, scrape):
    labels = {'outcome': 'unreachable'}
    before = scrape('whatsapp_graph_call_duration_seconds_count', **labels)
    backend.account()
    backend.send(f'+{CUSTOMER}')
    workers.send()
    assert scrape('whatsapp_graph_call_duration_seconds_count', **labels) == before + 1


def test_replies_and_deliveries_are_counted(platform, backend, meta, workers, scrape):
    names = {
        'whatsapp_replies_total': {'outcome': 'queued'},
        'whatsapp_responder_duration_seconds_count': {'outcome': 'answered'},
        'whatsapp_messages_queued_total': {'source': 'reply'},
        'whatsapp_event_delivery_attempts_total': {'outcome': 'delivered'},
        'whatsapp_event_delivery_duration_seconds_count': {},
    }
    order = {'url': f'{platform.url}/events', 'kind': 'events', 'types': ['message.received']}
    assert backend.post('/endpoints', order).status_code == 201
    before = {name: scrape(name, **labels) for name, labels in names.items()}
    meta.webhook(envelope([text_message()]))
    workers.incoming()
    workers.events()
    after = {name: scrape(name, **labels) for name, labels in names.items()}
    assert after == {name: count + 1 for name, count in before.items()}


def test_what_is_overdue_held_and_alive_is_read_from_the_rows(backend, scrape):
    backend.account()
    backend.send(f'+{CUSTOMER}')
    sql("UPDATE message SET due_at = now() - interval '90 s'")
    sql("UPDATE whatsapp_cloud_account SET send_state = 'held'")
    sql("INSERT INTO process (id, kind, host, pid) VALUES (gen_random_uuid(), 'send', 'h', 1)")
    assert 90 <= scrape('whatsapp_work_overdue_seconds', kind='send') < 120
    assert scrape('whatsapp_work_overdue_seconds', kind='media') == 0
    assert scrape('whatsapp_accounts_held') == 1
    assert scrape('whatsapp_processes', kind='send') == 1
    assert scrape('whatsapp_processes', kind='web') >= 1  # others may run for other tests
    assert scrape('whatsapp_processes', kind='clock') == 0
    assert scrape('whatsapp_database_connections') >= 1
    assert scrape('whatsapp_database_connections_max') >= 20
    assert scrape('whatsapp_redis_up') == 1
    assert scrape('whatsapp_scrape_failed') == 0


# ---- no count falls


WEBHOOKS = 'whatsapp_webhooks_total outcome=stored'
# Of this process and those that a test makes up: a web process of other tests may beat meanwhile.
COUNT_OWN = f'SELECT count(*) FROM process WHERE pid IN ({os.getpid()}, 1, 2)'


@pytest.fixture
def stored(database, monkeypatch):
    """stored(): what all processes have counted of stored webhooks, this one's fresh."""
    monkeypatch.setattr(heartbeat, 'BEAT_EVERY', 0)
    monkeypatch.setattr(heartbeat, '_own', heartbeat.Own(pid=0))

    def read():
        heartbeat.beat('web')
        with connection():
            return heartbeat.counts_of_all()[WEBHOOKS]

    metrics.webhooks.labels('stored').inc()
    return read


def test_the_counts_of_a_process_that_ends_are_kept(stored):
    before = stored()
    heartbeat.leave()
    assert sql(COUNT_OWN) == [(0,)]
    assert stored() == before  # nothing beats any more, and nothing twice
    heartbeat.leave()
    assert stored() == before


def test_a_process_that_ends_before_its_first_beat_never_beats(stored):
    heartbeat.leave()
    heartbeat.beat('web')  # of its thread
    assert sql(COUNT_OWN) == [(0,)]


def test_a_process_that_cannot_keep_its_counts_ends_all_the_same(stored, monkeypatch):
    before = stored()
    monkeypatch.setattr(heartbeat, 'END_OWN', 'SELECT no_such_column')
    heartbeat.leave()
    assert stored() == before
    assert sql(COUNT_OWN) == [(1,)]


def test_the_counts_of_a_process_that_was_killed_are_kept(stored):
    sql(
        'INSERT INTO process (id, kind, host, pid, seen_at, counts) VALUES (gen_random_uuid(), '
        f"'web', 'h', 1, now() - interval '25 h', '{{\"{WEBHOOKS}\": 40}}'), "
        "(gen_random_uuid(), 'send', 'h', 2, now() - interval '25 h', NULL)"
    )
    before = stored()
    with connection():
        heartbeat.delete_old()
        heartbeat.delete_old()
    assert sql(COUNT_OWN) == [(1,)]
    assert stored() == before


def test_a_process_whose_row_was_given_up_goes_on_where_it_was(stored):
    before = stored()
    sql("UPDATE process SET seen_at = now() - interval '25 h'")
    with connection():
        heartbeat.delete_old()
    metrics.webhooks.labels('stored').inc()
    assert stored() == before + 1
    assert stored() == before + 1
    heartbeat.leave()
    assert stored() == before + 1


def test_many_that_end_together_lose_nothing(stored):
    before = stored()
    counts = f'{{"{WEBHOOKS}": 0.1, "whatsapp_redis_up": 3}}'
    for _ in range(20):
        sql(
            'INSERT INTO process (id, kind, host, pid, counts) '
            f"VALUES (gen_random_uuid(), 'send', 'h', 1, '{counts}')"
        )

    def end(id_):
        with connection():
            heartbeat.execute(heartbeat.END_OWN, {'id': id_, 'counts': counts})

    rows = sql("SELECT id FROM process WHERE kind = 'send'")
    threads = [threading.Thread(target=end, args=row) for row in rows]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert stored() == before + 2  # exactly: 20 times 0.1


def test_a_series_of_another_version_is_left_out(scrape):
    sql(
        'INSERT INTO ended_count VALUES '
        "('whatsapp_former_total kind=x', 5), ('whatsapp_webhooks_total colour=scarlet', 5), "
        "('whatsapp_webhook_commit_duration_seconds_bucket le=0.3', 5)"
    )
    assert scrape('whatsapp_webhooks_total', outcome='failed') >= 0
    text = ' '.join(map(str, metrics.collect(heartbeat_counts())))
    assert 'former' not in text
    assert 'scarlet' not in text


def heartbeat_counts():
    with connection():
        return heartbeat.counts_of_all()


# ---- what is away


def test_a_database_that_is_away_is_told_and_redis_too(application, backend, monkeypatch, no_redis):
    def away():
        raise heartbeat.CONNECTION_LOST[0]('away')

    monkeypatch.setattr(heartbeat, 'counts_of_all', away)
    text = backend.get('/metrics').text
    assert value_in(text, 'whatsapp_scrape_failed', part='counts') == 1
    assert value_in(text, 'whatsapp_scrape_failed', part='messages') == 0
    assert value_in(text, 'whatsapp_redis_up') == 0
    assert 'whatsapp_webhooks_total' not in text


def test_nothing_of_a_person_or_a_chatbot_stands_in_it(backend, meta, workers, scrape):
    backend.account()
    backend.send(f'+{CUSTOMER}')
    meta.webhook(envelope([text_message()]))
    workers.incoming()
    scrape('whatsapp_webhooks_total')
    text = backend.get('/metrics').text
    assert CUSTOMER not in text
    assert 'acme' not in text


def test_a_web_process_keeps_what_it_counted_when_it_ends(database, tmp_path):
    port = stack.free_port()
    processes = stack.Processes(tmp_path, {'PORT': str(port), 'WEB_CONCURRENCY': '2'})
    (master,) = processes.start('web')
    processes.wait_port(port)
    master = psutil.Process(master.pid)
    stack.wait_until(lambda: len(master.children()) == 2)
    pids = [child.pid for child in master.children()]
    rows = 'SELECT count(*) FROM process WHERE pid = ANY(%s)'
    stack.wait_until(lambda: sql(rows, pids) == [(2,)], 20)
    body = json.dumps(envelope([text_message()])).encode()
    headers = {'X-Hub-Signature-256': sign(body, APP_SECRET), 'Content-Type': 'application/json'}
    url = f'http://127.0.0.1:{port}/whatsapp-cloud/webhook'
    for path in ('', '', '?unusual'):  # the last one by Flask
        assert requests.post(url + path, body, headers=headers, timeout=10).status_code == 200
    assert processes.stop_all(20) == {'web': [0]}
    assert sql(rows, pids) == [(0,)]
    kept = sql(f"SELECT value FROM ended_count WHERE series = '{WEBHOOKS}'")
    assert kept == [(3,)]
