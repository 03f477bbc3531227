"""Accounts at the front door: secrets go in and never come out."""

import base64
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from cryptography.fernet import Fernet
from redis import Redis

from service.accounts.account import Account
from service.runtime import encryption
from service.runtime.db import connection
from service.web.account_schemas import AccountSchema
from tests.people import CHATBOT, CUSTOMER, envelope, sql, status_of, text_message
from tests.stack import PHONE_NUMBER_ID, ROOT

SECRETS = {
    'access_token': 'EAAsentinel-token',
    'webhook_verify_token': 'sentinel-verify',
    'app_secret': 'sentinel-app-secret',
}
OPENAI = {
    'kind': 'openai',
    'base_url': 'http://ai.test/v1',
    'api_key': 'sentinel-key',
    'model': 'm',
    'system_prompt': 'Be brief.',
}
HTTP = {
    'kind': 'http',
    'url': 'https://platform.test/replies',
    'secret': 'whsec_c2VudGluZWwtc2VjcmV0LTE2',
}
ACCOUNT = {
    'chatbot_id': CHATBOT,
    'phone_number_id': PHONE_NUMBER_ID,
    'waba_id': '880',
    'name': 'Acme support',
    'max_mps': 40,
    'on_unknown': 'fail',
    'responder': OPENAI,
    **SECRETS,
}
COLUMNS = ('access_token', 'app_secret', 'webhook_verify_token', 'responder_secret')


def stored():
    """The encrypted columns of the one account, as they are in the table."""
    (row,) = sql(f'SELECT {", ".join(COLUMNS)} FROM whatsapp_cloud_account')
    return dict(zip(COLUMNS, row, strict=True))


def test_an_account_is_created_with_201_and_updated_with_200(backend):
    made = backend.post('/account', ACCOUNT)
    assert made.status_code == 201
    assert (
        made.json
        | {
            'chatbot_id': CHATBOT,
            'phone_number_id': PHONE_NUMBER_ID,
            'waba_id': '880',
            'name': 'Acme support',
            'max_mps': 40,
            'on_unknown': 'fail',
            'read_receipts': 'none',
            'active': True,
            'send_state': 'ok',
            'send_state_reason': None,
        }
        == made.json
    )
    changed = backend.post('/account', ACCOUNT | {'name': 'Acme'})
    assert (changed.status_code, changed.json['name']) == (200, 'Acme')
    assert backend.get(f'/account/{CHATBOT}').json == changed.json


def test_only_three_fields_are_required_and_the_rest_has_defaults(backend):
    made = backend.post(
        '/account',
        {name: ACCOUNT[name] for name in ('chatbot_id', 'phone_number_id', 'access_token')},
    )
    assert made.status_code == 201
    assert made.json['on_unknown'] == 'resend'
    assert made.json['responder'] is None
    for name in ('chatbot_id', 'phone_number_id', 'access_token'):
        new = ACCOUNT | {'chatbot_id': 'new', 'phone_number_id': '5'}
        del new[name]
        refused = backend.post('/account', new)
        assert refused.status_code == 422
        assert list(refused.json['errors']) == [name]


def test_secrets_never_come_out(backend, caplog):
    answers = [
        backend.post('/account', ACCOUNT),
        backend.post('/account', ACCOUNT),
        backend.get(f'/account/{CHATBOT}'),
        backend.post('/account', ACCOUNT | {'max_mps': ''}),
        backend.post('/account', ACCOUNT | {'chatbot_id': 'b'}),
        backend.post(
            '/account', ACCOUNT | {'chatbot_id': 'c', 'phone_number_id': '7', 'responder': HTTP}
        ),
        backend.get('/account/c'),
        backend.post('/account/c/deactivate'),
        backend.post(f'/account/{CHATBOT}/resume'),
    ]
    assert [answer.status_code for answer in answers] == [
        201,
        200,
        200,
        422,
        409,
        201,
        200,
        200,
        200,
    ]
    redis = Redis.from_url(os.environ['REDIS_URL'])
    kept = [redis.dump(key) for key in redis.scan_iter()]
    redis.close()
    seen = (
        ''.join(answer.text + str(answer.headers) for answer in answers) + caplog.text + str(kept)
    )
    for secret in (*SECRETS.values(), OPENAI['api_key'], HTTP['secret']):
        assert secret not in seen
    shown = answers[2].json
    assert all(shown[f'has_{name}'] is True for name in SECRETS)
    assert shown['responder'] == {
        **{k: v for k, v in OPENAI.items() if k != 'api_key'},
        'has_secret': True,
    }


def test_flags_tell_which_secrets_are_there(backend):
    shown = backend.account(responder={'kind': 'none'})
    assert (
        shown['has_access_token'],
        shown['has_app_secret'],
        shown['has_webhook_verify_token'],
    ) == (
        True,
        False,
        False,
    )
    assert shown['responder'] == {'kind': 'none', 'has_secret': False}
    assert backend.account(app_secret='x')['has_app_secret'] is True
    assert backend.account(app_secret=None)['has_app_secret'] is False


def test_secrets_are_stored_encrypted(backend):
    backend.post('/account', ACCOUNT)
    row = stored()
    for name, secret in {**SECRETS, 'responder_secret': OPENAI['api_key']}.items():
        assert secret not in row[name]
        assert Fernet(os.environ['ENCRYPTION_KEYS']).decrypt(row[name]).decode() == secret
    (whole,) = sql('SELECT row_to_json(a)::text FROM whatsapp_cloud_account a')[0]
    assert 'sentinel' not in whole


def test_an_update_changes_what_it_names_and_keeps_the_rest(backend):
    backend.post('/account', ACCOUNT)
    before = stored()
    changed = backend.post('/account', {'chatbot_id': CHATBOT, 'name': 'New name'})
    assert changed.status_code == 200
    assert (changed.json['name'], changed.json['max_mps'], changed.json['on_unknown']) == (
        'New name',
        40,
        'fail',
    )
    assert stored() == before


OPTIONAL = {
    'waba_id': '880011223344557',
    'app_secret': 'x' * 32,
    'webhook_verify_token': 'word',
    'name': 'Acme',
    'max_mps': 5,
    'on_unknown': 'fail',
    'read_receipts': 'typing',
    'opt_out_words': ['basta'],
    'opt_in_words': ['volta'],
    'quiet_seconds': 3.0,
    'reply_ttl_seconds': 60,
    'max_turns_a_day': 7,
    'pause_minutes': 0,
    'fallback_text': 'Later.',
    'monthly_budget': 10.0,
    'responder': {'kind': 'none'},
    'retention': {'events_days': 1, 'text_days': 2, 'media_days': 3},
}


def test_null_brings_the_default_of_every_optional_field_back(backend):
    assert {*OPTIONAL} == {
        name for name, field in AccountSchema().fields.items() if not field.required
    }
    shown = backend.account()
    when = ('created_at', 'updated_at')
    fresh = {name: value for name, value in shown.items() if name not in when}
    for name, value in OPTIONAL.items():
        changed = backend.account(**{name: value})
        assert {one: changed[one] for one in fresh} != fresh, name
        cleared = backend.account(**{name: None})
        assert {one: cleared[one] for one in fresh} == fresh, name
        read = backend.get(f'/account/{CHATBOT}').json
        assert {one: read[one] for one in fresh} == fresh, name


def test_a_new_account_may_name_null_for_every_optional_field(backend):
    nulls = dict.fromkeys(OPTIONAL)
    required = {'phone_number_id': PHONE_NUMBER_ID, 'access_token': 'EAAtoken'}
    made = backend.post('/account', {'chatbot_id': CHATBOT, **required, **nulls})
    assert made.status_code == 201, made.text
    (columns,) = sql(
        'SELECT on_unknown, read_receipts, reply_ttl_seconds, max_turns_a_day, pause_minutes '
        'FROM whatsapp_cloud_account'
    )
    assert tuple(columns) == ('resend', 'none', 300, 200, 720)


def test_a_number_that_belongs_to_another_chatbot_is_409(backend):
    backend.account()
    backend.account('other', '300112233445567')
    taken = {'chatbot_id': 'third', 'phone_number_id': PHONE_NUMBER_ID, 'access_token': 't'}
    assert backend.post('/account', taken).status_code == 409
    answer = backend.post('/account', {'chatbot_id': 'other', 'phone_number_id': PHONE_NUMBER_ID})
    assert answer.status_code == 409
    assert answer.content_type == 'application/problem+json'
    assert backend.get('/account/third').status_code == 404


@pytest.mark.parametrize(
    ('changes', 'field'),
    [
        ({'chatbot_id': ''}, 'chatbot_id'),
        ({'chatbot_id': 'a\x00'}, 'chatbot_id'),
        ({'name': '\ud800'}, 'name'),
        ({'colour': 'red'}, 'colour'),
        ({'max_mps': 0}, 'max_mps'),
        ({'max_mps': '80'}, 'max_mps'),
        ({'max_mps': True}, 'max_mps'),
        ({'on_unknown': 'guess'}, 'on_unknown'),
        ({'access_token': None}, 'access_token'),
        ({'access_token': 'two\nlines'}, 'access_token'),
        ({'access_token': 'tökén€'}, 'access_token'),
        ({'phone_number_id': 5}, 'phone_number_id'),
        ({'phone_number_id': '1/2'}, 'phone_number_id'),
        ({'responder': {}}, 'responder.kind'),
        ({'responder': 'none'}, 'responder'),
        ({'responder': {'kind': 'oracle'}}, 'responder.kind'),
        ({'responder': {'kind': 'none', 'api_key': 'x'}}, 'responder.api_key'),
        ({'responder': OPENAI | {'url': 'https://x.test'}}, 'responder.url'),
        ({'responder': OPENAI | {'colour': 'red'}}, 'responder.colour'),
        ({'responder': OPENAI | {'base_url': 'ftp://x.test'}}, 'responder.base_url'),
        ({'responder': {'kind': 'http'}}, 'responder.url'),
        ({'responder': HTTP | {'secret': 'plain'}}, 'responder.secret'),
        ({'responder': HTTP | {'secret': 'whsec_' + 'A' * 17}}, 'responder.secret'),
    ],
)
def test_what_is_not_valid_is_422_and_named(backend, changes, field):
    refused = backend.post('/account', ACCOUNT | changes)
    assert refused.status_code == 422, refused.text
    assert field in refused.json['errors'], refused.json
    assert sql('SELECT 1 FROM whatsapp_cloud_account') == []


@pytest.mark.parametrize('responder', [OPENAI, HTTP, {'kind': 'none'}, {'kind': 'openai'}, None])
def test_every_kind_of_responder_is_taken(backend, responder):
    assert backend.post('/account', ACCOUNT | {'responder': responder}).status_code == 201


@pytest.mark.parametrize('path', ['/account/nobody', '/account/%00', '/account/%ED%A0%80'])
def test_an_account_that_is_not_there_is_404(backend, path):
    for answer in (
        backend.get(path),
        backend.post(f'{path}/deactivate'),
        backend.post(f'{path}/resume'),
    ):
        assert answer.status_code == 404
        assert answer.content_type == 'application/problem+json'


def test_a_deactivated_account_refuses_sends_and_holds_what_was_queued(backend, workers, stand_in):
    backend.account()
    waiting = backend.send()
    assert backend.post(f'/account/{CHATBOT}/deactivate').json['active'] is False
    refused = backend.post(
        '/send', {'chatbot_id': CHATBOT, 'to': '+12025550143', 'text': {'body': 'x'}}
    )
    assert refused.status_code == 400
    workers.send()
    assert stand_in.sends() == []
    assert backend.message(waiting['id'])['status'] == 'held'
    backend.account()
    workers.send()
    assert backend.message(waiting['id'])['status'] == 'accepted'


def test_a_resume_of_a_deactivated_account_sends_nothing(backend, workers, stand_in):
    backend.account()
    waiting = backend.send()
    backend.post(f'/account/{CHATBOT}/deactivate')
    backend.post(f'/account/{CHATBOT}/resume')
    workers.send()
    assert backend.message(waiting['id'])['status'] == 'held'
    assert stand_in.sends() == []


def flask(command, **environ):
    done = subprocess.run(
        [Path(sys.executable).parent / 'flask', command],
        cwd=ROOT,
        env=os.environ | environ,
        capture_output=True,
        text=True,
    )
    return done.returncode, done.stdout + done.stderr


def test_rotate_keys_encrypts_everything_with_the_first_key(backend, setting):
    backend.post('/account', ACCOUNT)
    backend.account('plain', '7')
    for key in (b'the former secret', b'the new secret'):
        secret = 'whsec_' + base64.b64encode(key).decode()
        responder = {'kind': 'http', 'url': 'https://e.example', 'secret': secret}
        backend.account('service', '8', responder=responder)
    endpoint = backend.post('/endpoints', {'url': 'https://e.example'}).json
    backend.post(f'/endpoints/{endpoint["id"]}/rotate-secret')
    old, new = os.environ['ENCRYPTION_KEYS'], Fernet.generate_key().decode()
    code, output = flask('rotate-keys', ENCRYPTION_KEYS=f'{new},{old}')
    assert (code, '3 accounts and 1 endpoints' in output) == (0, True), output
    tokens = sql(
        'SELECT unnest(ARRAY[access_token, app_secret, responder_secret, former_responder_secret]) '
        'FROM whatsapp_cloud_account '
        'UNION ALL SELECT unnest(ARRAY[secret, former_secret]) FROM endpoint'
    )
    assert len([Fernet(new).decrypt(token) for (token,) in tokens if token]) == 9
    setting('ENCRYPTION_KEYS', new)
    with connection():
        assert encryption.decrypt(Account.find(CHATBOT).app_secret) == SECRETS['app_secret']
    code, output = flask('rotate-keys', ENCRYPTION_KEYS=new)
    assert code == 0, output


def test_rotate_keys_without_the_old_key_changes_nothing_and_says_so(backend):
    backend.post('/account', ACCOUNT)
    before = stored()
    code, output = flask('rotate-keys', ENCRYPTION_KEYS=Fernet.generate_key().decode())
    assert code != 0
    assert 'Traceback' not in output
    assert 'ENCRYPTION_KEYS' in output
    assert stored() == before


def test_usage_counts_what_was_received_and_accepted_by_day_and_category(
    backend, meta, workers, stand_in
):
    backend.account()
    for number in range(3):
        backend.send(f'+1202555014{number}')
    backend.send('+19991310261')  # Meta refuses it: nothing to bill
    workers.send()
    meta.webhook(envelope(messages=[text_message()]))
    wamid = next(one['wamid'] for one in backend.messages(status='accepted'))
    pricing = {'billable': True, 'pricing_model': 'PMP', 'category': 'utility'}
    meta.webhook(envelope(statuses=[status_of(wamid, 'sent', pricing=pricing)]))
    workers.incoming()
    ((today,),) = sql("SELECT to_char(now() AT TIME ZONE 'UTC', 'YYYY-MM-DD')")
    answer = backend.get('/usage', query_string={'chatbot_id': CHATBOT})
    assert answer.status_code == 200
    rest = {'billed': 0, 'unpriced': 0, 'cost': 0, 'currency': 'USD'}
    assert sorted(answer.json['data'], key=json.dumps) == [
        {'day': today, 'direction': 'inbound', 'category': None, 'count': 1, **rest},
        {'day': today, 'direction': 'outbound', 'category': 'utility', 'count': 1, **rest},
        {'day': today, 'direction': 'outbound', 'category': None, 'count': 2, **rest},
    ]


def test_usage_takes_from_and_to_as_inclusive_utc_days(backend):
    backend.account()
    for at in (
        '2026-11-01T00:00:00Z',
        '2026-11-01T23:59:59.999Z',
        '2026-11-02T00:00:00Z',
        '2026-11-03T12:00:00+14:00',
    ):
        sent = backend.send()
        columns = 'message_id, chatbot_id, direction, type, at'
        sql(
            f"INSERT INTO usage_log ({columns}) VALUES (%s, 'acme', 'outbound', 'text', %s)",
            sent['id'],
            at,
        )

    def days(**query):
        data = backend.get('/usage', query_string={'chatbot_id': CHATBOT, **query}).json['data']
        return {row['day']: row['count'] for row in data}

    assert days() == {'2026-11-01': 2, '2026-11-02': 2}
    assert days(**{'from': '2026-11-01', 'to': '2026-11-01'}) == {'2026-11-01': 2}
    assert days(**{'from': '2026-11-02'}) == {'2026-11-02': 2}
    assert days(to='2026-11-01') == {'2026-11-01': 2}
    assert days(**{'from': '2026-11-03'}) == {}


@pytest.mark.parametrize(
    ('query', 'field'),
    [
        ('chatbot_id=acme&from=yesterday', 'from'),
        ('chatbot_id=acme&to=2026-13-01', 'to'),
        ('', 'chatbot_id'),
        ('chatbot_id=acme&to=%00', 'to'),
        ('chatbot_id=acme&from=2026-11-01T00:00:00', 'from'),
    ],
)
def test_a_usage_query_that_is_not_valid_is_422_and_named(backend, query, field):
    backend.account()
    answer = backend.get(f'/usage?{query}')
    assert answer.status_code == 422
    assert field in answer.json['errors']
    assert backend.get('/usage?chatbot_id=nobody').status_code == 404


def test_a_new_token_sends_what_the_old_one_held(backend, workers, stand_in):
    backend.account(access_token='EXPIRED')
    sent = backend.send(f'+{CUSTOMER}')
    workers.send()
    assert backend.message(sent['id'])['status'] == 'held'
    assert backend.account(access_token='fresh')['send_state'] == 'ok'
    workers.send()
    message = backend.message(sent['id'])
    assert (message['status'], message['error'], message['attempts']) == ('accepted', None, 1)
