"""What the policy decides about one message and one person, without a database."""

from datetime import UTC, datetime
from itertools import product

import pytest

from service.runtime.errors import Conflict
from service.sending import send_policy
from service.sending.outbound_message import OutboundMessage
from service.sending.send_policy import Decision, Eligibility, decide, require_allowed
from service.templates.template import Template, TemplateKey

SALE = TemplateKey('sale', 'en_US')
SENT = {'name': SALE.name, 'language': {'code': SALE.language}}
TEXT = {'type': 'text', 'text': {'body': 'Hi'}}
TEMPLATE = {'type': 'template', 'template': SENT}
WITH_FALLBACK = TEXT | {'fallback_template': SENT}
FORCED = TEXT | {'force': True}
YESTERDAY = datetime(2026, 11, 26, tzinfo=UTC)


def message(body, category):
    known = Template(SALE.name, SALE.language, 'APPROVED', category, None, None, None)
    return OutboundMessage('c', body, {SALE: known})


def person(is_closed=False, is_opted_out=False):
    return Eligibility(
        'c',
        YESTERDAY if is_closed else None,
        YESTERDAY if is_opted_out else None,
        'keyword' if is_opted_out else None,
    )


def outcome(decision: Decision):
    if decision.denial:
        return decision.denial.members['code']
    return 'fallback' if decision.use_fallback else 'sent'


CLOSED = {'is_closed': True}
OPTED_OUT = {'is_opted_out': True}
DECISIONS = [
    (TEXT, 'utility', {}, 'sent'),
    (TEXT, 'utility', CLOSED, 'window_closed'),
    (TEXT, 'utility', OPTED_OUT, 'sent'),
    (FORCED, 'utility', CLOSED | OPTED_OUT, 'sent'),
    (TEMPLATE, 'utility', CLOSED | OPTED_OUT, 'sent'),
    (TEMPLATE, 'marketing', CLOSED, 'sent'),
    (TEMPLATE, 'marketing', OPTED_OUT, 'opted_out'),
    (TEMPLATE, 'marketing', CLOSED | OPTED_OUT, 'opted_out'),
    (WITH_FALLBACK, 'utility', CLOSED, 'fallback'),
    (WITH_FALLBACK, 'utility', CLOSED | OPTED_OUT, 'fallback'),
    (WITH_FALLBACK, 'marketing', OPTED_OUT, 'sent'),
    (WITH_FALLBACK, 'marketing', CLOSED, 'fallback'),
    (WITH_FALLBACK, 'marketing', CLOSED | OPTED_OUT, 'opted_out'),
]


@pytest.mark.parametrize(('body', 'category', 'restrictions', 'decided'), DECISIONS)
def test_the_window_and_the_opt_out_decide(body, category, restrictions, decided):
    assert outcome(decide(message(body, category), person(**restrictions))) == decided


@pytest.mark.parametrize('body', [TEXT, FORCED, TEMPLATE, WITH_FALLBACK])
def test_who_cannot_be_restricted_is_not_asked_for(body, monkeypatch):
    """Whatever is decided without the query is the same as with it."""
    asked = []
    monkeypatch.setattr(send_policy, 'fetch_as', lambda *_: asked.append(1) or [])
    for category, closed, opted_out in product(('utility', 'marketing'), *[(True, False)] * 2):
        asked.clear()
        send_policy.find_restricted(message(body, category), ['c'])
        decided = outcome(decide(message(body, category), person(closed, opted_out)))
        assert asked or decided == 'sent'


def test_a_denial_is_a_conflict_and_a_fallback_takes_the_place(monkeypatch):
    found = [person(is_closed=True)]
    monkeypatch.setattr(send_policy, 'fetch_as', lambda *_: found)
    with pytest.raises(Conflict, match='window of this conversation closed'):
        require_allowed(message(TEXT, 'utility'))
    allowed = require_allowed(message(WITH_FALLBACK, 'marketing'))
    assert (allowed.type, allowed.content, allowed.is_marketing) == ('template', SENT, True)
    assert allowed.body['replaced'] == {'type': 'text', 'content': {'body': 'Hi'}}
    assert 'fallback_template' not in allowed.body
