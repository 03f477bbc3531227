"""What a batch of webhook events becomes: rows of people's messages, statuses and news, and an
outcome for each item.

A batch goes in one transaction. When it fails, its events are taken one by one, and the items of an
event one by one, so that a bad one costs only itself.
"""

import logging
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from service.accounts import receiving_account
from service.conversations import conversation
from service.conversations.conversation import ProfileNames
from service.conversations.identity import IdentityClaim, resolve
from service.conversations.merge import IdentityConflict
from service.graph.error_codes import look_up
from service.graph.error_shapes import errors_in, told_errors
from service.graph.outcome import error_from, first_error
from service.messages import fact
from service.messages.fact import Fact, status_type
from service.runtime.db import LOCK_NOT_AVAILABLE, LOCKED, db, passes, sqlstate
from service.runtime.queues import retry_delay
from service.runtime.untrusted import as_dict, clean
from service.sending import delivery_status, escalation, holds, rate_limit
from service.sending.delivery_status import DeliveryStatus
from service.webhooks import (
    calls_and_preferences,
    echoes_field,
    field_handlers,
    identity_claims,
    inbox,
    messages_field,
)
from service.webhooks.calls_and_preferences import Sign
from service.webhooks.inbox import ClaimedEvent
from service.webhooks.payload import Item, NotAnEvent, flatten, parse, participant

log = logging.getLogger(__name__)


def process_due() -> int:
    """What is due of events, up to a batch; returns how many, or 1 when there is something left to
    do again.
    """
    try:
        return _batch()
    except IdentityConflict as conflict:
        holds.resolve_conflict(conflict)
        return 1


def _batch() -> int:
    try:
        with db.atomic():
            events = inbox.claim()
            process(events)
        return len(events)
    except IdentityConflict:
        raise
    except Exception as error:
        if (
            passes(error) and sqlstate(error) not in LOCKED
        ):  # a deadlock, a lost connection: it is as it was
            raise
        log.error('a batch of events failed, taking them one by one', exc_info=error)
        return _one_by_one()


def _one_by_one() -> int:
    for done in range(inbox.MAX_EVENTS):
        with db.atomic():
            events = inbox.claim(1)
            if not events:
                return done
            _process_alone(events[0])
    return inbox.MAX_EVENTS


def _process_alone(event: ClaimedEvent) -> None:
    try:
        with db.atomic():
            items = _items_of(event)
            for item in items:
                _store_alone(item)
            inbox.record_processed([(event.id, items)])
    except NotAnEvent as reason:
        _quarantine(event, reason)
    except IdentityConflict:
        raise
    except Exception as error:
        _failed(event, error)


def _failed(event: ClaimedEvent, error: Exception) -> None:
    """By itself it failed, too: others go on, and it comes again.

    Waiting for a lock is no attempt.
    """
    if passes(error) and sqlstate(error) not in LOCKED:
        raise error
    attempt = event.attempts + 1
    log.error('an event failed', exc_info=error, extra={'event_id': event.id, 'attempt': attempt})
    if sqlstate(error) == LOCK_NOT_AVAILABLE:
        inbox.postpone(event.id, retry_delay(1))
    else:
        inbox.record_failure(event.id, retry_delay(attempt), type(error).__name__)


def _store_alone(item: Item) -> None:
    try:
        with db.atomic():
            store([item])
    except IdentityConflict:
        raise
    except Exception as error:
        if passes(error):
            raise
        log.error('an item failed', exc_info=error, extra={'kind': item.kind})
        item.set_outcome('invalid', f'could not be stored ({type(error).__name__})')


def process(events: list[ClaimedEvent]) -> None:
    """Parse events, store what is in them and write each item's outcome; in the caller's
    transaction.
    """
    parsed: list[tuple[ClaimedEvent, list[Item]]] = []
    for event in events:
        try:
            parsed.append((event, _items_of(event)))
        except NotAnEvent as reason:
            _quarantine(event, reason)
    store([item for _, items in parsed for item in items])
    inbox.record_processed([(event.id, items) for event, items in parsed])
    for event, items in parsed:
        outcomes = Counter(f'{item.kind} {item.outcome}' for item in items)
        told = {'event_id': event.id, 'path': event.path or None, 'items': dict(outcomes)}
        log.info('event processed', extra=told)


def _items_of(event: ClaimedEvent) -> list[Item]:
    """Raises NotAnEvent."""
    return flatten(parse(bytes(event.body)), event.received_at, event.path)


def _quarantine(event: ClaimedEvent, reason: NotAnEvent) -> None:
    inbox.quarantine(event.id, str(reason))
    log.warning('event quarantined', extra={'event_id': event.id, 'reason': str(reason)})


@dataclass(slots=True)
class Sorted:
    """The usable items of a batch, by what becomes of them; each list in the order of arrival."""

    people: list[Item] = field(default_factory=list)  # messages and statuses
    echoes: list[Item] = field(default_factory=list)
    signs: list[Sign] = field(default_factory=list)  # calls, and what people want
    id_updates: list[IdentityClaim] = field(default_factory=list)
    others: list[Item] = field(default_factory=list)

    def of_kind(self, kind: str) -> list[Item]:
        return [item for item in self.people if item.kind == kind]


def store(items: list[Item]) -> None:
    """Give every item its outcome: messages and statuses in bulk, the rest by looking."""
    _find_accounts(items)
    found = _sort(items)
    _find_conversations([*found.signs, *found.people, *found.echoes], found.id_updates)
    messages_field.store(found.of_kind('message'), found.echoes)
    calls_and_preferences.keep(found.signs)
    for item in sorted(
        found.others, key=_waba
    ):  # what waits for a template is locked after the conversations
        item.set_outcome(*_kept(item))
    _store_statuses(found.of_kind('status'))
    receiving_account.fill_in_accounts(found.people)


def _find_accounts(items: list[Item]) -> None:
    accounts = receiving_account.of_numbers(
        {item.phone_number_id for item in items if item.phone_number_id}
    )
    for item in items:
        item.account = accounts.get(item.phone_number_id)


def _sort(items: list[Item]) -> Sorted:
    """What cannot be used, or may not come in this way, has its outcome already and is in none of
    the lists.
    """
    found = Sorted()
    for item in items:
        if item.problem:
            item.set_outcome('invalid', item.problem)
        elif refusal := _refusal(item):
            item.set_outcome('refused', refusal)
        elif item.kind in identity_claims.OF:
            item.identity = identity_claims.of_item(item)
            found.people.append(item)
        elif item.key == echoes_field.FIELD and item.account:
            found.echoes += echoes_field.found_in(item)
        elif item.key in calls_and_preferences.FIELDS and item.account:
            found.signs += calls_and_preferences.found_in(item)
        elif item.key == identity_claims.UPDATE:
            found.id_updates += identity_claims.of_update(item, _chatbots(item))
            item.set_outcome('stored')
        else:
            found.others.append(item)
    return found


def _waba(item: Item) -> str:
    """In whose order changes are taken: two workers with those of several WABAs must not wait for
    each other.
    """
    return str(item.data.get('waba_id') or '')


def _find_conversations(told: Iterable[Item | Sign], id_updates: list[IdentityClaim]) -> None:
    """Whom each speaks of; one SELECT when all are known."""
    known = [one for one in told if one.identity]
    found = resolve(
        [*(one.identity for one in known), *id_updates], hold=True
    )  # in the order of arrival
    for one in known:
        one.conversation_id = found[one.identity]


def _chatbots(item: Item) -> list[str]:
    """Whom a change of a whole WABA concerns, when it names no number."""
    if item.account:
        return [item.account.chatbot_id]
    return receiving_account.chatbots_of_waba(item.data['waba_id'], item.path)


def _refusal(item: Item) -> str | None:
    """Why an item may not come in by its path, None when it may."""
    if item.account is None:
        return 'no account has this phone_number_id' if item.phone_number_id else None
    if item.path and item.account.chatbot_id != item.path:
        return "the number is another account's"
    if not item.path and item.account.own_app:
        return 'the account is served on its own path alone'
    return None


def _kept(item: Item) -> tuple[str, str | None]:
    """(outcome, detail).

    A value error stays in the event's body, as do most changes of other fields.
    """
    if item.kind == 'value_error':
        error = error_from(item.data)
        log.warning(
            'meta reports an error',
            extra={
                'phone_number_id': item.phone_number_id,
                'code': error['code'],
                'title': error['title'],
            },
        )
        if look_up(error['code']).scope == 'number':
            rate_limit.slow_down(rate_limit.scope_keys(item.phone_number_id, None, None)[0])
        return 'stored', ': '.join(filter(None, (error['title'], error['details'])))
    return field_handlers.keep(item)


def _store_statuses(items: list[Item]) -> None:
    """What speaks of messages' states moves them; what speaks of anything else is kept."""
    statuses = [(item, _told(item)) for item in items]
    outcomes, refusals = delivery_status.store(
        [one for _, one in statuses if isinstance(one, DeliveryStatus)]
    )
    outcomes |= fact.store([one for _, one in statuses if isinstance(one, Fact)])
    escalation.apply(refusals)
    names = {}
    for item, one in statuses:
        item.set_outcome(outcomes.pop(one.key, 'duplicate'))
        if item.outcome == 'duplicate' or not item.conversation_id:
            continue
        if profile := identity_claims.profile(item):
            names[item.conversation_id] = ProfileNames(
                item.conversation_id, item.told_at, profile.get('username'), profile.get('name')
            )
    conversation.update_profile_names(list(names.values()))


def _told(item: Item) -> DeliveryStatus | Fact:
    data, chatbot_id = item.data, item.account.chatbot_id
    if status_type(data):
        return fact.of_status(item, chatbot_id)
    errors = told_errors(data)
    errors = errors if isinstance(errors, list) else errors_in(errors) or None
    recipient = {
        name: data[name] for name in data if name.startswith(('recipient_', 'parent_recipient_'))
    }
    return DeliveryStatus(
        chatbot_id,
        item.phone_number_id,
        item.wamid,
        clean(data['status'], 64),
        participant(data),
        item.at,
        clean(data.get('biz_opaque_callback_data'), 512),
        first_error(errors),
        errors,
        as_dict(data.get('pricing')) or None,
        recipient,
    )
