"""GET, POST and DELETE /templates: what was read is shown, the rest is done at Meta."""

import pytest

from tests.people import CHATBOT, sql

WABA = '880011223344556'
NEW = {
    'chatbot_id': CHATBOT, 'name': 'sale', 'language': 'pt_BR', 'category': 'MARKETING',
    'components': [{'type': 'BODY', 'text': 'Olá {{1}}', 'example': {'body_text': [['Ana']]}}],
}  # fmt: skip


@pytest.fixture
def acme(backend, workers, stand_in):
    backend.account(waba_id=WABA)
    workers.errands()
    return backend


def listed(acme, **query):
    answer = acme.get('/templates', query_string={'chatbot_id': CHATBOT, **query})
    assert answer.status_code == 200, answer.text
    return answer.json


def delete(acme, name, **query):
    return acme.request(
        'DELETE', f'/templates/{name}', query_string={'chatbot_id': CHATBOT, **query}
    )


def at_meta(stand_in):
    return sorted((one['name'], one['language']) for one in stand_in.get('/templates')['data'])


def test_templates_are_listed_with_how_it_stands_with_their_reading(acme):
    page = listed(acme)
    assert [row['name'] for row in page['data']] == ['hello_world', 'order_ready']
    assert (page['waba_id'], page['sync']['error'], page['next_cursor']) == (WABA, None, None)
    assert page['sync']['synced_at'] < page['sync']['due_at']
    row = page['data'][1]
    shown = (
        'waba_id',
        'language',
        'id',
        'status',
        'category',
        'parameter_format',
        'quality',
        'reason',
    )
    assert [row[name] for name in shown] == [
        WABA,
        'en_US',
        '1192339204654488',
        'APPROVED',
        'utility',
        'POSITIONAL',
        None,
        None,
    ]
    assert acme.get('/templates', query_string={'waba_id': WABA}).json['data'] == page['data']
    assert (
        acme.get(
            '/templates/order_ready', query_string={'chatbot_id': CHATBOT, 'language': 'en_US'}
        ).json
        == row
    )


def test_the_list_is_filtered_and_has_pages(acme):
    row = (
        'INSERT INTO template (waba_id, name, language, status, category) VALUES (%s, %s, %s, '
        "'PAUSED', 'marketing')"
    )
    for name, language in (('b', 'de'), ('a', 'en'), ('a', 'de')):
        sql(row, WABA, name, language)
    sql(row, '1', 'c', 'de')
    found, cursor = [], None
    while cursor or not found:
        page = listed(acme, limit=2, **({'cursor': cursor} if cursor else {}))
        cursor = page['next_cursor']
        found += [(one['name'], one['language']) for one in page['data']]
    assert found == [
        ('a', 'de'),
        ('a', 'en'),
        ('b', 'de'),
        ('hello_world', 'en_US'),
        ('order_ready', 'en_US'),
    ]
    for query, count in (
        ({'name': 'a'}, 2),
        ({'status': 'PAUSED'}, 3),
        ({'status': 'paused'}, 3),
        ({'category': 'utility'}, 2),
        ({'category': 'MARKETING'}, 3),
        ({'name': 'a', 'language': 'en'}, 1),
    ):
        assert len(listed(acme, **query)['data']) == count


@pytest.mark.parametrize(
    ('path', 'query', 'status'),
    [
        ('', {}, 422),
        ('', {'chatbot_id': 'nobody'}, 404),
        ('', {'chatbot_id': CHATBOT, 'cursor': 'bm9uc2Vuc2U='}, 422),
        ('', {'chatbot_id': CHATBOT, 'cursor': 'WzEsIDJd'}, 422),
        ('', {'chatbot_id': CHATBOT, 'cursor': 'WyJhXHUwMDAwIiwgImIiXQ=='}, 422),
        ('', {'chatbot_id': CHATBOT, 'cursor': 'W1tb' * 490}, 422),
        ('', {'chatbot_id': CHATBOT, 'limit': '0'}, 422),
        ('/order_ready', {'chatbot_id': CHATBOT}, 422),
        ('/order_ready', {'chatbot_id': CHATBOT, 'language': 'de'}, 404),
        ('/order%00ready', {'chatbot_id': CHATBOT, 'language': 'de'}, 404),
    ],
)
def test_a_question_that_is_not_complete_is_refused(acme, path, query, status):
    assert acme.get(f'/templates{path}', query_string=query).status_code == status


def test_an_account_without_a_waba_says_so(acme):
    acme.post('/account', {'chatbot_id': CHATBOT, 'waba_id': None})
    for answer in (
        acme.get('/templates', query_string={'chatbot_id': CHATBOT}),
        acme.post('/templates', NEW),
        acme.post('/templates/sync', {'chatbot_id': CHATBOT}),
        delete(acme, 'order_ready'),
    ):
        assert (answer.status_code, 'no waba_id' in answer.json['detail']) == (409, True)


def test_they_are_read_again_on_demand(acme, workers, stand_in):
    assert acme.post('/templates/sync', {'chatbot_id': CHATBOT}).status_code == 202
    workers.errands()
    assert len(stand_in.get('/templates')['calls']) == 2
    assert acme.post('/templates/sync', {'chatbot_id': 'nobody'}).status_code == 404


def test_a_template_is_made_at_meta_and_known_at_once(acme, stand_in):
    made = acme.post('/templates', NEW)
    assert made.status_code == 201, made.text
    assert (made.json['status'], made.json['category'], made.json['components']) == (
        'APPROVED',
        'marketing',
        NEW['components'],
    )
    (there,) = [one for one in stand_in.get('/templates')['data'] if one['name'] == 'sale']
    assert there['id'] == made.json['id']
    assert 'chatbot_id' not in there
    body = {
        'chatbot_id': CHATBOT,
        'to': '+12025550143',
        'type': 'template',
        'template': {'name': 'sale', 'language': {'code': 'pt_BR'}},
    }
    assert acme.post('/send', body).status_code == 422


@pytest.mark.parametrize(
    ('change', 'name'),
    [
        ({'name': 'Big Sale'}, 'name'),
        ({'name': 'x' * 513}, 'name'),
        ({'category': 'SERVICE'}, 'category'),
        ({'components': {}}, 'components'),
        ({'components': []}, 'components'),
        ({'language': ''}, 'language'),
        ({'parameter_format': 'RANDOM'}, 'parameter_format'),
    ],
)
def test_what_cannot_be_a_template_does_not_go_to_meta(acme, stand_in, change, name):
    answer = acme.post('/templates', NEW | change)
    assert (answer.status_code, list(answer.json['errors'])) == (422, [name])
    assert len(stand_in.get('/templates')['calls']) == 1


def test_metas_refusal_is_told_with_its_code_and_what_to_do(acme):
    acme.post('/templates', NEW)
    again = acme.post('/templates', NEW)
    assert (again.status_code, again.content_type) == (422, 'application/problem+json')
    assert (again.json['code'], again.json['explanation']) == (
        2388024,
        'Meta does not take a template as it is.',
    )
    assert 'already content in this language' in again.json['detail']
    assert again.json['fix']


@pytest.mark.parametrize(
    ('code', 'status'), [(190, 409), (200, 409), (100, 422), (131016, 503), (80008, 503)]
)
def test_each_kind_of_refusal_has_its_status(acme, stand_in, code, status):
    stand_in.config(template_error=code, retry_after=77)
    for answer in (acme.post('/templates', NEW), delete(acme, 'order_ready')):
        assert (answer.status_code, answer.json['code']) == (status, code)
        assert answer.headers.get('Retry-After') == ('77' if status == 503 else None)
    assert acme.get(f'/account/{CHATBOT}').json['send_state'] == 'ok'
    assert [row['name'] for row in listed(acme)['data']] == ['hello_world', 'order_ready']


def test_meta_away_is_a_503(acme, setting):
    setting('GRAPH_API_URL', 'http://127.0.0.1:9')
    answer = acme.post('/templates', NEW)
    assert (answer.status_code, answer.headers['Retry-After'], answer.json['code']) == (
        503,
        '5',
        'meta_unreachable',
    )


def test_a_template_is_deleted_in_one_language_or_in_all(acme, stand_in):
    acme.post('/templates', NEW)
    acme.post('/templates', NEW | {'language': 'en_US'})
    acme.post('/templates', NEW | {'language': 'de'})
    gone = delete(acme, 'sale', language='pt_BR')
    assert (gone.status_code, gone.json['deleted']) == (200, True)
    left = [('hello_world', 'en_US'), ('order_ready', 'en_US')]
    assert at_meta(stand_in) == [*left, ('sale', 'de'), ('sale', 'en_US')]
    (german,) = listed(acme, name='sale', language='de')['data']
    assert delete(acme, 'sale', id=german['id']).status_code == 200
    assert at_meta(stand_in) == [*left, ('sale', 'en_US')]
    assert [row['status'] for row in listed(acme, name='sale')['data']] == [
        'DELETED',
        'APPROVED',
        'DELETED',
    ]
    assert delete(acme, 'sale').status_code == 200
    assert at_meta(stand_in) == left
    assert delete(acme, 'sale').json['code'] == 132001
    assert delete(acme, 'sale', language='fr').status_code == 404


def test_what_waits_for_a_deleted_template_fails(acme):
    template = {'name': 'hello_world', 'language': {'code': 'en_US'}}
    body = {'chatbot_id': CHATBOT, 'to': '+12025550143', 'type': 'template', 'template': template}
    sent = acme.post('/send', body).json
    assert delete(acme, 'hello_world').status_code == 200
    message = acme.message(sent['id'])
    assert (message['status'], message['explanation']) == ('failed', 'The template was deleted.')


def test_a_template_of_an_inactive_account_is_not_touched(acme, stand_in):
    acme.post(f'/account/{CHATBOT}/deactivate')
    assert acme.post('/templates', NEW).status_code == 400
    assert delete(acme, 'order_ready').status_code == 400
    assert len(at_meta(stand_in)) == 2
    assert len(listed(acme)['data']) == 2
