"""What Meta's statuses make of their messages: they move a message forward only."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from service.billing import ledger
from service.billing.ledger import LoggedMessage
from service.content.calling_codes import country_of
from service.conversations import service_window
from service.graph.outcome import ErrorDict, classify_error
from service.messages.message_status import DeliveryStatus
from service.messages.state_machine import ARRIVED, TOLD, UNDELIVERED, Status, moves_up
from service.runtime.prepared import Prepared, fill
from service.runtime.rows import Json, Jsonb, Uuid, execute_bulk
from service.runtime.untrusted import clean
from service.sending.dispatch import PAIR_DEBT_SECONDS
from service.sending.escalation import SendFailure
from service.sending.send_outcome import next_step, tries_entry

GO_AGAIN = (Status.QUEUED, Status.HELD)  # after a failure, at once or once somebody lets them


@dataclass(slots=True)
class TargetMessage:
    """A message that statuses are about, locked; they change it here before it is written.

    The fields with a default are not read from the row: see StatusChange.
    """

    id: str
    chatbot_id: str
    conversation_id: str
    phone_number_id: str
    wamid: str | None
    status: str
    error: ErrorDict | None
    accepted_at: datetime | None
    attempts: int
    batch_id: str | None
    tries: list[dict[str, Any]]
    echo: bool
    has_fallback: bool
    hold_reason: str | None = None
    delay: float | None = None
    new_tries: list[dict[str, Any]] | None = None
    use_fallback: bool = False
    pair_delay: float | None = None  # seconds that Meta wants the pair to pause
    country: str | None = None  # of the phone that a status names
    was_accepted: bool = field(init=False)  # before these statuses: it is counted already

    def __post_init__(self) -> None:
        self.was_accepted = self.accepted_at is not None

    def is_over(self, wamid: str) -> bool:
        """Whether a wamid belongs to an earlier, failed attempt.

        Such a status must not move the current attempt.
        """
        return any(entry.get('wamid') == wamid for entry in self.tries)


News = list[tuple[TargetMessage, DeliveryStatus]]


@dataclass(slots=True)
class StatusChange:
    """What statuses make of one message.

    `delay`: seconds until it is due again, None when it is not; `new_tries`: attempts that Meta
    has called failed.
    """

    id: Uuid
    status: str
    hold_reason: str | None
    wamid: str | None
    error: Json
    accepted_at: datetime | None
    delay: float | None
    new_tries: Jsonb
    use_fallback: bool


@dataclass(slots=True)
class PausedPair:
    """A conversation whose person gets nothing for `delay` seconds."""

    id: Uuid
    delay: float


@dataclass(slots=True)
class FirstSign:
    """When Meta has accepted a message to a conversation, as its first status tells."""

    id: Uuid
    at: datetime | None


@dataclass(slots=True)
class Price:
    """What Meta charges for a message, as far as one body tells; and whether it was delivered.

    Meta bills what was delivered.
    """

    message_id: Uuid
    category: str | None = None
    pricing: Json | None = None
    delivered: bool = False


CHANGE_MESSAGES = Prepared.for_rows(StatusChange)(
    """
UPDATE message m SET status = n.status, hold_reason = n.hold_reason, wamid = n.wamid,
  error = n.error, tries = m.tries || coalesce(n.new_tries, '[]'),
  due_at = now() + n.delay * interval '1 second', updated_at = now(),
  accepted_at = coalesce(m.accepted_at, n.accepted_at, now()),
  attempts = CASE WHEN n.use_fallback THEN 0 ELSE m.attempts END,
  {use_fallback}
FROM {rows} WHERE m.id = n.id
""",
    use_fallback=service_window.use_fallback('n.use_fallback'),
)
# Meta says that the pair's burst is used up: it is paid back first. A row that somebody holds is
# being claimed or freed just now.
PAUSE_PAIRS = fill(
    """
UPDATE conversation c SET
  send_after = greatest(c.send_after, now() + n.delay * interval '1 second'),
  pair_free_at = greatest(
    c.pair_free_at, now() + ({pair_debt_seconds} + n.delay) * interval '1 second')
FROM (
  SELECT c.id, n.delay FROM conversation c JOIN {rows} USING (id)
  WHERE c.group_id IS NULL ORDER BY c.id FOR NO KEY UPDATE OF c SKIP LOCKED) n
WHERE c.id = n.id
""",
    pair_debt_seconds=PAIR_DEBT_SECONDS,
)
# Of messages whose own answer was lost, or is still to come.
NOTE_OUTBOUND = Prepared.for_rows(FirstSign)("""
UPDATE conversation c SET last_outbound_at = greatest(c.last_outbound_at, n.at)
FROM (
  SELECT c.id, n.at FROM conversation c JOIN {rows} USING (id)
  ORDER BY c.id FOR NO KEY UPDATE OF c SKIP LOCKED) n
WHERE c.id = n.id
""")
# Meta tells the same price with each status: a row is written for the first one, and once more
# when the message was delivered.
PRICE_MESSAGES = Prepared.for_rows(Price)("""
UPDATE usage_log u SET category = coalesce(n.category, u.category),
  pricing = coalesce(n.pricing, u.pricing), delivered = u.delivered OR n.delivered
FROM {rows} WHERE u.message_id = n.message_id
  AND (u.category IS DISTINCT FROM coalesce(n.category, u.category)
    OR u.pricing::text IS DISTINCT FROM coalesce(n.pricing, u.pricing)::text
    OR n.delivered AND NOT u.delivered)
""")


def advance(news: News) -> list[SendFailure]:
    """Move messages forward by statuses that are new; returns the failures that they tell of."""
    changed = {}
    prices: dict[str, Price] = {}
    failures = []
    for target, status in sorted(news, key=_comes_last):
        _add_price(prices, target, status)
        if target.is_over(status.wamid):
            continue
        is_first = target.wamid is None
        target.wamid = target.wamid or status.wamid
        has_moved, failure = apply_status(target, status)
        if failure:
            failures.append(failure)
        if has_moved or is_first:
            changed[target.id] = target
    _write([changed[id_] for id_ in sorted(changed)])
    execute_bulk(PRICE_MESSAGES, [prices[id_] for id_ in sorted(prices)])
    return failures


def _comes_last(one: tuple[TargetMessage, DeliveryStatus]) -> bool:
    """Whether it is a failure after which the message goes again: not if it is known to have
    arrived. All else moves it in the order in which Meta told.
    """
    target, status = one
    if status.status != Status.FAILED or not status.error:
        return False
    return next_step(target, classify_error(status.error)).status in GO_AGAIN


def _add_price(prices: dict[str, Price], target: TargetMessage, status: DeliveryStatus) -> None:
    """Note what a status tells of the price, before it moves its message."""
    is_news = status.status in ARRIVED and target.status not in ARRIVED
    if not (is_news or status.pricing):
        return
    price = prices.setdefault(target.id, Price(target.id))
    price.delivered |= status.status in ARRIVED
    if status.pricing:
        price.category = clean(status.pricing.get('category'), 64) or price.category
        price.pricing = status.pricing


def apply_status(target: TargetMessage, status: DeliveryStatus) -> tuple[bool, SendFailure | None]:
    """Whether a status moves its message, and the failure that follows of it."""
    state = _state_after(target, status)
    if not moves_up(target.status, state):
        return False, None
    was_undelivered = target.status in UNDELIVERED
    error = status.error if state == Status.FAILED else None
    target.status = state
    target.error = error
    target.hold_reason = None
    target.delay = None
    target.accepted_at = target.accepted_at or status.timestamp
    target.country = target.country or _country(status)
    if error and was_undelivered and not target.echo:
        return True, _apply_failure(target, status, error)
    return True, None


def _country(status: DeliveryStatus) -> str | None:
    """Of the phone that a status names; a group has none."""
    recipient = status.recipient or {}
    if recipient.get('recipient_type') == 'group':
        return None
    return country_of(clean(recipient.get('recipient_id')))


def _state_after(target: TargetMessage, status: DeliveryStatus) -> str:
    """The state that a status speaks of: whatever Meta says of a message, it has accepted it.

    A failure counts when it is one of this send, and of all participants.
    """
    is_whole_send = status.wamid == target.wamid and not status.participant
    if status.status == Status.FAILED and is_whole_send:
        return Status.FAILED
    return status.status if status.status in TOLD else Status.ACCEPTED


def _apply_failure(target: TargetMessage, status: DeliveryStatus, error: ErrorDict) -> SendFailure:
    """Let the error table decide as on an answer: the message may go again, or wait."""
    outcome = classify_error(error)
    step = next_step(target, outcome)
    entry = tries_entry(target.attempts, outcome, status.timestamp) | {'wamid': status.wamid}
    target.tries = [*target.tries, entry]
    target.new_tries = [*(target.new_tries or ()), entry]
    if step.status in GO_AGAIN:
        target.status = step.status
        target.hold_reason = step.hold_reason
        target.delay = step.delay
        target.wamid = None  # Meta's next answer brings another one
        target.use_fallback = service_window.wants_fallback(target.has_fallback, error)
        target.pair_delay = step.delay if outcome.scope == 'pair' else None
    return SendFailure(
        chatbot_id=target.chatbot_id,
        phone_number_id=target.phone_number_id,
        outcome=outcome,
        batch_id=target.batch_id,
        conversation_id=target.conversation_id,
        at=status.timestamp,
    )


def _write(targets: Sequence[TargetMessage]) -> None:
    """Write changed messages, which are in the order of their ids."""
    if not targets:
        return
    execute_bulk(CHANGE_MESSAGES, [_change(target) for target in targets])
    execute_bulk(PAUSE_PAIRS, _pauses(targets))
    accepted = [target for target in targets if not target.was_accepted]
    if accepted:
        ledger.log_usage([LoggedMessage(one.id, one.country) for one in accepted])
        signs = {one.conversation_id: one.accepted_at for one in accepted}
        execute_bulk(NOTE_OUTBOUND, [FirstSign(id_, at) for id_, at in signs.items()])


def _change(target: TargetMessage) -> StatusChange:
    return StatusChange(
        id=target.id,
        status=target.status,
        hold_reason=target.hold_reason,
        wamid=target.wamid,
        error=target.error,
        accepted_at=target.accepted_at,
        delay=target.delay,
        new_tries=target.new_tries,
        use_fallback=target.use_fallback,
    )


def _pauses(targets: Iterable[TargetMessage]) -> list[PausedPair]:
    delays = {one.conversation_id: one.pair_delay for one in targets if one.pair_delay}
    return [PausedPair(id_, delay) for id_, delay in delays.items()]
