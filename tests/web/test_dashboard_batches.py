"""Batches and templates in the dashboard: what is shown of them, and what a person does."""

import json

import pytest

from tests.dashboard import Person
from tests.people import CHATBOT, WABA, sql
from tests.web.tenants import fill, key_of

TEMPLATE = """
INSERT INTO template (waba_id, name, language, status, category, components, quality, reason)
VALUES (%s, %s, 'en_US', %s, 'marketing', %s, %s, %s)
"""
COMPONENTS = [
    {'type': 'HEADER', 'format': 'IMAGE'},
    {'type': 'BODY', 'text': 'Hello {{1}} <b>'},
    {'type': 'FOOTER', 'text': 'Your shop'},
    {
        'type': 'BUTTONS',
        'buttons': [{'type': 'URL', 'text': 'Look', 'url': 'https://shop.example/'}],
    },
]


@pytest.fixture
def acme(backend):
    backend.account(responder={'kind': 'none'}, waba_id=WABA)
    return backend


@pytest.fixture
def person(application, acme):
    return Person(application).log_in()


@pytest.fixture
def batch(acme):
    """The id of a batch to three."""
    order = {
        'chatbot_id': CHATBOT,
        'message': {'text': {'body': 'Hello {{name}}'}},
        'recipients': [{'to': f'+1202555010{n}', 'parameters': {'name': 'Ines'}} for n in range(3)],
    }
    return acme.post('/send/bulk', order).json['id']


def know(name='sale', status='APPROVED', quality='GREEN', reason=None, components=COMPONENTS):
    sql(TEMPLATE, WABA, name, status, json.dumps(components), quality, reason)


# ---- batches


def test_without_batches_the_page_says_how_one_is_made(person):
    assert 'POST /send/bulk makes one' in person.get('/batches').text


def test_batches_are_listed_with_their_progress(person, batch):
    page = person.get('/batches')
    assert page.status_code == 200
    assert f'/batches/{batch}"' in page.text
    assert 'running' in page.text
    assert '<progress value="0.0"' in page.text
    assert person.get('/batches?chatbot_id=other').text.count('/batches/') == 0


def test_a_batch_is_paused_resumed_and_cancelled(person, acme, batch):
    path = f'/batches/{batch}'
    for label, status in (('Pause', 'paused'), ('Resume', 'running')):
        answer = person.press(person.get(path), label)
        assert answer.status_code == 303
        assert acme.get(path).json['status'] == status
    page = person.get(path)
    assert person.press(page, 'Cancel the batch').status_code == 303
    assert acme.get(path).json['counts'] == {'cancelled': 3}
    assert 'Pause' not in person.get(path).text
    late = person.press(page, 'Pause')
    assert late.status_code == 409
    assert 'The batch was cancelled.' in late.text


def test_failures_of_a_batch_say_why_and_whom(person, acme, batch):
    error = {'code': 131026, 'title': 'Undeliverable <b>', 'details': None, 'fbtrace_id': None}
    fails = "UPDATE message SET status = 'failed', due_at = NULL, error = %s"
    sql(f"{fails} WHERE recipient_to = '+12025550101'", json.dumps(error))
    (failed,) = acme.messages(batch_id=batch, status='failed')
    page = person.get(f'/batches/{batch}')
    text = page.text.replace('&#39;', "'")
    assert failed['explanation'] in text
    assert failed['fix'] in text
    assert '+12025550101' in text
    assert '+12025550102' not in text
    assert f'/inbox/{failed["conversation_id"]}' in text


# ---- templates


def test_templates_are_shown_with_state_quality_and_content(person):
    know()
    know('gone', 'REJECTED', None, 'INVALID_FORMAT')
    answer = person.get('/templates')
    assert answer.location == f'/whatsapp-cloud/dashboard/templates?chatbot_id={CHATBOT}'
    page = person.get(answer.location)
    for text in ('Hello {{1}} &lt;b&gt;', '[image]', 'Your shop', 'Look https://shop.example/'):
        assert text in page.text
    for text in ('approved', 'green', 'rejected', 'invalid format'):
        assert text in page.text
    only = person.get(f'{answer.location}&status=REJECTED').text
    assert 'gone' in only
    assert 'Your shop' in only
    assert '/templates/sale?' not in only


def test_what_waits_for_a_template_is_told(person, acme):
    know(components=[{'type': 'BODY', 'text': 'Hello'}])
    template = {'name': 'sale', 'language': {'code': 'en_US'}}
    order = {'chatbot_id': CHATBOT, 'message': {'type': 'template', 'template': template}}
    order['recipients'] = ['+12025550101', '+12025550102']
    batch = acme.post('/send/bulk', order).json['id']
    held = "UPDATE message SET status = 'held', hold_reason = 'template'"
    sql(f"{held} WHERE recipient_to = '+12025550101'")
    page = person.get(f'/templates?chatbot_id={CHATBOT}')
    assert '1 waiting' in page.text
    assert '1 held' in page.text
    page = person.get(f'/templates/sale?chatbot_id={CHATBOT}&language=en_US')
    assert page.status_code == 200
    assert f'/batches/{batch}"' in page.text
    assert person.get(f'/templates/no?chatbot_id={CHATBOT}&language=en_US').status_code == 404


def test_templates_are_read_again_on_demand(person):
    page = person.get(f'/templates?chatbot_id={CHATBOT}')
    assert person.press(page, 'Read them now').status_code == 303
    ((due_at,),) = sql('SELECT due_at FROM template_sync WHERE waba_id = %s', WABA)
    assert due_at is not None


def test_without_a_waba_the_page_says_what_is_missing(person, acme):
    acme.account('bare', '300112233445599')
    page = person.get('/templates?chatbot_id=bare')
    assert page.status_code == 200
    assert 'has no waba_id yet' in page.text
    assert person.get('/templates?chatbot_id=nobody').status_code == 404


def test_without_accounts_there_are_none(application, database):
    assert 'No templates here.' in Person(application).log_in().get('/templates').text


# ---- whose they are


def test_what_is_another_tenants_is_not_there(application, backend, meta, workers):
    world = fill(backend, meta, workers)
    key = key_of(backend, 'other')
    person = Person(application).log_in(key)
    theirs, own = world['acme'].batch_id, world['other'].batch_id
    page = person.get('/batches')
    assert own in page.text
    assert theirs not in page.text
    assert person.get(f'/batches/{own}').status_code == 200
    assert person.get(f'/batches/{theirs}').status_code == 404
    for action in ('pause', 'resume', 'cancel'):
        answer = person.post(f'/batches/{theirs}/{action}', {'csrf': person.csrf()})
        assert answer.status_code == 404
    assert backend.get(f'/batches/{theirs}').json['status'] == 'running'
    assert person.get('/templates').location.endswith('chatbot_id=other')
    assert 'other_sale' in person.get('/templates?chatbot_id=other').text
    assert person.get('/templates?chatbot_id=acme').status_code == 404
    form = {'csrf': person.csrf(), 'chatbot_id': 'acme'}
    assert person.post('/templates/sync', form).status_code == 404


def test_a_key_that_only_reads_changes_nothing(application, backend, acme, batch):
    key = key_of(backend, CHATBOT, scopes=('read',))
    person = Person(application).log_in(key)
    page = person.get(f'/batches/{batch}')
    assert 'Pause' not in page.text
    assert 'Read them now' not in person.get(f'/templates?chatbot_id={CHATBOT}').text
    form = {'csrf': person.csrf(), 'chatbot_id': CHATBOT}
    for path in (f'/batches/{batch}/cancel', '/templates/sync'):
        assert person.post(path, form).status_code == 403
    assert acme.get(f'/batches/{batch}').json['status'] == 'running'
