"""Each fault makes its own check warn or fail, with a fix, and no other."""

import json
import time
from datetime import date
from types import SimpleNamespace

import pytest
from cryptography.fernet import Fernet

from service.doctor import database, environment, graph_version
from service.runtime import db, queues
from service.runtime.config import settings
from service.sending import rate_limit
from tests.doctor.conftest import WABA
from tests.people import sql
from tests.stack import PHONE_NUMBER_ID, free_port

DAY = 86400  # seconds
ALL = {
    'environment', 'database', 'clock_skew', 'schema', 'connections', 'workers', 'due_work',
    'redis', 'media_storage', 'graph_version', 'account', 'brakes', 'responder', 'webhook_seen',
    'meta', 'token', 'token_scopes', 'token_expiry', 'number', 'number_verified', 'display_name',
    'quality', 'messaging_limit', 'messaging_health', 'callback', 'subscribed', 'app_secret',
    'webhook_fields',
}  # fmt: skip
ELSEWHERE = 'https://elsewhere.example/hook'
HELD = json.dumps({'code': 131042, 'title': 'Business eligibility payment issue'})
BLOCKED = {
    'can_send_message': 'BLOCKED',
    'entities': [
        {
            'entity_type': 'BUSINESS',
            'errors': [
                {
                    'error_code': 141006,
                    'error_description': 'There is an error with the payment method.',
                    'possible_solution': 'Add a payment method.',
                }
            ],
        }
    ],
}
LIMITED = {
    'can_send_message': 'LIMITED',
    'entities': [{'entity_type': 'WABA', 'additional_info': ['Not verified yet.']}],
}


def test_an_account_that_is_as_it_should_be_is_all_green(healthy):
    found = healthy.find()
    assert found.keys() == ALL
    assert [check for check in found.values() if check['result'] != 'ok'] == []
    assert {check['fix'] for check in found.values()} == {None}


def by_meta(**config):
    return lambda healthy: healthy.stand_in.config(**config)


def by_number(**facts):
    return by_meta(number_facts=facts)


def by_token(**facts):
    return by_meta(token_facts=facts)


def by_sql(*statements):
    def change(healthy):
        for statement in statements:
            sql(statement)

    return change


def by_account(**changes):
    return lambda healthy: healthy.backend.account(**changes)


def expiring(seconds):
    return lambda healthy: healthy.stand_in.config(
        token_facts={'expires_at': int(time.time()) + seconds}
    )


def without_field(name):
    def change(healthy):
        fields = healthy.stand_in.get('/config')['webhook_fields']
        healthy.stand_in.config(webhook_fields=[field for field in fields if field != name])

    return change


def brake(healthy):
    number, *_ = rate_limit.scope_keys(PHONE_NUMBER_ID, WABA, None)
    queues.client().hset(number, mapping={'until': time.time() + 60})


def unheard(healthy):
    message = healthy.backend.send()
    sql("UPDATE message SET created_at = now() - interval '1 hour' WHERE direction = 'inbound'")
    sql(
        "UPDATE message SET status = 'accepted', wamid = 'wamid.X', waiting = NULL, due_at = NULL,"
        " updated_at = now() - interval '20 minutes' WHERE id = %s",
        message['id'],
    )


LATE = """
INSERT INTO webhook_event (id, size, body, digest, due_at)
VALUES (gen_random_uuid(), 2, '{}', '\\x00', now() - interval '%s seconds')
"""
AWAY = """
INSERT INTO graph_outage
  (scope, phone_number_id, failures, error, since, failed_at, away_since, probe_at)
VALUES ('number:%s', '%s', 10, '{"code": 131016, "title": "Service overloaded"}', now(), now(),
  now(), now())
"""
SET_ACCOUNT = 'UPDATE whatsapp_cloud_account SET '
FAULTS = [
    ('due_work', 'warn', by_sql(LATE % 100)),
    ('due_work', 'fail', by_sql(LATE % 400)),
    ('workers', 'fail', by_sql("DELETE FROM process WHERE kind = 'send'")),
    ('workers', 'fail', by_sql("UPDATE process SET seen_at = now() - interval '1 minute'")),
    ('account', 'warn', lambda healthy: healthy.backend.post('/account/acme/deactivate')),
    ('account', 'fail', by_sql(f"{SET_ACCOUNT} send_state = 'held', send_state_reason = '{HELD}'")),
    ('account', 'fail', by_sql(AWAY % (PHONE_NUMBER_ID, PHONE_NUMBER_ID))),
    ('brakes', 'warn', brake),
    ('responder', 'fail', by_sql(f"{SET_ACCOUNT} responder_state = 'misconfigured'")),
    ('webhook_seen', 'warn', by_sql("UPDATE message SET created_at = now() - interval '8 days'")),
    ('webhook_seen', 'fail', unheard),
    ('token', 'fail', by_meta(tokens=['another'])),
    ('token', 'fail', by_token(is_valid=False, error={'message': 'The session was invalidated'})),
    ('token_scopes', 'fail', by_token(scopes=['whatsapp_business_messaging'])),
    ('token_scopes', 'fail', by_token(granular_scopes=[
        {'scope': 'whatsapp_business_management', 'target_ids': ['880011223300000']}])),
    ('token_expiry', 'warn', expiring(5 * DAY)),
    ('token_expiry', 'fail', expiring(-DAY)),
    ('number', 'fail', by_number(status='DISCONNECTED')),
    ('number', 'warn', by_number(status='FLAGGED')),
    ('number', 'fail', by_number(platform_type='NOT_APPLICABLE', status='PENDING')),
    ('number_verified', 'warn', by_number(code_verification_status='NOT_VERIFIED')),
    ('display_name', 'warn', by_number(name_status='PENDING_REVIEW')),
    ('display_name', 'fail', by_number(name_status='DECLINED')),
    ('quality', 'warn', by_number(quality_rating='YELLOW')),
    ('quality', 'fail', by_number(quality_rating='RED')),
    ('messaging_limit', 'warn', by_number(whatsapp_business_manager_messaging_limit='TIER_250')),
    ('messaging_health', 'fail', by_number(health_status=BLOCKED)),
    ('messaging_health', 'warn', by_number(health_status=LIMITED)),
    ('callback', 'fail', by_meta(webhook_url=ELSEWHERE)),
    ('callback', 'fail', by_number(webhook_configuration={})),
    ('callback', 'fail', by_number(webhook_configuration={
        'whatsapp_business_account': ELSEWHERE,
        'application': 'https://gateway.example/whatsapp-cloud/webhook'})),
    ('callback', 'warn', by_meta(unknown_fields=['webhook_configuration'])),
    ('subscribed', 'fail', by_meta(subscribed_apps=[])),
    ('subscribed', 'fail', by_meta(subscribed_apps=['11223344'])),
    ('subscribed', 'warn', by_account(waba_id=None)),
    ('app_secret', 'fail', by_meta(app_secret='another')),
    ('webhook_fields', 'fail', without_field('messages')),
    ('webhook_fields', 'warn', without_field('user_preferences')),
    ('webhook_fields', 'fail', by_meta(webhook_fields=[])),
]  # fmt: skip


@pytest.mark.parametrize(('check', 'result', 'switch_on'), FAULTS)
def test_a_fault_is_seen_by_its_own_check_with_a_fix(healthy, check, result, switch_on):
    switch_on(healthy)
    expect(healthy, check, result)


def expect(healthy, check, result):
    found = healthy.find()
    wrong = {name: one['result'] for name, one in found.items() if one['result'] != 'ok'}
    assert wrong == {check: result}, found[check]
    assert found[check]['detail'].endswith('.')
    assert found[check]['fix']


SETTINGS = [
    ('environment', 'warn', 'WHATSAPP_VERIFY_TOKEN', ''),
    ('environment', 'fail', 'SEND_RATE', 'many'),
    ('connections', 'warn', 'WEB_CONCURRENCY', 256),
    ('media_storage', 'fail', 'MEDIA_URL', 'file:///proc/nowhere'),
    ('graph_version', 'fail', 'GRAPH_API_VERSION', 'v20.0'),
    ('meta', 'fail', 'GRAPH_API_URL', f'http://127.0.0.1:{free_port()}'),
    ('token', 'fail', 'ENCRYPTION_KEYS', Fernet.generate_key().decode()),
    ('responder', 'warn', 'AI_BASE_URL', ''),
]


# Ids without the values: each worker of the suite draws keys and ports of its own.
@pytest.mark.parametrize(
    ('check', 'result', 'name', 'value'), SETTINGS, ids=[f'{one[0]}-{one[2]}' for one in SETTINGS]
)
def test_a_wrong_setting_is_seen_by_its_own_check(healthy, setting, check, result, name, value):
    if check == 'responder':
        healthy.backend.account(responder=None)
    setting(name, value)
    expect(healthy, check, result)


def test_behind_a_pooler_its_pool_is_what_counts(healthy, setting):
    setting('DATABASE_PREPARE', 'no')
    setting('WEB_CONCURRENCY', 256)
    db.db.close_idle()  # the next connections find out anew
    check = healthy.find()['connections']
    db.db.close_idle()
    assert (check['result'], check['detail'].partition(' ')[2][:6]) == ('ok', 'pooler')


def test_redis_away_is_seen_and_the_brakes_in_it_are_left_out(healthy, no_redis):
    expect(healthy, 'redis', 'fail')
    assert 'brakes' not in healthy.find()


def test_a_redis_that_may_forget_is_seen(healthy):
    redis = queues.client()
    redis.config_set('maxmemory', '100mb')
    redis.config_set('maxmemory-policy', 'allkeys-lru')
    try:
        expect(healthy, 'redis', 'warn')
    finally:
        redis.config_set('maxmemory', 0)
        redis.config_set('maxmemory-policy', 'noeviction')


@pytest.mark.parametrize(('seconds', 'result'), [(5, 'warn'), (-90, 'fail')])
def test_clocks_that_differ_are_seen(healthy, monkeypatch, seconds, result):
    ahead = SimpleNamespace(time=lambda: time.time() + seconds)
    monkeypatch.setattr(database, 'time', ahead)
    expect(healthy, 'clock_skew', result)


def test_an_old_schema_is_seen_and_nothing_is_asked_of_its_tables(healthy):
    ((version,),) = sql('SELECT max(version) FROM schema_version')
    sql('UPDATE schema_version SET version = -1 WHERE version = %s', version)
    try:
        expect(healthy, 'schema', 'fail')
        assert 'workers' not in healthy.find()
    finally:
        sql('UPDATE schema_version SET version = %s WHERE version = -1', version)


def test_without_a_chatbot_the_accounts_in_trouble_are_named(healthy):
    assert healthy.find(None)['accounts']['result'] == 'ok'
    for number in range(7):
        healthy.backend.account(f'shop-{number}', f'30015550000{number}')
    sql(f"{SET_ACCOUNT} send_state = 'held' WHERE chatbot_id LIKE 'shop-%%'")
    check = healthy.find(None)['accounts']
    assert check['result'] == 'warn'
    assert 'shop-0, shop-1, shop-2, shop-3, shop-4 and 2 more.' in check['detail']
    assert check['fix'] == 'Look at each: flask doctor shop-0'


def test_an_unknown_chatbot_is_told_of(healthy):
    found = healthy.find('nobody')
    assert (found['account']['result'], found['account']['detail']) == (
        'fail',
        'There is no chatbot "nobody".',
    )
    assert found.keys() & {'meta', 'token'} == set()


def test_an_account_with_an_app_of_its_own_has_its_own_path_and_secret(healthy):
    healthy.backend.account(app_secret='own-secret', webhook_verify_token='own-word')
    url = f'https://gateway.example/whatsapp-cloud/webhook/{"acme"}'
    healthy.stand_in.config(app_secret='own-secret')
    expect(healthy, 'callback', 'fail')  # the shared path does not serve it
    healthy.stand_in.config(webhook_url=url)
    assert healthy.find()['callback']['result'] == 'ok'


def test_no_secret_is_told(healthy):
    told = json.dumps(healthy.find())
    for secret in ('token-of-acme', *settings.WHATSAPP_APP_SECRET, *settings.API_KEYS):
        assert secret not in told


def test_an_environment_without_webs_secrets_is_warned_of_and_their_check_is_unseen(
    healthy, setting
):
    setting('WHATSAPP_APP_SECRET', '')
    found = healthy.find()
    wrong = {name: one['result'] for name, one in found.items() if one['result'] != 'ok'}
    assert wrong == {'environment': 'warn', 'webhook_fields': 'warn'}
    assert 'app_secret' not in found


def test_what_is_for_development_is_warned_of_when_the_real_meta_is_asked(setting):
    setting('GRAPH_API_URL', 'https://graph.facebook.com')
    (check,) = environment.look()
    assert (check['result'], check['detail'].partition('=')[0]) == ('warn', 'ALLOW_PRIVATE_URLS')
    setting('ALLOW_PRIVATE_URLS', 'no')
    (check,) = environment.look()
    assert check == {
        'check': 'environment',
        'result': 'ok',
        'detail': 'All variables are well formed.',
        'fix': None,
    }


@pytest.mark.parametrize(
    ('version', 'day', 'result'),
    [
        ('v26.0', date(2026, 11, 28), 'ok'),
        ('v27.1', date(2026, 11, 28), 'ok'),
        ('v25.0', date(2026, 11, 28), 'ok'),
        ('v21.0', date(2026, 11, 28), 'warn'),
        ('v21.0', date(2027, 1, 21), 'fail'),
        ('v9.0', date(2026, 11, 28), 'fail'),
    ],
)
def test_the_end_of_a_version_of_the_graph_api_is_known(version, day, result):
    assert graph_version.judge(version, day)['result'] == result
