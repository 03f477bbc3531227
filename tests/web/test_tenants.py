"""A key sees what belongs to its chatbots, and nothing else is there for it: not by an id, not in a
list or a count, not by a cursor, and not in the text of an error.
"""

import io
import json
import re
from itertools import product

import pytest
from urllib3 import encode_multipart_formdata

from tests.content.test_media_types import sample
from tests.web.tenants import backend_of, dump, fill

UNKNOWN = '01930000-0000-7000-8000-000000000000'
UNKNOWN_BY_NAME = {'chatbot_id': 'nobody', 'number': '990011223344555', 'node': '990011223344555'}
# Arguments of routes whose value is the same for everybody, or belongs to nobody.
SHARED = {'name': 'sale', 'version': 'v26.0', 'edge': 'media'}
MANAGE = ('send', 'read', 'manage')


@pytest.fixture
def world(backend, meta, workers):
    """.acme, .other, .third: what they have; .root, and .other_key, which sees other alone."""
    rows = fill(backend, meta, workers)
    return type('World', (), rows | {'root': backend, 'key': backend_of(backend, 'other')})


def routes(application, with_arguments):
    """(method, path with its arguments, view) of all that a scoped key may ask."""
    for rule in application.url_map.iter_rules():
        view = application.view_functions[rule.endpoint]
        is_page = rule.endpoint.startswith(('documents.', 'dashboard_'))  # have their own tests
        if view.scope in MANAGE and not is_page and bool(rule.arguments) == with_arguments:
            for method in sorted(rule.methods - {'HEAD', 'OPTIONS'}):
                yield method, rule.rule, view


def filled(path, values):
    return re.sub(r'<(?:\w+:)?(\w+)>', lambda found: values[found[1]], path)


def answer_of(backend, method, path, *hidden, **options):
    """Status and body of an answer, without what the caller itself has named."""
    answer = backend.transport.open(path, method=method, headers=backend.headers, **options)
    text = answer.text
    for value in (*hidden, answer.headers['Request-Id']):
        text = text.replace(value, '…')
    return answer.status_code, text


def test_another_tenants_id_is_answered_like_one_that_is_unknown(world, application):
    """A route that needs a body to get so far, or an argument of a new kind, has its line here."""
    before = dump()
    tried = 0
    for method, path, _ in sorted(routes(application, True), key=str):
        names = set(re.findall(r'<(?:\w+:)?(\w+)>', path)) - SHARED.keys()
        if not names:
            continue
        theirs = {name: getattr(world.acme, name) for name in names}
        nobodys = {name: UNKNOWN_BY_NAME.get(name, UNKNOWN) for name in names}
        for message in ('message_id', 'sent_id', 'picture_id') if 'message_id' in names else [None]:
            if message:
                theirs['message_id'] = getattr(world.acme, message)
            seen = answer_of(world.key, method, filled(path, SHARED | theirs), *theirs.values())
            unknown = answer_of(
                world.key, method, filled(path, SHARED | nobodys), *nobodys.values()
            )
            assert seen == unknown, (method, path)
            assert seen[0] == 404, (method, path, seen)
            tried += 1
    assert tried >= 30
    assert dump() == before


def orders(world, chatbot_id, phone, conversation_id):
    """Requests that name a chatbot in their query or body, as for one tenant."""
    send = {'chatbot_id': chatbot_id, 'to': f'+{phone}', 'text': {'body': 'Hi'}}
    bulk = {'chatbot_id': chatbot_id, 'message': {'text': {'body': 'Hi'}}, 'recipients': [phone]}
    file = ('a.jpg', sample('photo.jpg'))
    form, form_type = encode_multipart_formdata({'chatbot_id': chatbot_id, 'file': file})
    template = {'name': 'acme_sale', 'language': 'en_US', 'category': 'UTILITY', 'components': []}
    csv = {'data': io.BytesIO(f'to\n+{phone}\n'.encode()), 'content_type': 'text/csv'}
    yield 'POST', '/send', {'json': send}
    yield 'POST', '/send', {'json': send | {'to': phone[:4]}}
    yield 'POST', '/send/bulk', {'json': bulk}
    yield 'POST', '/send/bulk', {'json': bulk | {'recipients': ['nonsense']}}
    yield 'POST', f'/send/bulk?chatbot_id={chatbot_id}&text=Hi', csv
    yield 'POST', '/media', {'data': form, 'content_type': form_type}
    yield 'POST', '/account', {'json': {'chatbot_id': chatbot_id, 'name': 'Mine'}}
    yield 'POST', '/templates', {'json': template | {'chatbot_id': chatbot_id}}
    yield 'POST', '/templates/sync', {'json': {'chatbot_id': chatbot_id}}
    yield 'DELETE', f'/templates/acme_sale?chatbot_id={chatbot_id}', {}
    yield 'GET', f'/templates?chatbot_id={chatbot_id}', {}
    yield 'GET', f'/templates/acme_sale?chatbot_id={chatbot_id}&language=en_US', {}
    yield 'GET', f'/usage?chatbot_id={chatbot_id}', {}
    yield 'GET', f'/stats?chatbot_id={chatbot_id}', {}
    yield 'GET', f'/events?chatbot_id={chatbot_id}', {}
    endpoint = {'url': 'http://127.0.0.1:9/hook', 'chatbot_id': chatbot_id}
    yield 'POST', '/endpoints', {'json': endpoint}
    yield 'POST', '/endpoints', {'json': endpoint | {'kind': 'relay'}}


def test_another_tenants_chatbot_is_answered_like_one_that_is_unknown(world):
    before = dump()
    theirs = orders(world, 'acme', world.acme.phone, world.acme.conversation_id)
    nobodys = orders(world, 'nobody', world.acme.phone, UNKNOWN)
    for (method, path, options), (_, other_path, other_options) in zip(
        theirs, nobodys, strict=True
    ):
        prefix = '/whatsapp-cloud'
        seen = answer_of(world.key, method, prefix + path, 'acme', **options)
        unknown = answer_of(world.key, method, prefix + other_path, 'nobody', **other_options)
        assert seen == tuple(
            part.replace('acme', '…') if isinstance(part, str) else part for part in unknown
        ), (method, path)
        assert seen[0] in (404, 422), (method, path, seen)
    assert dump() == before


def test_an_odd_number_that_another_tenant_knows_tells_nothing(world, meta, workers):
    """Numbers that no plan has are taken where Meta knows a customer by them, of this chatbot."""
    from tests.people import Customers, envelope, text_message

    odd = '5521123'
    Customers(meta, workers).tell(
        envelope([text_message('Hi', 'wamid.odd', odd)], number='300112233445501')
    )
    order = {'to': f'+{odd}', 'text': {'body': 'Hi'}}
    assert world.root.post('/send', order | {'chatbot_id': 'acme'}).status_code == 202
    answers = [
        world.key.post('/send', order | {'chatbot_id': chatbot_id}).json
        for chatbot_id in ('acme', 'nobody')
    ]
    assert answers[0] == answers[1]


def test_a_first_answer_is_repeated_to_its_own_tenant_alone(world):
    body = {'chatbot_id': 'acme', 'to': f'+{world.acme.phone}', 'text': {'body': 'Twice'}}
    headers = {'Idempotency-Key': 'same'}
    first = world.root.post('/send', body, headers=headers)
    again = backend_of(world.root, 'acme').post('/send', body, headers=headers)
    assert (again.status_code, again.json) == (202, first.json)
    for other in (body, body | {'text': {'body': 'Another'}}):
        answer = world.key.post('/send', other, headers=headers)
        assert (answer.status_code, answer.json['code']) == (404, 'unknown_chatbot')


@pytest.mark.parametrize('kind', ['image', 'in_reply_to', 'context'])
def test_a_send_names_nothing_of_another_tenants(world, kind):
    parts = {
        'image': (
            {'type': 'image', 'image': {'id': world.acme.media_id}},
            {'type': 'image', 'image': {'id': UNKNOWN}},
        ),
        'in_reply_to': (
            {'text': {'body': 'Hi'}, 'in_reply_to': world.acme.message_id},
            {'text': {'body': 'Hi'}, 'in_reply_to': UNKNOWN},
        ),
        'context': (
            {'text': {'body': 'Hi'}, 'context': {'message_id': world.acme.message_id}},
            {'text': {'body': 'Hi'}, 'context': {'message_id': UNKNOWN}},
        ),
    }[kind]
    order = {'chatbot_id': 'other', 'to': f'+{world.other.phone}'}
    theirs, unknown = (world.key.post('/send', order | part) for part in parts)
    assert theirs.status_code == unknown.status_code == 422
    shown = theirs.text
    for value in (world.acme.media_id, world.acme.message_id):
        shown = shown.replace(value, UNKNOWN)
    assert json.loads(shown) == unknown.json


# ---- lists


def marks(tenant):
    """What of a tenant no answer to others may hold."""
    known = {f'{tenant.chatbot_id}Secret', f'"{tenant.chatbot_id}"'}
    return known | {value for name, value in vars(tenant).items() if name != 'chatbot_id'}


def queries(world):
    """Queries of lists that ask for something of acme's, and for everything."""
    acme = world.acme
    named = {
        'chatbot_id': 'acme',
        'conversation_id': acme.conversation_id,
        'batch_id': acme.batch_id,
        'client_reference': 'acme-ref',
        'wamid': acme.wamid,
        'to': f'+{acme.phone}',
        'phone': f'+{acme.phone}',
        'username': 'acme.user',
        'waba_id': acme.waba_id,
        'q': 'acmeSecret',
        'updated_since': '2020-01-01T00:00:00Z',
        'since': '2020-01-01T00:00:00Z',
        'unanswered': 'true',
        'paused': 'false',
        'status': 'queued',
        'direction': 'inbound',
        'opted_out': 'false',
        'type': 'message.received',
    }
    yield {}
    yield from ({name: value} for name, value in named.items())
    yield from ({'q': 'shared', name: value} for name, value in named.items() if name != 'q')
    yield from ({'chatbot_id': 'acme', name: value} for name, value in named.items())


def test_no_list_holds_anything_of_another_tenants(world, application):
    shown = 0
    for (method, path, view), query in product(
        list(routes(application, False)), list(queries(world))
    ):
        known = getattr(view, 'parameters', ())
        if method != 'GET' or not query.keys() <= {*known}:
            continue
        texts = [
            one.transport.get(path, headers=one.headers, query_string=query).text
            for one in (world.root, world.key)
        ]
        asked = {str(value) for value in query.values()}
        found = [
            sorted(mark for mark in marks(world.acme) if mark in text and mark not in asked)
            for text in texts
        ]
        assert found[1] == [], (path, query)
        shown += bool(found[0])
    assert shown >= 50  # times that the root key was shown something of it


LISTS = {
    '/messages': (
        {},
        {'status': 'queued'},
        {'direction': 'inbound'},
        {'updated_since': '2020-01-01T00:00:00Z'},
        {'q': 'shared'},
        {'q': 'words', 'direction': 'inbound'},
        {'q': 'shared', 'status': 'queued'},
        {'created_after': '2020-01-01T00:00:00Z'},
        {'client_reference': 'third-ref'},
    ),
    '/conversations': (
        {},
        {'unanswered': 'true'},
        {'paused': 'false'},
        {'since': '2020-01-01T00:00:00Z'},
    ),
    '/contacts': (
        {},
        {'opted_out': 'false'},
        {'username': 'third.user'},
        {'phone': '+12025550103'},
    ),
    '/batches': ({},),
    '/accounts': ({}, {'send_state': 'ok'}),
}


def all_rows(backend, path, query):
    """The rows of all pages of a list, two at a time."""
    rows = []
    cursor = None
    while True:
        page = {'limit': 2, **query, **({'cursor': cursor} if cursor else {})}
        answer = backend.get(path, query_string=page)
        assert answer.status_code == 200, answer.text
        rows += answer.json['data']
        cursor = answer.json['next_cursor']
        if not cursor:
            return [row | {'estimated_end': None} for row in rows]  # it moves with the clock


@pytest.mark.parametrize('chatbots', [('other',), ('other', 'third'), ('other', 'third', 'none')])
def test_a_list_is_that_of_a_root_key_without_the_others(world, chatbots):
    tenant = backend_of(world.root, *chatbots)
    for path, some in LISTS.items():
        for query in some:
            everything = all_rows(world.root, path, query)
            wanted = [row for row in everything if row['chatbot_id'] in chatbots]
            assert all_rows(tenant, path, query) == wanted, (path, query)
            assert everything, (path, query)
            for chatbot_id in ('other', 'acme') if path != '/accounts' else ():
                asked = all_rows(tenant, path, query | {'chatbot_id': chatbot_id})
                assert asked == [row for row in wanted if row['chatbot_id'] == chatbot_id]


def test_searches_and_filters_beyond_the_walk_are_of_the_keys_chatbots(world, monkeypatch):
    """The older rows of a list come from other indexes than the newest."""
    monkeypatch.setattr('service.messages.message_search.WALK', 1)
    monkeypatch.setattr('service.conversations.conversation_list.WALK', 1)
    tenant = backend_of(world.root, 'other', 'third')
    for path, query in (
        ('/messages', {'q': 'shared'}),
        ('/conversations', {'unanswered': 'true'}),
        ('/conversations', {'since': '2020-01-01T00:00:00Z'}),
    ):
        everything = all_rows(world.root, path, query)
        wanted = [row for row in everything if row['chatbot_id'] != 'acme']
        assert len({row['chatbot_id'] for row in wanted}) == 2
        assert all_rows(tenant, path, query) == wanted


def test_cursors_of_other_tenants_lead_nowhere(world):
    theirs = world.key.get('/account/other/health', query_string={'cursor': world.acme.health_id})
    unknown = world.key.get('/account/other/health', query_string={'cursor': UNKNOWN})
    assert theirs.json == unknown.json
    answers = [world.key.get(f'/accounts?cursor={chatbot_id}') for chatbot_id in ('acme', 'none')]
    assert [answer.status_code for answer in answers] == [422, 422]
    assert answers[0].json == answers[1].json


def test_a_waba_of_others_is_not_taken_with_their_templates(world):
    token = {'access_token': 'own'}
    shared = {'chatbot_id': 'other', 'waba_id': world.acme.waba_id}
    answer = world.key.post('/account', shared | token)
    assert (answer.status_code, answer.json['code']) == (409, 'waba_taken')
    assert world.root.get('/account/other').json['waba_id'] == world.other.waba_id
    for change in ({'waba_id': world.other.waba_id}, {'waba_id': '990011223344599'}):
        order = {'chatbot_id': 'other', **token, **change}
        assert world.key.post('/account', order).status_code == 200
    assert world.root.post('/account', shared).status_code == 200
    assert world.key.post('/account', shared).status_code == 200  # it has it already
    both = backend_of(world.root, 'other', 'acme')
    assert both.post('/account', shared | {'chatbot_id': 'acme'}).status_code == 200


def test_a_stored_token_is_not_turned_to_what_else_it_opens(world):
    for change in ({'phone_number_id': '300112233445999'}, {'waba_id': '990011223344599'}):
        answer = world.key.post('/account', {'chatbot_id': 'other', **change})
        assert (answer.status_code, [*answer.json['errors']]) == (422, ['access_token'])
        own = {'chatbot_id': 'other', 'access_token': 'own', **change}
        assert world.key.post('/account', own).status_code == 200
        again = {'chatbot_id': 'other', 'name': 'Same', **change}
        assert world.key.post('/account', again).status_code == 200
        unset = {'chatbot_id': 'other', 'waba_id': None}
        assert world.key.post('/account', unset).status_code == 200
    assert world.root.post('/account', {'chatbot_id': 'other', 'waba_id': '1'}).status_code == 200


def test_a_number_of_others_is_not_taken_and_its_owner_not_named(world):
    answer = world.key.post(
        '/account',
        {'chatbot_id': 'other', 'phone_number_id': '300112233445501', 'access_token': 'own'},
    )
    assert (answer.status_code, answer.json['code']) == (409, 'number_taken')
    assert 'acme' not in answer.text


def test_an_endpoint_is_never_told_of_another_tenant(world):
    own = f'/endpoints/{world.other.endpoint_id}'
    before = dump()
    for chatbot_id in ('acme', None):
        answer = world.key.post(own, {'chatbot_id': chatbot_id})
        assert (answer.status_code, [*answer.json['errors']]) == (422, ['chatbot_id'])
    answer = world.key.post('/endpoints', {'url': 'http://127.0.0.1:9/hook'})
    assert (answer.status_code, [*answer.json['errors']]) == (422, ['chatbot_id'])
    resend = f'/events/{world.other.event_id}/resend'
    theirs = world.key.post(resend, {'endpoint_id': world.acme.endpoint_id})
    unknown = world.key.post(resend, {'endpoint_id': UNKNOWN})
    assert (theirs.status_code, theirs.json) == (404, unknown.json)
    assert dump() == before


def test_brakes_that_others_feel_are_left_to_who_sees_them(world):
    from service.sending import rate_limit

    keys = rate_limit.scope_keys('300112233445502', world.other.waba_id, None)
    for key in keys:
        rate_limit.slow_down(key)
    lifted = world.key.post('/account/other/brakes/lift').json['lifted']
    assert [one['scope'] for one in lifted] == ['number', 'waba']
    left = world.key.get('/account/other/brakes').json['data']
    assert [one['scope'] for one in left] == ['app']
    lifted = world.root.post('/account/other/brakes/lift').json['lifted']
    assert [one['scope'] for one in lifted] == ['app']
