"""What the outcome of a call makes of its message: accepted, queued once more, held or failed."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from service.billing import ledger
from service.content.calling_codes import country_of
from service.conversations import service_window
from service.graph import outage
from service.graph.outcome import Outcome, OutcomeKind
from service.messages.state_machine import HoldReason, Status
from service.runtime.config import settings
from service.runtime.db import db
from service.runtime.prepared import Prepared
from service.runtime.queues import retry_delay
from service.runtime.rows import Json, Jsonb, JsonText, Uuid, execute_bulk, fetch_bulk
from service.runtime.timestamps import to_rfc3339
from service.sending import awaited_answer, free_conversation
from service.sending.dispatch import ClaimedMessage
from service.sending.free_conversation import FreeConversation

MAX_TRIES = 100  # that are kept of a message: its first and its latest ones


class Attempted(Protocol):
    """What is read of a message to decide what a failed attempt makes of it."""

    attempts: int
    batch_id: str | None
    has_fallback: bool


@dataclass(frozen=True, slots=True)
class SendResult:
    """What became of a claimed message, and when. `milliseconds`: that its call took."""

    message: ClaimedMessage
    outcome: Outcome
    at: datetime
    milliseconds: int | None = None


@dataclass(frozen=True, slots=True)
class Recorded:
    """What results tell of outages. `early`: messages that a status or an echo told of before."""

    news: outage.News
    early: list[str]  # their ids; the caller joins them


@dataclass(frozen=True, slots=True)
class NextStep:
    """The state after an attempt that Meta did not accept.

    `delay`: seconds until somebody looks at the message again, None when nobody does.
    """

    status: Status
    hold_reason: HoldReason | None = None
    delay: float | None = None


@dataclass(slots=True)
class AcceptedMessage:
    """What Meta's answer tells of a message that it has accepted."""

    id: Uuid
    wamid: str | None
    wa_id: str | None
    at: datetime
    meta_answer: JsonText | None
    country: str | None


@dataclass(slots=True)
class FailedAttempt:
    """What an attempt that Meta did not accept makes of its message.

    `entry`: the message's new entry in `tries`; `uncounted`: it does not use up an attempt.
    """

    id: Uuid
    lease_ends: datetime
    status: str
    hold_reason: str | None
    delay: float | None
    error: Json
    entry: Jsonb
    use_fallback: bool
    uncounted: bool
    meta_answer: JsonText | None


# A status may have been faster than this answer: then the message is `failed` already, or this
# attempt stands among its `tries`. Changed messages are returned, with whether Meta told of them.
ACCEPT_MESSAGES = Prepared.for_rows(AcceptedMessage)(
    """
WITH accepted AS (
UPDATE message m SET wamid = coalesce(m.wamid, n.wamid), answer_wa_id = n.wa_id, due_at = NULL,
  updated_at = now(), error = CASE m.status WHEN 'failed' THEN m.error END,
  accepted_at = coalesce(accepted_at, n.at), hold_reason = NULL,
  meta_answer = coalesce(n.meta_answer, m.meta_answer),
  status = CASE WHEN m.status IN ('queued', 'sending', 'unknown', 'held') THEN 'accepted'
    ELSE m.status END
FROM {rows}
WHERE m.id = n.id AND NOT m.tries @> jsonb_build_array(jsonb_build_object('wamid', n.wamid))
RETURNING m.id, m.chatbot_id, m.direction, m.type, m.ai_usage, n.country, m.phone_number_id,
  m.wamid),
logged AS (INSERT INTO usage_log (message_id, chatbot_id, direction, type, country, {ai_columns})
SELECT id, chatbot_id, direction, type, country, {ai_usage} FROM accepted
ON CONFLICT (message_id) DO NOTHING)
SELECT id, coalesce(
  (SELECT true FROM message_status s WHERE s.phone_number_id = a.phone_number_id
    AND s.wamid = a.wamid AND num_nulls(s.message_id) = 1 LIMIT 1),
  (SELECT true FROM message e WHERE e.phone_number_id = a.phone_number_id
    AND e.wamid = a.wamid AND e.echo LIMIT 1), false)
FROM accepted a
""",
    ai_columns=ledger.AI_COLUMNS,
    ai_usage=ledger.AI_USAGE,
)
RECORD_FAILED_ATTEMPTS = Prepared.for_rows(FailedAttempt)(
    """
UPDATE message m SET status = n.status, hold_reason = n.hold_reason, error = n.error,
  tries = CASE WHEN jsonb_array_length(m.tries) < {max_tries} THEN m.tries
    ELSE m.tries - {half} END || n.entry,
  due_at = now() + n.delay * interval '1 second', updated_at = now(),
  meta_answer = coalesce(n.meta_answer, m.meta_answer),
  attempts = CASE WHEN n.use_fallback THEN 0 WHEN n.uncounted THEN m.attempts - 1
    ELSE m.attempts END,
  {use_fallback}
FROM {rows} WHERE m.id = n.id AND m.status || '' = 'sending' AND m.due_at = n.lease_ends
""",
    max_tries=MAX_TRIES,
    half=MAX_TRIES // 2,
    use_fallback=service_window.use_fallback('n.use_fallback'),
)


def record(results: Iterable[SendResult]) -> Recorded:
    """Write what became of claimed messages, at the beginning of the caller's transaction."""
    results = sorted(results, key=lambda result: result.message.id)
    accepted = [one for one in results if one.outcome.kind == OutcomeKind.ACCEPTED]
    failed = [one for one in results if one.outcome.kind != OutcomeKind.ACCEPTED]
    with db.atomic():
        news = outage.record_calls(
            (one.message.phone_number_id, one.outcome, one.at) for one in results
        )
        attempts = [_failed_attempt(one, news) for one in failed]
        free_conversation.release(_freed(accepted, zip(failed, attempts, strict=True), news))
        told = dict(fetch_bulk(ACCEPT_MESSAGES, [_accepted_message(one) for one in accepted]))
        execute_bulk(RECORD_FAILED_ATTEMPTS, attempts)
    ids = [one.message.id for one in accepted]
    return Recorded(news, [id_ for id_ in ids if told.get(id_, True)])


def next_step(message: Attempted, outcome: Outcome, is_away: bool = False) -> NextStep:
    """The state after what Meta did not accept.

    `is_away`: Meta is, and no number of attempts is too many.
    """
    if service_window.wants_fallback(message.has_fallback, outcome.error):
        return NextStep(Status.QUEUED, delay=0)
    if outcome.kind == OutcomeKind.RETRY:
        return _retry(message.attempts, outcome.delay or 0, is_away)
    if outcome.kind == OutcomeKind.UNKNOWN:
        return NextStep(Status.UNKNOWN, delay=settings.UNKNOWN_GRACE_SECONDS)
    if outcome.kind == OutcomeKind.HELD:
        return NextStep(Status.HELD, _hold_reason(message, outcome))
    return NextStep(Status(outcome.kind))


def _retry(attempts: int, at_least: float, is_away: bool) -> NextStep:
    if is_away:
        return NextStep(Status.QUEUED, delay=at_least)
    delay = retry_delay(attempts)
    if delay is None:
        return NextStep(Status.FAILED)
    return NextStep(Status.QUEUED, delay=max(at_least, delay))


def _hold_reason(message: Attempted, outcome: Outcome) -> HoldReason:
    if message.batch_id and outcome.scope in ('bulk', 'template'):
        return HoldReason.BATCH
    return HoldReason.TEMPLATE if outcome.scope == 'template' else HoldReason.ACCOUNT


def tries_entry(attempts: int, outcome: Outcome, at: datetime | None) -> dict[str, Any]:
    """An entry of the message's `tries`."""
    return {
        'attempt': attempts,
        'at': at and to_rfc3339(at),
        'outcome': outcome.kind,
        'code': outcome.code,
        'title': outcome.error['title'] if outcome.error else None,
    }


def _accepted_message(result: SendResult) -> AcceptedMessage:
    outcome = result.outcome
    answer = awaited_answer.kept(result.message.wants_answer, outcome.answer)
    country = None
    if (result.message.extra or {}).get('recipient_type') != 'group':
        country = country_of(outcome.wa_id or result.message.recipient_to)
    return AcceptedMessage(
        result.message.id, outcome.wamid, outcome.wa_id, result.at, answer, country
    )


def _suffers(result: SendResult, news: outage.News) -> bool:
    """Whether a call failed because Meta is away."""
    is_away = news.is_away(result.message.phone_number_id)
    return result.outcome.tells_of_meta is False and is_away


def _failed_attempt(result: SendResult, news: outage.News) -> FailedAttempt:
    message, outcome = result.message, result.outcome
    suffers = _suffers(result, news)
    step = next_step(message, outcome, suffers)
    return FailedAttempt(
        id=message.id,
        lease_ends=message.lease_ends,
        status=step.status,
        hold_reason=step.hold_reason,
        delay=step.delay,
        error=outcome.error,
        entry=tries_entry(message.attempts, outcome, result.at),
        use_fallback=service_window.wants_fallback(message.has_fallback, outcome.error),
        uncounted=suffers and outcome.kind == OutcomeKind.RETRY,
        meta_answer=awaited_answer.kept(message.wants_answer, outcome.answer),
    )


def _wait_behind(result: SendResult, attempt: FailedAttempt, news: outage.News) -> float | None:
    """Seconds that the others of a conversation wait behind a message, None when they do not.

    They wait in order behind a message that is tried again. In an outage they also wait behind an
    unknown message: they will all be sent after it.
    """
    if attempt.delay is not None:
        if attempt.status == Status.UNKNOWN and _suffers(result, news):
            return outage.wait_behind(attempt.delay)
        if attempt.status == Status.QUEUED and result.outcome.blocks_conversation:
            return attempt.delay
    return None


def _freed(
    accepted: Iterable[SendResult],
    failed: Iterable[tuple[SendResult, FailedAttempt]],
    news: outage.News,
) -> list[FreeConversation]:
    freed: dict[str, FreeConversation] = {}
    for result in accepted:
        _freed_by(result.message, freed).accepted_at = result.at
    for result, attempt in failed:
        _freed_by(result.message, freed).delay = _wait_behind(result, attempt, news)
    return list(freed.values())


def _freed_by(message: ClaimedMessage, freed: dict[str, FreeConversation]) -> FreeConversation:
    id_, lease_ends = message.conversation_id, message.lease_ends
    conversation = freed.setdefault(id_, FreeConversation(id_, lease_ends))
    conversation.lease_ends = max(conversation.lease_ends, lease_ends)
    return conversation
