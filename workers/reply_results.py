"""What came of asks: claims end, what is to be sent is queued, and the log tells of it."""

import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from service.accounts import responder_state
from service.accounts.account import Account
from service.accounts.responder_state import ResponderNews
from service.conversations import reply_outcome
from service.conversations.reply_outcome import (
    LOOP,
    RecordedReply,
    ReplyError,
    ReplyOutcome,
    Verdict,
)
from service.conversations.reply_queue import Claim, ClaimedReply
from service.replies.question import Question
from service.replies.reply_failure import NoReply
from service.replies.responder_answer import ResponderAnswer
from service.runtime import metrics
from service.runtime.db import LOCKED, db, passes, sqlstate
from service.runtime.durability import worked_out_again
from service.runtime.errors import Invalid
from service.runtime.queues import SEND, retry_delay, wake
from service.runtime.untrusted import clean
from service.sending import submit
from service.sending.submit import PreparedReply
from workers.pool import Unrecordable
from workers.responder import addressed

log = logging.getLogger(__name__)

EXPECTED = (NoReply, Invalid, Unrecordable)  # reasons whose text may be shown
# After the customer's message: no server that asks to be asked later is waited for any longer.
PATIENCE = timedelta(minutes=10)
PATIENT_SECONDS = 0.3  # that an answer waits for webhooks of its customer that nobody has read yet
LOOK_AGAIN_SECONDS = 0.03

Answer = ResponderAnswer | Exception


@dataclass(frozen=True, slots=True)
class Ask:
    """A claimed reply and its question, None when it could not be read with the others."""

    reply: ClaimedReply
    question: Question | None

    @property
    def id(self) -> str:
        """Of the conversation, as the pool wants it."""
        return self.reply.id


@dataclass(frozen=True, slots=True)
class Result:
    """An ask, what was answered to it, and what is written of it."""

    reply: ClaimedReply
    answer: Answer
    outcome: ReplyOutcome


@worked_out_again()
def record(batch: Sequence[tuple[Ask, Answer]]) -> None:
    """End the claims and queue what is to be sent, in one transaction.

    An answer waits a moment for webhooks in which its customer may have written again.
    """
    results = [Result(ask.reply, answer, _outcome(ask.reply, answer)) for ask, answer in batch]
    patient_until = time.monotonic() + PATIENT_SECONDS
    while pending := _record(results):
        time.sleep(LOOK_AGAIN_SECONDS)
        for result in pending:
            result.outcome.is_patient = time.monotonic() < patient_until
        results = pending


def _record(results: Sequence[Result]) -> list[Result]:
    """Record what may be recorded now; returns the others."""
    with db.atomic():
        recorded = reply_outcome.record([result.outcome for result in results])
        held = {key for key, one in recorded.items() if one.verdict == Verdict.PENDING}
        pending = [one for one in results if one.reply.key in held]
        results = [one for one in results if one.reply.key not in held]
        # the answers that are queued now are the last ones
        reply_outcome.pause_loops(one.id for one in recorded.values() if one.is_loop)
        messages = _to_send(results, recorded)
        if messages:
            submit.queue_replies(messages)
        changed = responder_state.record(filter(None, map(_news, results)))
    if messages:
        wake(SEND)
    for result in results:
        _log(result, recorded.get(result.reply.key))
        if result.reply.chatbot_id in changed:
            _log_responder_state(result)
    return pending


def _to_send(
    results: Sequence[Result], recorded: Mapping[Claim, RecordedReply]
) -> list[PreparedReply]:
    """The answers that nothing has passed by, and the texts of accounts whose responders failed."""
    messages = []
    failed = []
    for result in results:
        one = recorded.get(result.reply.key)
        if one and one.verdict == Verdict.ANSWERED and result.outcome.is_turn:
            messages += _prepared(result.reply, result.answer)
        elif one and one.falls_back:
            failed.append(result.reply)
    if failed:
        accounts = Account.find_all(reply.chatbot_id for reply in failed)
        for reply in failed:
            messages += _fallback(reply, accounts[reply.chatbot_id].fallback_text)
    return messages


def _prepared(reply: ClaimedReply, answer: Answer) -> list[PreparedReply]:
    if isinstance(answer, Exception) or not answer.messages:
        return []  # it comes later, by POST /send
    told = reply.chatbot_id, reply.id, answer.messages, reply.expires_at
    return [PreparedReply(*told, usage=answer.usage)]


def _fallback(reply: ClaimedReply, text: str | None) -> list[PreparedReply]:
    """The account's text, unless it has none any more or nothing is known that it could go to."""
    message = {'type': 'text', 'text': {'body': text}}
    try:
        answer = ResponderAnswer([addressed(message, reply.conversation)] if text else [])
    except NoReply:
        return []
    return _prepared(reply, answer)


def _news(result: Result) -> ResponderNews | None:
    """What an answer, or the end of all asks, tells of the account's responder."""
    terms, answer, outcome = result.reply.terms, result.answer, result.outcome
    if not isinstance(answer, Exception):
        is_news = terms.is_misconfigured
    else:
        is_hopeless = isinstance(answer, NoReply) and answer.is_misconfigured
        is_news = is_hopeless and outcome.delay is None
    return (
        ResponderNews(result.reply.chatbot_id, terms.saved_at, outcome.error) if is_news else None
    )


def _outcome(reply: ClaimedReply, answer: Answer) -> ReplyOutcome:
    """What is written of a reply: when it failed, the error and the next attempt."""
    outcome = ReplyOutcome(reply.id, reply.claim, reply.due_at, reply.expires_at)
    if not isinstance(answer, Exception):
        outcome.is_turn = bool(answer.messages or answer.is_later)
        return outcome
    outcome.delay, outcome.is_counted = _next_attempt(reply, answer)
    is_final = outcome.delay is None
    attempts = reply.attempts if outcome.is_counted else reply.attempts - 1
    outcome.error = _error(answer, attempts, is_final)
    outcome.may_fall_back = is_final and reply.terms.has_fallback and not reply.refusal
    return outcome


def _error(reason: Exception, attempts: int, is_final: bool) -> ReplyError:
    error: ReplyError = {'title': _title(reason), 'attempts': attempts, 'final': is_final}
    if isinstance(reason, NoReply) and reason.details:
        error['details'] = reason.details
    if isinstance(reason, Invalid):
        error['errors'] = _shortened(reason.errors or {})
    return error


def _next_attempt(reply: ClaimedReply, reason: Exception) -> tuple[float | None, bool]:
    """Seconds until the next ask, None when there is none; and whether this one was an attempt.

    It was none when nobody was asked, or PostgreSQL was away. Nor when a busy server has said when
    it wants to be asked again: then it is asked at that time, but no customer waits for longer than
    PATIENCE for that.
    """
    if reply.refusal:
        return None, False
    if passes(reason) and sqlstate(reason) not in LOCKED:
        return retry_delay(1), False
    if isinstance(reason, NoReply) and reason.final:
        return None, True
    wait = (isinstance(reason, NoReply) and reason.wait) or 0
    if wait and _is_patient(reply):
        return max(wait, 1), False
    delay = retry_delay(reply.attempts)
    if delay is None or not _is_in_time(reply, max(delay, wait)):
        return None, True
    return max(delay, wait), True


def _is_in_time(reply: ClaimedReply, delay: float) -> bool:
    """Whether an answer is wanted still when it is asked for in so many seconds."""
    asked_at = datetime.now(UTC) + timedelta(seconds=delay)
    return reply.expires_at is None or asked_at < reply.expires_at


def _is_patient(reply: ClaimedReply) -> bool:
    return reply.last_inbound_at is not None and reply.last_inbound_at + PATIENCE > datetime.now(
        UTC
    )


def _title(reason: Exception) -> str:
    if isinstance(reason, EXPECTED):
        return str(reason)
    return f'internal error ({type(reason).__name__})'


def _shortened(errors: dict[str, list[str]]) -> dict[str | None, list[str]]:
    """The first errors only: a responder's answer may have any number of fields, of any length."""
    return {clean(name, 100): messages[:5] for name, messages in list(errors.items())[:20]}


def _log(result: Result, recorded: RecordedReply | None) -> None:
    reply, answer, outcome = result.reply, result.answer, result.outcome
    fields: dict[str, Any] = {'conversation_id': reply.id, 'chatbot_id': reply.chatbot_id}
    passed_by = recorded.verdict if recorded else 'late'
    if passed_by not in (Verdict.ANSWERED, Verdict.FAILED):
        fields['outcome'] = passed_by
        log.info('reply', extra=fields)
    elif isinstance(answer, Exception):
        fields['outcome'] = 'failed' if outcome.delay is None else 'retry'
        log.warning('reply', extra=fields | {'reason': _title(answer)})
    else:
        fields['outcome'] = 'queued'
        log.info('reply', extra=fields | {'messages': len(answer.messages)})
    metrics.replies.labels(fields['outcome']).inc()
    if recorded and recorded.is_loop:
        log.warning('conversation paused', extra=fields | {'by': 'loop_guard', 'reason': LOOP})
    if recorded and outcome.is_turn and recorded.turns >= reply.terms.max_turns:
        log.warning('no more replies today', extra=fields | {'turns': recorded.turns})


def _log_responder_state(result: Result) -> None:
    fields = {'chatbot_id': result.reply.chatbot_id}
    if isinstance(result.answer, Exception):
        reason = _title(result.answer)
        log.warning('the responder is misconfigured', extra=fields | {'reason': reason})
    else:
        log.info('the responder works again', extra=fields)
