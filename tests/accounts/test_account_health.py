"""What Meta's account webhooks say: the latest of each field and its history, of the account that
it is about.
"""

import json

import pytest

from tests.people import CHATBOT, CUSTOMER, contact, envelope, sql, status_of, text_message
from tests.stack import PHONE_NUMBER_ID

WABA, DISPLAY = '880011223344556', '15550104477'
AT, LATER, NEVER = 1790000000, 1790000060, 4_000_000_000  # in the year 2096
ALERT = {
    'entity_type': 'PHONE_NUMBER',
    'entity_id': PHONE_NUMBER_ID,
    'alert_severity': 'CRITICAL',
    'alert_status': 'ACTIVE',
    'alert_type': 'OBA_REJECTED',
    'alert_description': 'The blue tick was refused.',
}
NESTED = {
    'entity_type': 'WABA',
    'entity_id': WABA,
    'alert_info': {
        'alert_severity': 'WARNING',
        'alert_status': 'NONE',
        'alert_type': 'LIMIT',
        'alert_description': 'Odd.',
    },
}
RESTRICTION = {
    'event': 'ACCOUNT_RESTRICTION',
    'restriction_info': [
        {'restriction_type': 'RESTRICTED_BIZ_INITIATED_MESSAGING', 'expiration': NEVER}
    ],
}


def told(field, value, at=AT, waba=WABA):
    entry = {'id': waba, 'time': at, 'changes': [{'field': field, 'value': value}]}
    return {'object': 'whatsapp_business_account', 'entry': [entry]}


@pytest.fixture
def tell(meta, workers):
    def post(field, value, *, path='', secret=None, **where):
        more = {'secret': secret} if secret else {}
        assert meta.webhook(told(field, value, **where), path, **more).status_code == 200
        workers.incoming()

    return post


@pytest.fixture
def acme(backend):
    backend.account(waba_id=WABA)
    return backend


def account(backend, chatbot_id=CHATBOT):
    return backend.get(f'/account/{chatbot_id}').json


def facts(backend):
    return {fact['fact']: fact['text'] for fact in account(backend)['health_facts']}


def history(backend, chatbot_id=CHATBOT, **query):
    answer = backend.get(f'/account/{chatbot_id}/health', query_string=query)
    assert answer.status_code == 200, answer.text
    return answer.json


EVENTS = [
    (
        'account_alerts',
        ALERT,
        'OBA_REJECTED',
        "Critical alert of Meta's: The blue tick was refused.",
    ),
    ('account_alerts', NESTED, 'LIMIT', "Warning alert of Meta's, now over: Odd."),
    (
        'account_review_update',
        {'decision': 'REJECTED'},
        'REJECTED',
        'Meta has rejected the WhatsApp Business account: it may not send.',
    ),
    (
        'account_settings_update',
        {'type': 'phone_number_settings', 'phone_number_settings': {}},
        'phone_number_settings',
        'Settings were changed: phone number settings.',
    ),
    (
        'account_update',
        RESTRICTION,
        'ACCOUNT_RESTRICTION',
        'No conversation can be started by the business, until 2096-10-02 07:06 UTC.',
    ),
    (
        'account_update',
        {'event': 'ACCOUNT_RESTRICTION', 'restriction_info': [{'restriction_type': 'NEW_ONE'}]},
        'ACCOUNT_RESTRICTION',
        'Restricted (new one), with no end named.',
    ),
    (
        'account_update',
        {'event': 'ACCOUNT_VIOLATION', 'violation_info': {'violation_type': 'ADULT_CONTENT'}},
        'ACCOUNT_VIOLATION',
        'The WhatsApp Business account broke a policy: adult content.',
    ),
    (
        'account_update',
        {
            'event': 'DISABLED_UPDATE',
            'ban_info': {
                'waba_ban_state': 'SCHEDULE_FOR_DISABLE',
                'waba_ban_date': 'December 1, 2026',
            },
        },
        'DISABLED_UPDATE',
        'Meta is going to disable the WhatsApp Business account (December 1, 2026).',
    ),
    (
        'account_update',
        {'event': 'ACCOUNT_DELETED'},
        'ACCOUNT_DELETED',
        'The WhatsApp Business account was deleted.',
    ),
    (
        'account_update',
        {'event': 'PARTNER_ADDED', 'waba_info': {'waba_id': WABA}},
        'PARTNER_ADDED',
        'Partner added.',
    ),
    (
        'business_capability_update',
        {'max_daily_conversations_per_business': 'TIER_2K', 'max_phone_numbers_per_business': 25},
        None,
        'Up to 2,000 people may be written to first within 24 hours. Up to 25 phone numbers may '
        'be added.',
    ),
    (
        'business_capability_update',
        {'max_daily_conversations_per_business': 100000},
        None,
        'Up to 100,000 people may be written to first within 24 hours.',
    ),
    (
        'business_capability_update',
        {'max_daily_conversation_per_phone': -1},
        None,
        'Any number of people may be written to first within 24 hours.',
    ),
    (
        'business_username_updates',
        {'display_phone_number': DISPLAY, 'username': 'acme', 'status': 'approved'},
        'approved',
        'The username acme of the business is approved.',
    ),
    (
        'flows',
        {
            'event': 'FLOW_STATUS_CHANGE',
            'flow_id': '7',
            'message': 'Flow 7 changed from DRAFT to PUBLISHED',
        },
        'FLOW_STATUS_CHANGE',
        'Flow 7 changed from DRAFT to PUBLISHED',
    ),
    (
        'partner_solutions',
        {'event': 'SOLUTION_UPDATED', 'solution_id': '9', 'solution_status': 'ACTIVE'},
        'SOLUTION_UPDATED',
        'The partner solution 9 is: active.',
    ),
    (
        'payment_configuration_update',
        {'configuration_name': 'upi', 'provider_name': 'x', 'status': 'Needs Testing'},
        'Needs Testing',
        'The payment configuration upi is: needs testing.',
    ),
    (
        'phone_number_name_update',
        {
            'display_phone_number': DISPLAY,
            'decision': 'REJECTED',
            'requested_verified_name': 'Acme',
            'rejection_reason': 'NAME_FORMAT',
        },
        'REJECTED',
        'The display name Acme is rejected (name format).',
    ),
    (
        'phone_number_quality_update',
        {'display_phone_number': DISPLAY, 'event': 'FLAGGED', 'current_limit': 'TIER_10K'},
        'FLAGGED',
        'The quality of the number is low: its limit may be lowered. '
        'Up to 10,000 people may be written to first within 24 hours.',
    ),
    (
        'phone_number_quality_update',
        {
            'display_phone_number': DISPLAY,
            'event': 'THROUGHPUT_UPGRADE',
            'current_limit': 'TIER_UNLIMITED',
        },
        'THROUGHPUT_UPGRADE',
        'The number may send faster now: its throughput was raised.',
    ),
    (
        'security',
        {'display_phone_number': DISPLAY, 'event': 'PIN_CHANGED', 'requester': '1'},
        'PIN_CHANGED',
        'The two-step PIN of the number was changed.',
    ),
]


@pytest.mark.parametrize(('field', 'value', 'event', 'summary'), EVENTS)
def test_each_field_is_kept_whole_and_said_in_a_sentence(acme, tell, field, value, event, summary):
    tell(field, value)
    shown = {
        'event': event,
        'at': '2026-09-21T14:13:20.000000Z',
        'value': value,
        'summary': summary,
    }
    assert account(acme)['health'] == {field: shown}
    (kept,) = history(acme)['data']
    assert kept | {'field': field, **shown} == kept
    assert acme.outcomes() == [('change', 'stored')]


def test_the_latest_of_each_field_is_shown_by_metas_time(acme, tell):
    tell('account_review_update', {'decision': 'APPROVED'}, at=LATER)
    tell('account_review_update', {'decision': 'PENDING'}, at=AT)  # late
    tell('account_update', {'event': 'PARTNER_ADDED'}, at=AT)
    health = account(acme)['health']
    assert {field: one['event'] for field, one in health.items()} == {
        'account_review_update': 'APPROVED',
        'account_update': 'PARTNER_ADDED',
    }
    reviews = history(acme, field='account_review_update')['data']
    assert [one['event'] for one in reviews] == ['APPROVED', 'PENDING']


def test_a_repeated_webhook_is_kept_once_also_in_another_post(acme, tell, meta, workers):
    tell('account_update', RESTRICTION)
    body = told('account_update', RESTRICTION)
    body['entry'] += told('security', {'event': 'PIN_CHANGED'})['entry']
    meta.webhook(body)
    workers.incoming()
    assert acme.outcomes() == [('change', 'duplicate'), ('change', 'stored'), ('change', 'stored')]
    tell('account_update', RESTRICTION, at=LATER)  # the same words, said again
    assert [one['field'] for one in history(acme)['data']] == [
        'account_update',
        'security',
        'account_update',
    ]


def test_history_comes_in_pages_the_newest_first(acme, tell):
    for at in (AT + 2, AT, AT + 1, AT):  # two of one second
        tell('security', {'event': f'PIN_{at}', 'n': len(history(acme)['data'])}, at=at)
    seen, cursor = [], None
    while True:
        page = history(acme, limit=1, **({'cursor': cursor} if cursor else {}))
        seen += [one['value']['n'] for one in page['data']]
        if not (cursor := page['next_cursor']):
            break
    assert seen == [0, 2, 3, 1]
    assert history(acme, field='flows') == {'data': [], 'next_cursor': None}


@pytest.mark.parametrize(
    ('query', 'field'),
    [({'field': 'messages'}, 'field'), ({'limit': 0}, 'limit'), ({'cursor': 'x'}, 'cursor')],
)
def test_a_wrong_question_about_history_is_422(acme, query, field):
    answer = acme.get(f'/account/{CHATBOT}/health', query_string=query)
    assert (answer.status_code, list(answer.json['errors'])) == (422, [field])
    assert acme.get('/account/nobody/health').status_code == 404


def test_what_holds_now_is_said_beside_the_latest_events(acme, tell):
    for at, event, limit in (
        (1, 'ONBOARDING', 'TIER_250'),
        (2, 'FLAGGED', None),
        (3, 'UPGRADE', 'TIER_2K'),
    ):
        value = {
            'display_phone_number': DISPLAY,
            'event': event,
            **({'current_limit': limit} if limit else {}),
        }
        tell('phone_number_quality_update', value, at=AT + at)
    tell('account_update', RESTRICTION)
    tell('account_update', {'event': 'PARTNER_ADDED'}, at=LATER)  # does not lift the restriction
    tell('account_alerts', ALERT)
    assert facts(acme) == {
        'limit': 'Up to 2,000 people may be written to first within 24 hours.',
        'quality': 'The quality of the number is low: its limit may be lowered.',
        'restriction': 'No conversation can be started by the business, until 2096-10-02 07:06 '
        'UTC.',
        'alert': "Critical alert of Meta's: The blue tick was refused.",
    }
    (restriction,) = [one for one in account(acme)['health_facts'] if one['fact'] == 'restriction']
    assert restriction['until'] == '2096-10-02T07:06:40.000000Z'


@pytest.mark.parametrize(
    ('field', 'end'),
    [
        (
            'account_update',
            {
                'event': 'ACCOUNT_RESTRICTION',
                'restriction_info': [{**RESTRICTION['restriction_info'][0], 'expiration': LATER}],
            },
        ),
        ('account_update', {'event': 'ACCOUNT_RESTRICTION', 'restriction_info': []}),
        ('account_alerts', {**ALERT, 'alert_status': 'NONE'}),
    ],
    ids=['expired', 'lifted', 'alert over'],
)
def test_what_is_over_is_no_fact_any_more(acme, tell, field, end):
    tell(field, RESTRICTION if field == 'account_update' else ALERT)
    assert facts(acme)
    tell(field, end, at=LATER)
    assert facts(acme) == {}


@pytest.fixture
def two_numbers(acme, meta, workers):
    """Two accounts of one WABA; of acme's the number is known as people see it."""
    acme.account('beta', '300112233445567', waba_id=WABA)
    meta.webhook(envelope([text_message()], contacts=[contact()]))
    workers.incoming()
    return acme


@pytest.mark.parametrize(
    ('field', 'value'),
    [
        ('security', {'display_phone_number': '+1 555-010-4477', 'event': 'PIN_CHANGED'}),
        (
            'account_settings_update',
            {'phone_number_settings': {'phone_number_id': PHONE_NUMBER_ID}},
        ),
        ('account_alerts', ALERT),
    ],
)
def test_what_is_about_one_number_is_that_accounts_alone(two_numbers, tell, field, value):
    sql(
        "UPDATE whatsapp_cloud_account SET display_phone_number = '15550104478' WHERE chatbot_id "
        "= 'beta'"
    )
    tell(field, value)
    assert list(account(two_numbers)['health']) == [field]
    assert (account(two_numbers, 'beta')['health'], history(two_numbers, 'beta')['data']) == (
        {},
        [],
    )


def test_an_account_whose_display_number_is_not_known_sees_its_whole_waba(two_numbers, tell):
    tell('security', {'display_phone_number': '15550104478', 'event': 'PIN_CHANGED'})
    assert account(two_numbers)['health'] == {}
    assert list(account(two_numbers, 'beta')['health']) == ['security']


def test_another_waba_and_no_waba_tell_nothing_of_an_account(acme, tell):
    tell('account_review_update', {'decision': 'REJECTED'}, waba='1')
    acme.account('lone', '7')
    assert account(acme)['health'] == account(acme, 'lone')['health'] == {}
    assert history(acme, 'lone')['data'] == []


def test_an_app_of_its_own_may_speak_of_its_own_waba_only(acme, tell):
    acme.account('own', '300112233445567', waba_id='1', app_secret='own-secret')
    for waba, outcome in ((WABA, 'refused'), ('1', 'stored')):
        tell(
            'account_review_update',
            {'decision': 'REJECTED'},
            waba=waba,
            path='/own',
            secret='own-secret',
        )
        assert acme.outcomes()[0] == ('change', outcome)
    assert account(acme)['health'] == {}
    assert list(account(acme, 'own')['health']) == ['account_review_update']


@pytest.mark.parametrize(
    ('value', 'outcome'),
    [
        (None, 'invalid'),
        ([], 'invalid'),
        ({'event': json.loads('[' * 600 + ']' * 600)}, 'invalid'),
        ({}, 'stored'),
        ({'event': 'a\x00\ud800', 'ban_info': 5, 'restriction_info': [None, 3]}, 'stored'),
        ({'event': ['x'], 'display_phone_number': {}, 'decision': 'y' * 500}, 'stored'),
    ],
)
@pytest.mark.parametrize(
    'field', ['account_update', 'account_alerts', 'phone_number_quality_update']
)
def test_an_odd_value_costs_nobody_anything(acme, meta, workers, field, value, outcome):
    body = told(field, value, at={'odd': 1})
    body['entry'] += told('security', {'event': 'PIN_CHANGED'})['entry']
    meta.webhook(body)
    workers.incoming()
    assert acme.outcomes() == [('change', outcome), ('change', 'stored')]
    shown = account(acme)['health']
    assert 'security' in shown
    if outcome == 'stored':
        assert shown[field]['value'] == value and shown[field]['summary']  # noqa: PT018


def test_without_a_waba_id_nobody_knows_of_whom_it_speaks(acme, tell):
    tell('account_update', RESTRICTION, waba=None)
    assert acme.outcomes() == [('change', 'invalid')]


def test_an_account_learns_its_display_number_and_its_waba(backend, meta, workers):
    assert backend.account()['waba_id'] is None
    meta.webhook(envelope(statuses=[status_of('wamid.A', 'sent')]))
    workers.incoming()
    assert account(backend) | {'display_phone_number': DISPLAY, 'waba_id': WABA} == account(backend)
    assert sql('SELECT waba_id FROM template_sync WHERE due_at <= now()') == [(WABA,)]


def test_what_the_platform_said_of_its_waba_is_not_overruled(backend, meta, workers):
    backend.account(waba_id='77')
    meta.webhook(envelope([text_message()], contacts=[contact()]))
    workers.incoming()
    assert (account(backend)['waba_id'], account(backend)['display_phone_number']) == (
        '77',
        DISPLAY,
    )


def test_another_number_of_the_account_has_another_display_number(two_numbers):
    assert two_numbers.account(name='Acme')['display_phone_number'] == DISPLAY
    assert two_numbers.account(phone_number_id='9')['display_phone_number'] is None


def test_an_app_of_its_own_teaches_no_waba(backend, meta, workers):
    backend.account(app_secret='own-secret')
    meta.webhook(envelope([text_message()], contacts=[contact()]), f'/{CHATBOT}', 'own-secret')
    workers.incoming()
    assert (account(backend)['waba_id'], account(backend)['display_phone_number']) == (
        None,
        DISPLAY,
    )


def test_the_log_names_field_and_event_and_no_more(acme, tell, caplog):
    tell(
        'security',
        {
            'display_phone_number': DISPLAY,
            'event': 'PIN_CHANGED',
            'requester': CUSTOMER,
            'pin': '987654',
        },
    )
    assert 'PIN_CHANGED' in str([record.__dict__ for record in caplog.records])
    assert not {'987654', CUSTOMER, DISPLAY} & set(
        str([record.__dict__ for record in caplog.records]).split("'")
    )
