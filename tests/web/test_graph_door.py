"""The Graph door: what existing clients send is queued, and Meta's answer comes back."""

import json
import time

import pytest

from service.sending import outbox
from tests.people import CUSTOMER, WABA, envelope, sql, text_message
from tests.raw_server import RawServer
from tests.stack import PHONE_NUMBER_ID
from tests.web.graph_client import TEXT


def test_a_text_is_queued_and_answered_with_what_meta_answers(graph, backend, stand_in):
    answer = graph.send()
    (message,) = backend.messages()
    (send,) = stand_in.sends()
    assert answer.status == 200
    assert answer.json == {
        'messaging_product': 'whatsapp',
        'contacts': [{'input': CUSTOMER, 'wa_id': CUSTOMER}],
        'messages': [{'id': send['wamid']}],
    }
    assert message['wamid'] == send['wamid']
    assert message['status'] == 'accepted'


@pytest.mark.parametrize('prefix', ['/v14.0', '/v26.0', '/v99.9', '/graph/v23.0'])
def test_any_version_is_taken_at_the_root_and_below_graph(prefix, graph, workers, stand_in):
    graph.prefix = prefix
    answer = graph.send()
    assert answer.json['messages'][0]['id'] == stand_in.sends()[0]['wamid']


CONTACT = {
    'name': {'formatted_name': 'Ana', 'first_name': 'Ana', 'last_name': None},
    'phones': [{'phone': '+12025550199', 'type': None}],
    'org': None,
    'birthday': None,
}
BODIES = {
    'nulls': {
        **TEXT,
        'context': None,
        'recipient': None,
        'text': {'body': 'Hi', 'preview_url': None},
    },
    'an empty context': {**TEXT, 'context': {}},
    'nulls in the context': {**TEXT, 'context': {'message_id': None, 'mentions': None}},
    'an empty context as a text': {**TEXT, 'context': '{"message_id": null}'},
    'nulls in contacts': {'to': CUSTOMER, 'type': 'contacts', 'contacts': [CONTACT]},
    'contacts as a text': {'to': CUSTOMER, 'type': 'contacts', 'contacts': json.dumps([CONTACT])},
    'another object as a text': {**TEXT, 'text': '{"body": "Hi"}'},
    'a number as a number': {**TEXT, 'to': int(CUSTOMER)},
    'both recipients': {**TEXT, 'recipient': 'US.13491208655302741918'},
    'a callback word': {**TEXT, 'biz_opaque_callback_data': 'x' * 512},
    'a language with a policy': {
        'to': CUSTOMER,
        'type': 'template',
        'template': {
            'name': 'order_ready',
            'language': {'code': 'en_US', 'policy': 'deterministic'},
            'components': [],
        },
    },
}


@pytest.mark.parametrize('body', BODIES.values(), ids=BODIES)
def test_what_meta_lets_pass_passes(body, graph, stand_in):
    answer = graph.send(body)
    assert answer.status == 200, answer.json
    assert answer.json['messages'][0]['id'] == stand_in.sends()[0]['wamid']


def test_a_quotation_keeps_its_message_whatever_else_is_null(graph, stand_in):
    graph.send({**TEXT, 'context': {'message_id': 'wamid.X', 'forwarded': None}})
    graph.send({**TEXT, 'context': {'message_id': None}})
    quoting, plain = stand_in.sends()
    assert quoting['body']['context'] == {'message_id': 'wamid.X'}
    assert 'context' not in plain['body']


@pytest.mark.parametrize('context', [{'message_id': ''}, {'message_id': 5}, [], 'x'])
def test_a_context_that_quotes_nothing_by_mistake_is_refused(graph, context):
    answer = graph.post_message({**TEXT, 'context': context})
    assert (answer.status, answer.json['error']['code']) == (400, 131009)


OF_TOMORROW = {
    'hologram': {'url': 'x'},
    'interactive': {'type': 'dice', 'body': {'text': 'Roll'}, 'action': {'sides': 6}},
}


@pytest.mark.parametrize('kind', OF_TOMORROW)
def test_what_the_gateway_does_not_know_is_left_to_meta_to_judge(kind, graph, stand_in):
    content = OF_TOMORROW[kind]
    graph.send({'to': CUSTOMER, 'type': kind, kind: content})
    assert stand_in.sends()[0]['body'][kind] == content


def test_a_template_is_sent_before_its_list_is_read_again(graph, workers, stand_in):
    stand_in.config(strict=True)
    workers.errands()
    made = {
        'name': 'order_new',
        'language': 'en_US',
        'category': 'UTILITY',
        'components': [{'type': 'BODY', 'text': 'Your order is new.'}],
    }
    assert graph.request('POST', f'{WABA}/message_templates', json=made).status == 200
    is_due = 'SELECT due_at <= clock_timestamp() FROM template_sync WHERE waba_id = %s'
    assert sql(is_due, WABA) == [(True,)], 'they are read again at once'
    body = {'to': CUSTOMER, 'type': 'template'}
    named = {'name': 'order_new', 'language': {'code': 'en_US'}}
    answer = graph.send({**body, 'template': named})
    assert answer.status == 200, answer.json
    refused = graph.send({**body, 'template': {**named, 'name': 'order_lost'}})
    assert (refused.status, refused.json['error']['code']) == (404, 132001), "Meta's own refusal"


def test_fields_that_only_meta_knows_go_to_meta(graph, stand_in):
    more = {'message_ttl': 60, 'tags': {'a': [1, None]}}
    answer = graph.send({**TEXT, **more}, params={'access_token': 'EAAG', 'appsecret_proof': 'x'})
    assert answer.status == 200, answer.json
    sent = stand_in.sends()[0]['body']
    assert {name: sent[name] for name in more} == more
    assert not sent.keys() & {'access_token', 'appsecret_proof'}
    for odd in ('x' * 5000, '\0'):
        refused = graph.post_message({**TEXT, 'tags': odd})
        assert (refused.status, refused.json['error']['code']) == (400, 131009)
        assert refused.json['error']['error_data']['details'].startswith('tags: ')


def test_a_parameter_may_stand_in_the_query_or_in_a_form(graph, stand_in):
    body = {name: value for name, value in TEXT.items() if name != 'messaging_product'}
    answer = graph.send(body, params={'messaging_product': 'whatsapp', 'type': 'text'})
    assert answer.status == 200
    form = {**TEXT, 'text': json.dumps(TEXT['text'])}
    assert graph.send(data=form).status == 200
    assert [send['body']['text'] for send in stand_in.sends()] == [{'body': 'Hi'}] * 2


def test_a_chunked_body_of_any_content_type_is_read(graph):
    raw = json.dumps({**TEXT, 'text': {'body': 'x' * 4000}}).encode()
    assert graph.send(data=iter([raw[:1000], raw[1000:]])).status == 200


def test_a_bsuid_and_a_group_are_answered_as_meta_names_them(graph):
    user = 'US.13491208655302741918'
    body = {'recipient': user, 'type': 'text', 'text': {'body': 'Hi'}}
    assert graph.send(body).json['contacts'] == [{'input': user, 'user_id': user}]


ERRORS = {131026: 400, 131049: 400, 132001: 404, 130472: 400, 131021: 400}


@pytest.mark.parametrize('code', ERRORS)
def test_metas_error_comes_out_as_meta_gave_it(code, graph):
    answer = graph.send({**TEXT, 'to': f'1999{code:06}0'})
    error = answer.json['error']
    assert answer.status == ERRORS[code]
    assert error['code'] == code
    assert error['type'] == 'OAuthException'
    assert error['message'].startswith(f'(#{code}) ')
    assert error['fbtrace_id']


TAKEN = {
    'messaging_product': 'whatsapp',
    'contacts': [{'input': f'+{CUSTOMER}', 'wa_id': CUSTOMER, 'user_id': 'US.1'}],
    'messages': [{'id': 'wamid.X', 'message_status': 'held_for_quality_assessment'}],
}
REFUSED = {
    'error': {'code': 131026, 'error_subcode': 7, 'is_transient': False, 'error_user_msg': 'é'},
    'more': [1],
}


@pytest.mark.parametrize(('status', 'said'), [(200, TAKEN), (499, REFUSED)])
def test_an_answer_of_metas_comes_out_whole(status, said, graph, workers, setting):
    """Also what nobody here knows of; the recipient stands there as the caller wrote it."""

    def answer(connection):
        connection.recv(65536)
        body = json.dumps(said)
        connection.sendall(
            f'HTTP/1.1 {status} X\r\nContent-Length: {len(body)}\r\n\r\n{body}'.encode()
        )

    with RawServer(answer) as meta:
        setting('GRAPH_API_URL', f'http://127.0.0.1:{meta.port}')
        got = graph.send({**TEXT, 'to': CUSTOMER})
    expected = json.loads(json.dumps(said).replace(f'"+{CUSTOMER}"', f'"{CUSTOMER}"'))
    assert (got.status, got.json) == (status, expected)


def test_metas_error_tells_nobody_the_token(graph, backend, workers, setting):
    """Meta repeats a token that it finds malformed."""
    token = 'EAAsecret/of"acme'
    backend.account(access_token=token)
    error = {'message': f'Malformed access token {token}', 'code': 190, 'type': 'OAuthException'}
    body = json.dumps({'error': error}).encode()

    def answer(connection):
        connection.recv(65536)
        head = f'HTTP/1.1 401 Unauthorized\r\nContent-Length: {len(body)}\r\n\r\n'
        connection.sendall(head.encode() + body)

    with RawServer(answer) as meta:
        setting('GRAPH_API_URL', f'http://127.0.0.1:{meta.port}')
        answered = graph.send()
    assert answered.json['error']['message'] == 'Malformed access token REMOVED'
    shown = [sql(f'SELECT t::text FROM {table} t') for table in ('message', 'message_status')]
    shown += [backend.get('/messages').text, backend.get('/account/acme').text]
    assert not [text for text in shown if 'EAAsecret' in str(text)]


def test_a_failure_that_comes_later_in_a_status_is_not_the_answer(graph):
    answer = graph.send({**TEXT, 'to': '19971310260'})
    assert answer.status == 200
    assert answer.json['messages'][0]['id'].startswith('wamid.')


def test_what_is_tried_again_is_answered_when_it_has_gone(graph, workers, stand_in):
    def work():
        workers.send()
        sql("UPDATE message SET due_at = now() WHERE status = 'queued'")
        sql('UPDATE conversation SET send_after = NULL')

    answer = graph.send({**TEXT, 'to': '19991310162'}, work=work)
    assert answer.json['messages'][0]['id'] == stand_in.sends()[-1]['wamid']
    assert len(stand_in.sends()) == 3


def test_who_is_told_of_a_held_account_has_nothing_sent_later(graph, backend, stand_in):
    stand_in.config(tokens=['of another account'])
    refused = graph.send()
    again = graph.send()
    for answer in (refused, again):
        assert (answer.status, answer.json['error']['code']) == (401, 190)
    assert {message['status'] for message in backend.messages()} == {'cancelled'}
    assert len(stand_in.sends()) == 1


def receipt(wamid, **more):
    return {'messaging_product': 'whatsapp', 'status': 'read', 'message_id': wamid, **more}


def test_a_customers_message_is_shown_as_read(graph, meta, workers, stand_in):
    meta.webhook(envelope([text_message(wamid='wamid.A')]))
    workers.incoming()
    for more in ({}, {'typing_indicator': {'type': 'text'}}):
        sql('DELETE FROM read_receipt')
        answer = graph.send(receipt('wamid.A', **more), work=workers.errands)
        assert (answer.status, answer.json) == (200, {'success': True})
    first, second = stand_in.get('/reads')['data']
    assert first['message_id'] == second['message_id'] == 'wamid.A'
    assert 'typing_indicator' not in first
    assert second['typing_indicator'] == {'type': 'text'}


def test_a_receipt_for_a_message_from_before_the_gateway_goes_to_meta(graph, stand_in):
    answer = graph.post_message(receipt('wamid.OLD'))
    assert (answer.status, answer.json) == (200, {'success': True})
    (read,) = stand_in.get('/reads')['data']
    assert read['message_id'] == 'wamid.OLD'


def test_a_receipt_that_meta_refuses_is_its_error(graph, meta, workers, stand_in):
    meta.webhook(envelope([text_message(wamid='wamid.A')]))
    workers.incoming()
    stand_in.config(tokens=['of another account'])
    answer = graph.send(receipt('wamid.A'), work=workers.errands)
    assert (answer.status, answer.json['error']['code']) == (401, 190)
    assert graph.post_message(receipt(None)).json['error']['code'] == 131009


def test_an_answer_that_takes_long_is_our_own_id(graph, backend):
    began = time.monotonic()
    answer = graph.post_message()
    assert 9 < time.monotonic() - began < 20
    (message,) = backend.messages()
    assert answer.status == 200
    assert answer.json['messages'] == [{'id': message['id'], 'message_status': 'accepted'}]
    assert answer.json['contacts'] == [{'input': CUSTOMER, 'wa_id': CUSTOMER}]


def test_a_message_brings_no_further_calls(graph, stand_in):
    for name in ('batch', 'ids', 'batch[0]'):
        for answer in (
            graph.post_message({**TEXT, name: '[]'}),
            graph.post_message(TEXT, params={name: '[]'}),
            graph.post_message({**receipt('wamid.OLD'), name: '[]'}),
        ):
            assert (answer.status, answer.json['error']['code']) == (400, 100)
    assert stand_in.sends() == stand_in.get('/reads')['data'] == []


def refusals(graph):
    """{what: (answer, HTTP status, Meta's code)}"""
    return {
        'no recipient': (graph.post_message({'type': 'text', 'text': {'body': 'Hi'}}), 400, 131009),
        'a long text': (graph.post_message({**TEXT, 'text': {'body': 'x' * 5000}}), 400, 131009),
        'no JSON': (graph.post_message(data='{'), 400, 100),
        'not an object': (graph.post_message(data='[]'), 400, 100),
        'too large': (graph.post_message(data=b' ' * 5_000_000), 413, 100),
        'no number of ours': (graph.post_message(number='77'), 404, 100),
        'no key': (graph.post_message(headers={'Authorization': ''}), 401, 190),
        'another key': (graph.post_message(headers={'Authorization': 'Bearer EAAG'}), 401, 190),
    }


def test_our_refusals_are_errors_of_metas(graph, backend):
    for name, (answer, status, code) in refusals(graph).items():
        assert (answer.status, answer.json['error']['code']) == (status, code), name
        error = answer.json['error']
        assert sorted(error) == ['code', 'error_data', 'fbtrace_id', 'message', 'type'], name
        assert error['error_data']['messaging_product'] == 'whatsapp'
        assert error['fbtrace_id'] == answer.headers['Request-Id']
    assert backend.messages() == []


def test_a_closed_window_and_an_opt_out_have_codes_of_metas(graph, backend):
    graph.send()
    sql("UPDATE conversation SET last_inbound_at = now() - interval '2 days'")
    answer = graph.post_message()
    assert (answer.status, answer.json['error']['code']) == (400, 131047)


def test_too_many_that_wait_are_a_rate_limit(backend, stand_in, workers, setting):
    setting('MAX_QUEUED', 1)
    backend.account()
    backend.send()
    outbox._counts.clear()
    answer = backend.transport.post(
        f'/v26.0/{PHONE_NUMBER_ID}/messages', json=TEXT, headers=backend.headers
    )
    assert (answer.status_code, answer.json['error']['code']) == (429, 130429)
    assert answer.headers['Retry-After'] == '5'
