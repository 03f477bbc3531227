"""Pure: what Meta's account webhooks (section 5) mean, in sentences that a person understands."""

from service.runtime.timestamps import moment
from service.runtime.untrusted import as_dict, clean, identifier

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


def summary(field, value):
    """One sentence on one event."""
    tell = SENTENCES.get(field)
    return tell(value) if tell else f'{_words(field)} changed.'.capitalize()


def facts(events, now):
    """What holds now, as [{fact, text, at, until}].

    `events`: the latest of each field and event, the oldest first.
    """
    known = {}
    for event in events:
        for fact, text, until in _facts_of(event['field'], event['event'], event['value']):
            known[fact] = {
                'fact': fact.partition(':')[0],
                'text': text,
                'at': event['at'],
                'until': until,
            }
        if (
            event['event'] == 'ACCOUNT_RESTRICTION'
        ):  # it names all that there are: those it leaves out are over
            known = {
                key: fact
                for key, fact in known.items()
                if fact['fact'] != 'restriction' or fact['at'] == event['at']
            }
    return [
        fact
        for fact in known.values()
        if fact['text'] and not (fact['until'] and fact['until'] <= now)
    ]


def _facts_of(field, event, value):
    """(key, sentence, until) of what an event settles; a later one with the same key takes its
    place.
    """
    if limit := _limit(value):
        yield 'limit', limit, None
    if field in FACTS:
        yield FACTS[field], summary(field, value), None
    elif event in QUALITY:
        yield 'quality', QUALITY[event], None
    elif event == 'THROUGHPUT_UPGRADE':
        yield 'throughput', summary(field, value), None
    elif event == 'DISABLED_UPDATE' or event in STATES:
        yield 'state', summary(field, value), None
    elif event == 'ACCOUNT_VIOLATION':
        yield 'violation', summary(field, value), None
    elif event == 'ACCOUNT_RESTRICTION':
        for kind, until in _restrictions(value):
            yield f'restriction:{kind}', _restriction(kind, until), until
    elif field == 'account_alerts':  # null when the alert is over: the fact goes
        yield f'alert:{event}', _alert(value) if _is_active(value) else None, None


FACTS = {
    'account_review_update': 'review',
    'phone_number_name_update': 'name',
    'business_username_updates': 'username',
}


def _get(value, name, otherwise='unknown'):
    return clean(value.get(name), 500) or identifier(value.get(name)) or otherwise


def _words(constant):
    """ACCOUNT_DELETED, and what Meta may add to it tomorrow, as words."""
    return str(constant).replace('_', ' ').lower()


def _alert_part(value, name):
    return clean(value.get(name), 500) or clean(as_dict(value.get('alert_info')).get(name), 500)


def _is_active(value):
    return (_alert_part(value, 'alert_status') or 'ACTIVE') == 'ACTIVE'


def _alert(value):
    severity, kind = _alert_part(value, 'alert_severity'), _alert_part(value, 'alert_type')
    head = f"{_words(severity or '').capitalize()} alert of Meta's".strip()
    said = _alert_part(value, 'alert_description') or _words(kind or 'no description')
    return f'{head}{"" if _is_active(value) else ", now over"}: {said}'


def _review(value):
    decision = _get(value, 'decision')
    return (
        REVIEWS.get(decision) or f'The review of the WhatsApp Business account: {_words(decision)}.'
    )


def _settings(value):
    return f'Settings were changed: {_words(_get(value, "type", "of a number"))}.'


def _account(value):
    event = _get(value, 'event')
    if event == 'ACCOUNT_RESTRICTION':
        return (
            ' '.join(_restriction(*one) for one in _restrictions(value))
            or 'The WhatsApp Business account is restricted.'
        )
    if event == 'ACCOUNT_VIOLATION':
        kind = _get(as_dict(value.get('violation_info')), 'violation_type')
        return f'The WhatsApp Business account broke a policy: {_words(kind)}.'
    if event == 'DISABLED_UPDATE':
        return _ban(as_dict(value.get('ban_info')))
    return STATES.get(event) or f'{_words(event).capitalize()}.'


def _ban(info):
    state, date = _get(info, 'waba_ban_state'), clean(info.get('waba_ban_date'), 100)
    what = BANS.get(state) or f'The state of the WhatsApp Business account: {_words(state)}'
    return f'{what} ({date}).' if date else f'{what}.'


def _restrictions(value):
    """(type, end or None) of each restriction."""
    listed = value.get('restriction_info')
    for one in listed if isinstance(listed, list) else [listed]:
        if isinstance(one, dict):
            yield _get(one, 'restriction_type'), moment(one.get('expiration'))


def _restriction(kind, until):
    what = RESTRICTIONS.get(kind) or f'Restricted ({_words(kind)})'
    return f'{what}, {f"until {until:%Y-%m-%d %H:%M} UTC" if until else "with no end named"}.'


def _limit(value):
    """How many people may be written to first: TIER_2K, 2000, or a legacy field's (sections 5, 8)."""
    for name in (
        'max_daily_conversations_per_business',
        'max_daily_conversation_per_phone',
        'current_limit',
    ):
        tier = identifier(value.get(name))
        if tier:
            return _limit_of(tier.upper().removeprefix('TIER_'))
    return None


def _limit_of(tier):
    if tier in ('UNLIMITED', '-1'):
        return f'{UNLIMITED}.'
    count = tier.removesuffix('K')
    if not count.isascii() or not count.isdigit():
        return f'Messaging limit: {_words(tier)}.'
    people = int(count) * (1000 if tier.endswith('K') else 1)
    return f'Up to {people:,} people may be written to first within 24 hours.'


def _capability(value):
    numbers = identifier(
        value.get('max_phone_numbers_per_business') or value.get('max_phone_numbers_per_waba')
    )
    more = f'Up to {numbers} phone numbers may be added.' if numbers else None
    return ' '.join(filter(None, (_limit(value), more))) or 'What the business may do was changed.'


def _username(value):
    name, status = clean(value.get('username'), 100), _words(_get(value, 'status'))
    return (
        f'The username {name} of the business is {status}.'
        if name
        else f'The username of the business is {status}.'
    )


def _name(value):
    name, decision = (
        _get(value, 'requested_verified_name', 'of the number'),
        _words(_get(value, 'decision')),
    )
    reason = clean(value.get('rejection_reason'), 500)
    because = f' ({_words(reason)})' if reason and reason != 'NONE' else ''
    return f'The display name {name} is {decision}{because}.'


def _quality(value):
    event = _get(value, 'event')
    if event == 'THROUGHPUT_UPGRADE':
        return 'The number may send faster now: its throughput was raised.'
    happened = QUALITY.get(event) or f'{_words(event).capitalize()}.'
    return ' '.join(filter(None, (happened, _limit(value))))


def _security(value):
    event = _get(value, 'event')
    return PIN.get(event) or f'Security of the number: {_words(event)}.'


def _payment(value):
    return f'The payment configuration {_get(value, "configuration_name")} is: {_words(_get(value, "status"))}.'


def _flow(value):
    said = clean(value.get('message'), 500)
    return said or f'Flow {_get(value, "flow_id")}: {_words(_get(value, "event"))}.'


def _partner(value):
    return f'The partner solution {_get(value, "solution_id")} is: {_words(_get(value, "solution_status"))}.'


SENTENCES = {
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
