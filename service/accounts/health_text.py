"""Pure: account webhooks (docs/meta.md, section 5) in sentences that a person understands."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from service.runtime.timestamps import from_epoch
from service.runtime.untrusted import as_dict, clean, identifier

Value = dict[str, Any]  # of a change, as Meta gives it

UNLIMITED = 'Any number of people may be written to first within 24 hours'
RESTRICTIONS = {
    'RESTRICTED_ADD_PHONE_NUMBER_ACTION': 'No phone number can be added',
    'RESTRICTED_BIZ_INITIATED_MESSAGING': 'No conversation can be started by the business',
    'RESTRICTED_CUSTOMER_INITIATED_MESSAGING': 'Customers who write cannot be answered',
}
STATES = {
    'ACCOUNT_DELETED': 'The WhatsApp Business account was deleted.',
    'ACCOUNT_OFFBOARDED': 'The WhatsApp Business account was taken off the platform.',
    'ACCOUNT_RECONNECTED': 'The WhatsApp Business account is connected again.',
}
BANS = {
    'DISABLE': 'Meta has disabled the WhatsApp Business account',
    'SCHEDULE_FOR_DISABLE': 'Meta is going to disable the WhatsApp Business account',
    'REINSTATE': 'Meta has enabled the WhatsApp Business account again',
}
REVIEWS = {
    'APPROVED': 'Meta has approved the WhatsApp Business account.',
    'REJECTED': 'Meta has rejected the WhatsApp Business account: it may not send.',
    'PENDING': 'Meta is reviewing the WhatsApp Business account.',
    'DEFERRED': 'Meta has put off the review of the WhatsApp Business account.',
}
QUALITY = {
    'FLAGGED': 'The quality of the number is low: its limit may be lowered.',
    'UNFLAGGED': 'The quality of the number is no longer low.',
}
PIN = {
    'PIN_CHANGED': 'The two-step PIN of the number was changed.',
    'PIN_RESET_REQUEST': 'Somebody asked to reset the two-step PIN of the number.',
    'PIN_REQUEST_SUCCESS': 'The two-step PIN of the number was switched off.',
}


@dataclass(frozen=True, slots=True)
class HealthEvent:
    """What Meta told of an account at one time."""

    id: str
    field: str
    event: str | None
    value: Value
    at: datetime


@dataclass(frozen=True, slots=True)
class Fact:
    """One thing that holds because of an event.

    `key`: a later fact with the same key takes its place. `text`: None when it holds no more.
    """

    key: str
    text: str | None
    until: datetime | None = None


def summary(field: str, value: Value) -> str:
    """What one event means, in one sentence."""
    tell = SENTENCES.get(field)
    return tell(value) if tell else f'{_words(field)} changed.'.capitalize()


def facts(events: Iterable[HealthEvent], now: datetime) -> list[dict[str, Any]]:
    """What holds now, as callers see it: [{fact, text, at, until}].

    `events`: the latest of each field and event, the oldest first.
    """
    known: dict[str, dict[str, Any]] = {}
    for event in events:
        if event.event == 'ACCOUNT_RESTRICTION':  # it names all that there are: others are over
            known = {key: fact for key, fact in known.items() if fact['fact'] != 'restriction'}
        for fact in _facts_of(event):
            known[fact.key] = {
                'fact': fact.key.partition(':')[0],
                'text': fact.text,
                'at': event.at,
                'until': fact.until,
            }
    return [fact for fact in known.values() if fact['text'] and not _is_over(fact['until'], now)]


def _is_over(until: datetime | None, now: datetime) -> bool:
    return until is not None and until <= now


def _facts_of(event: HealthEvent) -> Iterator[Fact]:
    limit = _limit(event.value)
    if limit:
        yield Fact('limit', limit)
    if event.event == 'ACCOUNT_RESTRICTION' and event.field not in FACTS:
        for kind, until in _restrictions(event.value):
            yield Fact(f'restriction:{kind}', _restriction(kind, until), until)
    elif fact := _single_fact(event):
        yield fact


def _single_fact(event: HealthEvent) -> Fact | None:
    """The fact that an event tells besides a limit, unless it is a list of restrictions."""
    if event.field in FACTS:
        return Fact(FACTS[event.field], summary(event.field, event.value))
    if event.event in QUALITY:
        return Fact('quality', QUALITY[event.event])
    if key := FACTS_OF_EVENTS.get(event.event or ''):
        return Fact(key, summary(event.field, event.value))
    if event.field == 'account_alerts':
        is_active = _is_active(event.value)
        return Fact(f'alert:{event.event}', _alert(event.value) if is_active else None)
    return None


FACTS = {
    'account_review_update': 'review',
    'phone_number_name_update': 'name',
    'business_username_updates': 'username',
}  # field → key of the fact
FACTS_OF_EVENTS = {
    'THROUGHPUT_UPGRADE': 'throughput',
    'DISABLED_UPDATE': 'state',
    **dict.fromkeys(STATES, 'state'),
    'ACCOUNT_VIOLATION': 'violation',
}  # event → key of the fact


def _get(value: Value, name: str, otherwise: str = 'unknown') -> str:
    return clean(value.get(name), 500) or identifier(value.get(name)) or otherwise


def _words(constant: str) -> str:
    """ACCOUNT_DELETED, and what Meta may add to it tomorrow, as words."""
    return str(constant).replace('_', ' ').lower()


def _alert_part(value: Value, name: str) -> str | None:
    return clean(value.get(name), 500) or clean(as_dict(value.get('alert_info')).get(name), 500)


def _is_active(value: Value) -> bool:
    return (_alert_part(value, 'alert_status') or 'ACTIVE') == 'ACTIVE'


def _alert(value: Value) -> str:
    severity = _words(_alert_part(value, 'alert_severity') or '').capitalize()
    kind = _alert_part(value, 'alert_type') or 'no description'
    head = f"{severity} alert of Meta's".strip()
    over = '' if _is_active(value) else ', now over'
    return f'{head}{over}: {_alert_part(value, "alert_description") or _words(kind)}'


def _review(value: Value) -> str:
    decision = _get(value, 'decision')
    other = f'The review of the WhatsApp Business account: {_words(decision)}.'
    return REVIEWS.get(decision, other)


def _settings(value: Value) -> str:
    return f'Settings were changed: {_words(_get(value, "type", "of a number"))}.'


def _account(value: Value) -> str:
    event = _get(value, 'event')
    if event == 'ACCOUNT_RESTRICTION':
        sentences = [_restriction(kind, until) for kind, until in _restrictions(value)]
        return ' '.join(sentences) or 'The WhatsApp Business account is restricted.'
    if event == 'ACCOUNT_VIOLATION':
        kind = _get(as_dict(value.get('violation_info')), 'violation_type')
        return f'The WhatsApp Business account broke a policy: {_words(kind)}.'
    if event == 'DISABLED_UPDATE':
        return _ban(as_dict(value.get('ban_info')))
    return STATES.get(event) or f'{_words(event).capitalize()}.'


def _ban(info: Value) -> str:
    state = _get(info, 'waba_ban_state')
    date = clean(info.get('waba_ban_date'), 100)
    what = BANS.get(state) or f'The state of the WhatsApp Business account: {_words(state)}'
    return f'{what} ({date}).' if date else f'{what}.'


def _restrictions(value: Value) -> Iterator[tuple[str, datetime | None]]:
    """The type of each restriction, and its end, None when Meta names none."""
    listed = value.get('restriction_info')
    for one in listed if isinstance(listed, list) else [listed]:
        if isinstance(one, dict):
            yield _get(one, 'restriction_type'), from_epoch(one.get('expiration'))


def _restriction(kind: str, until: datetime | None) -> str:
    what = RESTRICTIONS.get(kind) or f'Restricted ({_words(kind)})'
    end = f'until {until:%Y-%m-%d %H:%M} UTC' if until else 'with no end named'
    return f'{what}, {end}.'


LIMIT_FIELDS = (  # the last two are Meta's older names
    'max_daily_conversations_per_business',
    'max_daily_conversation_per_phone',
    'current_limit',
)


def _limit(value: Value) -> str | None:
    """How many people may be written to first, which Meta gives as TIER_2K or as 2000."""
    for name in LIMIT_FIELDS:
        tier = identifier(value.get(name))
        if tier:
            return _limit_of(tier.upper().removeprefix('TIER_'))
    return None


def _limit_of(tier: str) -> str:
    if tier in ('UNLIMITED', '-1'):
        return f'{UNLIMITED}.'
    count = tier.removesuffix('K')
    if not count.isascii() or not count.isdigit():
        return f'Messaging limit: {_words(tier)}.'
    people = int(count) * (1000 if tier.endswith('K') else 1)
    return f'Up to {people:,} people may be written to first within 24 hours.'


def _capability(value: Value) -> str:
    numbers = identifier(
        value.get('max_phone_numbers_per_business') or value.get('max_phone_numbers_per_waba')
    )
    more = f'Up to {numbers} phone numbers may be added.' if numbers else None
    return ' '.join(filter(None, (_limit(value), more))) or 'What the business may do was changed.'


def _username(value: Value) -> str:
    name = clean(value.get('username'), 100)
    username = f'The username {name}' if name else 'The username'
    return f'{username} of the business is {_words(_get(value, "status"))}.'


def _name(value: Value) -> str:
    name = _get(value, 'requested_verified_name', 'of the number')
    decision = _words(_get(value, 'decision'))
    reason = clean(value.get('rejection_reason'), 500)
    because = f' ({_words(reason)})' if reason and reason != 'NONE' else ''
    return f'The display name {name} is {decision}{because}.'


def _quality(value: Value) -> str:
    event = _get(value, 'event')
    if event == 'THROUGHPUT_UPGRADE':
        return 'The number may send faster now: its throughput was raised.'
    happened = QUALITY.get(event) or f'{_words(event).capitalize()}.'
    return ' '.join(filter(None, (happened, _limit(value))))


def _security(value: Value) -> str:
    event = _get(value, 'event')
    return PIN.get(event) or f'Security of the number: {_words(event)}.'


def _payment(value: Value) -> str:
    status = _words(_get(value, 'status'))
    return f'The payment configuration {_get(value, "configuration_name")} is: {status}.'


def _flow(value: Value) -> str:
    said = clean(value.get('message'), 500)
    return said or f'Flow {_get(value, "flow_id")}: {_words(_get(value, "event"))}.'


def _partner(value: Value) -> str:
    status = _words(_get(value, 'solution_status'))
    return f'The partner solution {_get(value, "solution_id")} is: {status}.'


SENTENCES: dict[str, Callable[[Value], str]] = {
    'account_alerts': _alert,
    'account_review_update': _review,
    'account_settings_update': _settings,
    'account_update': _account,
    'business_capability_update': _capability,
    'business_username_updates': _username,
    'flows': _flow,
    'partner_solutions': _partner,
    'payment_configuration_update': _payment,
    'phone_number_name_update': _name,
    'phone_number_quality_update': _quality,
    'security': _security,
}
