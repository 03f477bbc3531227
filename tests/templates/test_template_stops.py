"""What is made from a template that Meta paused, rejected or deleted: it waits, or it fails with
the reason.
"""

import os
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import UTC, datetime, timedelta

import psycopg2
import pytest

from tests.people import CHATBOT, sql
from tests.stack import wait_until

WABA = '880011223344556'


@pytest.fixture
def acme(backend, stand_in):
    backend.account(waba_id=WABA)
    return backend


@pytest.fixture
def tell(meta, workers):
    """tell('PAUSED', name='sale', reason='…'): Meta's webhook, worked off."""

    def tell(event, name='sale', field='message_template_status_update', ago=0, **more):
        value = {
            'event': event,
            'message_template_id': 7700123456789012,
            'message_template_name': name,
            'message_template_language': 'pt_BR',
            'message_template_category': 'MARKETING',
            **more,
        }
        change = {'field': field, 'value': value}
        entry = {'id': WABA, 'time': int(time.time()) - ago, 'changes': [change]}
        meta.webhook({'object': 'whatsapp_business_account', 'entry': [entry]})
        workers.incoming()

    return tell


def body(name='sale', to='+12025550143', **more):
    content = {'name': name, 'language': {'code': 'pt_BR'}}
    return {'chatbot_id': CHATBOT, 'to': to, 'type': 'template', 'template': content, **more}


def send(acme, **more):
    answer = acme.post('/send', body(**more))
    assert answer.status_code == 202, answer.text
    return answer.json


def state(acme, message):
    row = acme.message(message['id'])
    return row['status'], row['hold_reason']


def test_whether_a_message_is_marketing_is_known_when_it_is_queued(acme, tell):
    before = send(acme)
    tell('APPROVED')
    after, other, text = send(acme), send(acme, name='other'), acme.send()
    found = dict(sql('SELECT id, marketing FROM message'))
    assert [found[one['id']] for one in (before, after, other, text)] == [False, True, False, False]


@pytest.mark.parametrize(('event', 'word'), [('PAUSED', 'paused'), ('DISABLED', 'disabled')])
def test_a_message_from_a_stopped_template_waits_until_it_goes_again(
    acme, tell, workers, stand_in, event, word
):
    tell(event, reason='LOW_QUALITY')
    sent = send(acme)
    assert (sent['status'], sent['hold_reason']) == ('held', 'template')
    assert (sent['error']['title'], sent['error']['details']) == (
        f'The template is {word}',
        'LOW_QUALITY',
    )
    assert sent['explanation'] == 'Meta has paused or disabled the template, so the message waits.'
    workers.sweep()
    workers.send()
    assert stand_in.sends() == []
    tell('REINSTATED')
    assert state(acme, sent) == ('queued', None)


def test_a_message_from_a_rejected_template_fails_at_once_with_the_reason(
    acme, tell, workers, stand_in
):
    info = {'reason': 'Variables need samples', 'recommendation': 'Add an example per variable'}
    tell('REJECTED', reason='INVALID_FORMAT', rejection_info=info)
    sent = send(acme)
    assert sent['status'] == 'failed'
    assert sent['error']['title'] == 'The template was rejected'
    assert (
        sent['error']['details']
        == 'INVALID_FORMAT; Variables need samples; Add an example per variable'
    )
    assert sent['fix'] == 'Read the reason, and send an approved one.'
    workers.send()
    assert stand_in.sends() == []


@pytest.mark.parametrize(
    ('event', 'after'),
    [
        ('PAUSED', ('held', 'template')),
        ('REJECTED', ('failed', None)),
        ('DELETED', ('failed', None)),
    ],
)
def test_what_waits_already_is_stopped_too(acme, tell, event, after):
    queued, other, text = send(acme), send(acme, name='other'), acme.send()
    tell(event)
    assert [state(acme, one) for one in (queued, other, text)] == [
        after,
        ('queued', None),
        ('queued', None),
    ]
    assert acme.message(queued['id'])['explanation']


@pytest.mark.parametrize('event', ['PAUSED', 'REJECTED'])
def test_a_stop_that_was_overtaken_stops_nothing_and_is_looked_into(acme, tell, workers, event):
    """Meta repeats for days what it could not deliver."""
    workers.errands()
    tell('APPROVED')
    waiting = send(acme)
    tell(event, ago=3600)
    assert state(acme, waiting) == ('queued', None)
    assert sql('SELECT status FROM template WHERE name = %s', 'sale') == [('APPROVED',)]
    assert sql("SELECT due_at <= now() + interval '30 s' FROM template_sync") == [(True,)]
    tell(event, name='other', ago=3600)  # of which nothing newer is known
    assert sql('SELECT status FROM template WHERE name = %s', 'other') == [(event,)]


def test_what_waits_for_a_paused_template_fails_when_it_is_rejected(acme, tell):
    tell('PAUSED')
    sent = send(acme)
    tell('REJECTED', reason='ABUSIVE_CONTENT')
    assert state(acme, sent) == ('failed', None)
    assert acme.message(sent['id'])['error']['details'] == 'ABUSIVE_CONTENT'


@pytest.mark.parametrize(
    ('event', 'after'), [('PAUSED', ('held', 'template')), ('REJECTED', ('failed', None))]
)
def test_what_is_scheduled_looks_at_its_template_when_its_time_has_come(
    acme, tell, workers, event, after
):
    tell(event)
    later = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
    sent = send(acme, send_at=later)
    assert state(acme, sent) == ('scheduled', None)
    sql("UPDATE message SET due_at = now(), send_at = now() WHERE status = 'scheduled'")
    workers.promote()
    assert state(acme, sent) == after


def test_what_crossed_a_verdict_is_put_right_by_the_sweep(acme, tell, workers):
    queued = send(acme)
    sql(
        "INSERT INTO template (waba_id, name, language, status) VALUES (%s, 'sale', 'pt_BR', "
        "'PAUSED')",
        WABA,
    )
    workers.sweep()
    assert state(acme, queued) == ('held', 'template')
    sql("UPDATE template SET status = 'APPROVED'")
    workers.sweep()
    assert state(acme, queued) == ('queued', None)


def test_what_meta_itself_held_is_not_let_go_by_the_sweep(acme, tell, workers):
    tell('APPROVED')
    sent = send(acme, to='+19991320151')
    workers.send()
    workers.sweep()
    assert state(acme, sent) == ('held', 'template')


def test_a_resume_and_a_retry_by_hand_do_not_get_past_a_stopped_template(acme, tell):
    tell('PAUSED')
    sent = send(acme)
    assert acme.post(f'/account/{CHATBOT}/resume').status_code == 200
    assert state(acme, sent) == ('held', 'template')
    tell('REJECTED')
    assert acme.post(f'/messages/{sent["id"]}/retry').status_code == 202
    assert state(acme, sent) == ('failed', None)


def test_a_bulk_waits_for_its_template_row_by_row_and_its_resume_does_not_get_past_it(acme, tell):
    tell('PAUSED')
    order = {
        'chatbot_id': CHATBOT,
        'recipients': ['+12025550143', '+12025550144'],
        'message': {'type': 'template', 'template': body()['template']},
    }
    batch = acme.post('/send/bulk', order).json
    assert batch['counts'] == {'held': 2}
    for step in ('pause', 'resume'):
        assert acme.post(f'/batches/{batch["id"]}/{step}').status_code == 200
    assert {row['hold_reason'] for row in acme.messages(batch_id=batch['id'])} == {'template'}
    tell('APPROVED')
    assert acme.get(f'/batches/{batch["id"]}').json['counts'] == {'queued': 2}


def test_while_the_account_is_held_too_the_template_is_waited_for_first(acme, tell):
    tell('PAUSED')
    sql("UPDATE whatsapp_cloud_account SET send_state = 'held'")
    sent = send(acme)
    tell('APPROVED')
    assert state(acme, sent) == ('held', 'account')
    acme.post(f'/account/{CHATBOT}/resume')
    assert state(acme, sent) == ('queued', None)


def test_an_edited_template_is_not_known_until_it_is_read_again_and_its_quality_is_kept(acme, tell):
    tell('APPROVED')
    sql("UPDATE template SET components = '[]'")
    tell(None, field='message_template_quality_update', new_quality_score='RED')
    assert sql('SELECT quality, status, components, id FROM template') == [
        ('RED', 'APPROVED', [], '7700123456789012')
    ]
    tell(None, field='message_template_components_update', message_template_element='New text')
    assert sql('SELECT quality, status, components FROM template') == [('RED', 'APPROVED', None)]


def test_two_workers_take_the_templates_of_several_wabas_in_one_order(acme, meta, workers):
    """However a webhook lists them: who waits for the first holds none of the others."""
    value = {
        'event': 'APPROVED',
        'message_template_name': 'sale',
        'message_template_language': 'pt_BR',
    }
    change = {'field': 'message_template_status_update', 'value': value}
    entries = [{'id': waba, 'time': 1, 'changes': [change]} for waba in ('222', '111')]
    sql("INSERT INTO template_sync (waba_id) VALUES ('111'), ('222')")
    meta.webhook({'object': 'whatsapp_business_account', 'entry': entries})
    with (
        closing(psycopg2.connect(os.environ['DATABASE_URL'])) as other,
        ThreadPoolExecutor(1) as pool,
    ):
        with other, other.cursor() as cursor:
            cursor.execute("SELECT 1 FROM template_sync WHERE waba_id = '111' FOR UPDATE")
            done = pool.submit(workers.incoming)
            wait_until(lambda: sql("SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock'"))
            cursor.execute("SELECT 1 FROM template_sync WHERE waba_id = '222' FOR UPDATE NOWAIT")
        done.result(10)
    assert acme.outcomes() == [('change', 'stored')] * 2
