"""What an account's ids and secrets may be: trimmed where they were pasted, refused where they
could not be used.
"""

import pytest

from service.runtime import encryption
from tests.accounts.test_accounts import ACCOUNT, OPENAI, SECRETS, stored
from tests.people import sql
from tests.stack import PHONE_NUMBER_ID


@pytest.mark.parametrize('around', ['\n', '\r\n', ' ', '\t', '\u00a0', '\u2028'])
def test_what_surrounds_a_pasted_secret_or_id_is_dropped(backend, meta, around):
    """A line end at the end of a secret made every webhook a 400, for hours, in the field."""
    pasted = {
        name: f'{around}{ACCOUNT[name]}{around}'
        for name in ('phone_number_id', 'waba_id', *SECRETS)
    }
    responder = {
        name: value if name in ('kind', 'system_prompt') else f'{value}{around}'
        for name, value in OPENAI.items()
    }
    made = backend.post('/account', ACCOUNT | pasted | {'responder': responder})
    assert made.status_code == 201, made.text
    assert (made.json['phone_number_id'], made.json['waba_id']) == (PHONE_NUMBER_ID, '880')
    assert (
        made.json['responder'] | {'base_url': OPENAI['base_url'], 'model': OPENAI['model']}
        == made.json['responder']
    )
    kept = {name: encryption.decrypt(value) for name, value in stored().items()}
    assert kept == {**SECRETS, 'responder_secret': OPENAI['api_key']}


@pytest.mark.parametrize(
    ('field', 'value'),
    [
        ('app_secret', 'two words'),
        ('app_secret', 'line\nend'),
        ('app_secret', ' \n '),
        ('app_secret', 'zero\u200bwidth'),
        ('webhook_verify_token', 'line\nend'),
        ('webhook_verify_token', '\t'),
        ('webhook_verify_token', 'zero\u200bwidth'),
        ('waba_id', '88 0'),
        ('waba_id', '880/../1'),
        ('waba_id', ' '),
        ('phone_number_id', '30 01'),
        ('access_token', '"EAAB"'),
        ('app_secret', "'abc'"),
        ('responder.api_key', '"sk-1"'),
        ('access_token', 'EAA\nB'),
        ('responder.api_key', 'sk\n-1'),
        ('responder.model', 'gpt\u200b-4'),
        ('responder.base_url', 'http://ai.test/ v1'),
        ('responder.base_url', 'http://ai.test/v1\u200b'),
    ],
)
def test_what_cannot_be_seen_within_a_secret_or_id_is_refused_by_name(backend, field, value):
    name, _, inner = field.partition('.')
    changed = {name: OPENAI | {inner: value}} if inner else {name: value}
    answer = backend.post('/account', ACCOUNT | changed)
    assert answer.status_code == 422
    assert list(answer.json['errors']) == [field] or list(answer.json['errors'].get(name, {})) == [
        inner
    ]
    assert value.strip() == '' or value not in answer.text


GOOD_IDS = [
    'acme',
    'a',
    '...',
    '.a',
    'shop-1_b.c',
    'ops@acme.example',
    'tenant:7',
    '+5511999990001',
    'x' * 255,
]
BAD_IDS = [
    'a/b',
    'a b',
    'acme\n',
    ' acme',
    'açaí',
    'a?b',
    'a#b',
    'a%2Fb',
    'a\\b',
    '客',
    'a,b',
    '',
    'x' * 256,
    'a\u200bb',
    '.',
    '..',
]


@pytest.mark.parametrize('chatbot_id', GOOD_IDS)
def test_a_chatbot_id_of_these_characters_is_found_at_its_own_address(backend, chatbot_id):
    assert backend.post('/account', ACCOUNT | {'chatbot_id': chatbot_id}).status_code == 201
    assert backend.get(f'/account/{chatbot_id}').json['chatbot_id'] == chatbot_id


@pytest.mark.parametrize('chatbot_id', BAD_IDS)
def test_a_chatbot_id_that_an_address_could_not_hold_is_refused(backend, chatbot_id):
    answer = backend.post('/account', ACCOUNT | {'chatbot_id': chatbot_id})
    assert answer.status_code == 422
    assert list(answer.json['errors']) == ['chatbot_id']


def test_an_account_from_before_the_rule_for_ids_can_still_be_changed(backend):
    backend.post('/account', ACCOUNT)
    sql("UPDATE whatsapp_cloud_account SET chatbot_id = 'old shop/1'")
    changed = backend.post('/account', {'chatbot_id': 'old shop/1', 'name': 'Old shop'})
    assert (changed.status_code, changed.json['name']) == (200, 'Old shop')
