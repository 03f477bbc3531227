"""What a batch of webhook events becomes: rows of messages and statuses, an outcome for each item.

A batch goes in one transaction. When it fails, its events are taken one by one, and the items of an
event one by one, so that a bad one costs only itself. Who has to wait for a lock is held back for a
moment (held_back.py), so that the others do not wait.
"""

import logging
from collections import Counter

from peewee import OperationalError

from service.conversations.locked_people import PeopleLocked
from service.conversations.merge import IdentityConflict
from service.runtime import metrics, tracing
from service.runtime.db import LOCK_NOT_AVAILABLE, LOCKED, db, passes, sqlstate
from service.runtime.durability import worked_out_again
from service.runtime.queues import retry_delay
from service.runtime.session import lock_waits
from service.sending import holds
from service.webhooks import erased_parts, inbox, relays
from service.webhooks.held_back import held_back
from service.webhooks.inbox import ClaimedEvent, ParsedEvent
from service.webhooks.item import Item, ItemKind, ItemOutcome
from service.webhooks.payload import NotAnEvent, flatten, parse
from service.webhooks.routing import store_items

log = logging.getLogger(__name__)


@worked_out_again()
def process_due() -> int:
    """Process a batch of the events that are due; return how many, 0 when none is left.

    All that wait for a lock that somebody holds count as one.
    """
    held_back.release_in_time()
    with lock_waits(held_back.patience()):
        try:
            return _process_batch() or int(held_back.is_waiting)
        except IdentityConflict as conflict:
            _resolve(conflict)
        except PeopleLocked as locked:
            held_back.hold(locked.claims())
    return 1  # the same events are due still


def _resolve(conflict: IdentityConflict) -> None:
    for one in conflict.by_person():
        try:
            holds.resolve_conflict(one)
        except OperationalError as error:
            if sqlstate(error) != LOCK_NOT_AVAILABLE:
                raise
            held_back.hold(one.claims)


def _process_batch() -> int:
    try:
        with db.atomic():
            events = inbox.claim(held_back=held_back.ids)
            processed = _process(events)
        held_back.see_to(events)
        _tell(processed)
        return len(events)
    except (IdentityConflict, PeopleLocked):
        raise
    except Exception as error:
        if _is_over_soon(error):
            raise
        if sqlstate(error) != LOCK_NOT_AVAILABLE:
            log.error('a batch of events failed, taking them one by one', exc_info=error)
        return _process_one_by_one()


def _is_over_soon(error: Exception) -> bool:
    """Whether it is a lost connection or a deadlock, which no event is to blame for.

    A lock that is not given may be about one event alone: its neighbours do not wait for it.
    """
    return passes(error) and sqlstate(error) not in LOCKED


def _process(events: list[ClaimedEvent]) -> list[ParsedEvent]:
    began = tracing.now()
    parsed = []
    for event in events:
        try:
            parsed.append(_parse(event))
        except NotAnEvent as reason:
            _quarantine(event, reason)
    parsed = held_back.without_held_back(parsed)
    parsed = erased_parts.leave_out(parsed)
    store_items([item for one in parsed for item in one.items])
    _conclude(parsed)
    if tracing.is_on():
        _trace(parsed, began)
    return parsed


def _trace(processed: list[ParsedEvent], began: int) -> None:
    """Go on with the traces of webhooks, and let replies to what they brought go on with them."""
    traces = tracing.recall(one.event.id for one in processed)
    answered: dict[str, str | None] = {}
    for one in processed:
        id_ = one.event.id
        with tracing.span('process webhook', traces.get(id_), began, row=id_) as traceparent:
            found = {item.conversation_id for item in one.items if item.kind == ItemKind.MESSAGE}
            answered |= dict.fromkeys(found - {''}, traceparent)
    tracing.remember(answered)


def _parse(event: ClaimedEvent) -> ParsedEvent:
    """Raises NotAnEvent."""
    body = parse(bytes(event.body))
    return ParsedEvent(event, body, flatten(body, event.received_at, event.path))


def _conclude(done: list[ParsedEvent]) -> None:
    """Record events whose items are stored, and hand them to whoever relays them."""
    if inbox.record_processed(done):
        relays.publish(done)


def _tell(processed: list[ParsedEvent]) -> None:
    """Log, and count, what is committed."""
    for done in processed:
        path = done.event.path or None
        outcomes = Counter((item.kind, item.outcome) for item in done.items)
        for (kind, outcome), items in outcomes.items():
            metrics.webhook_items.labels(kind, outcome).inc(items)
        told = {f'{kind} {outcome}': items for (kind, outcome), items in outcomes.items()}
        extra = {'event_id': done.event.id, 'path': path, 'items': told}
        log.info('event processed', extra=extra)


def _quarantine(event: ClaimedEvent, reason: NotAnEvent) -> None:
    inbox.quarantine(event.id, str(reason))
    log.warning('event quarantined', extra={'event_id': event.id, 'reason': str(reason)})


def _process_one_by_one() -> int:
    for done in range(inbox.MAX_EVENTS):
        with lock_waits(held_back.patience_alone()), db.atomic():
            events = inbox.claim(1, held_back=held_back.ids)
            if not events:
                held_back.see_to(events)
                return done
            _process_alone(events[0])
    return inbox.MAX_EVENTS


def _process_alone(event: ClaimedEvent) -> None:
    try:
        with db.atomic():
            for parsed in erased_parts.leave_out(held_back.without_held_back([_parse(event)])):
                for item in parsed.items:
                    _store_alone(item)
                _conclude([parsed])
    except NotAnEvent as reason:
        _quarantine(event, reason)
    except (IdentityConflict, PeopleLocked):
        raise
    except Exception as error:
        _record_failure(event, error)


def _store_alone(item: Item) -> None:
    try:
        with db.atomic():
            store_items([item])
    except (IdentityConflict, PeopleLocked):
        raise
    except Exception as error:
        if passes(error):
            raise
        log.error('an item failed', exc_info=error, extra={'kind': item.kind})
        item.set_outcome(ItemOutcome.INVALID, f'could not be stored ({type(error).__name__})')


def _record_failure(event: ClaimedEvent, error: Exception) -> None:
    """An event failed by itself: it comes again later, and others go on.

    To wait for a lock is no failed attempt.
    """
    if _is_over_soon(error):
        raise error
    if sqlstate(error) == LOCK_NOT_AVAILABLE:
        held_back.hold_event(_parse(event))
        return
    attempt = event.attempts + 1
    log.error('an event failed', exc_info=error, extra={'event_id': event.id, 'attempt': attempt})
    inbox.record_failure(event.id, retry_delay(attempt), type(error).__name__)
