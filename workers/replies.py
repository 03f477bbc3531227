"""Asks the responders of customers who wait for a reply, and queues what they answer."""

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache, partial
from typing import Any

from service.conversations import reply_queue
from service.conversations.reply_queue import ClaimedReply, ReplyError, ReplyOutcome
from service.messages import read_receipt
from service.replies.question import Question, read_questions
from service.replies.reply_failure import NoReply
from service.replies.responder_answer import ResponderAnswer
from service.runtime.db import LOCKED, connection, db, execute, passes, sqlstate
from service.runtime.durability import MAKE_SEEN_DURABLE, worked_out_again
from service.runtime.errors import Invalid
from service.runtime.queues import ERRANDS, SEND, retry_delay, wake
from service.runtime.untrusted import clean
from service.sending import submit
from service.sending.submit import PreparedReply
from workers import responder
from workers.pool import Unrecordable, WorkerPool
from workers.thread_shares import ThreadShares

log = logging.getLogger(__name__)

EXPECTED = (NoReply, Invalid, Unrecordable)  # reasons whose text may be shown
THREADS = 64  # asks under way in one process
# Claims of one reply. Retries end earlier, so after that many something ends the workers that ask,
# or no outcome of theirs can be stored.
MAX_CLAIMS = 10
# After the customer's message: no server that asks to be asked later is waited for any longer.
PATIENCE = timedelta(minutes=10)
# Seconds, renewed while the responder thinks: what a dead worker asked is soon asked again.
LEASE = 12

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


class Replies:
    """This process's pool of THREADS, which ask responders."""

    def __init__(self) -> None:
        self.pool = WorkerPool(THREADS, self.ask, record)
        self.shares = ThreadShares(THREADS)
        self.renewed = time.monotonic()

    def step(self) -> int:
        """Ask for as many replies as may be asked for now; returns how many."""
        self._renew_leases()
        free = self.pool.free
        if not free:
            return 0
        in_flight = [ask.reply for ask in self.pool.in_flight()]
        shares, other_share = self.shares.open_to(in_flight)
        claim = partial(reply_queue.claim, max(1, free // 4), LEASE, shares, other_share)
        asks = _claim_with_questions(claim)
        self.pool.submit(asks)
        if read_receipt.ask_before_replies(ask.reply for ask in asks):
            wake(ERRANDS)
        return len(asks)

    def _renew_leases(self) -> None:
        asked = [ask.id for ask in self.pool.in_flight()]
        if asked and time.monotonic() - self.renewed > LEASE / 4:
            self.renewed = time.monotonic()
            reply_queue.renew_leases(asked, LEASE)

    def ask(self, ask: Ask) -> Answer:
        """What the responder wants to be sent, or why there is nothing of it."""
        if ask.reply.attempts > MAX_CLAIMS:
            return NoReply(f'no outcome of {MAX_CLAIMS} asks could be stored')
        began = time.monotonic()
        try:
            return responder.ask(ask.question or _read_alone(ask.reply))
        except (NoReply, Invalid) as reason:
            return reason
        finally:
            self.shares.ended(ask.reply.chatbot_id, time.monotonic() - began)


def _claim_with_questions(claim: Callable[[], Sequence[ClaimedReply]]) -> list[Ask]:
    """Read all questions at once. If that fails, each thread reads its own, and may fail alone.

    A responder is told ids of messages that others may have stored with commits that wait for
    nothing. They are read before the commit of the claim, which waits for those, too: so after a
    crash of PostgreSQL they are the same.
    """
    try:
        with db.atomic():
            replies = claim()
            questions = read_questions(replies) if replies else []
        return [Ask(*pair) for pair in zip(replies, questions, strict=True)]
    except Exception as error:
        log.error('questions are read one by one', exc_info=error)
    return [Ask(reply, None) for reply in claim()]


def _read_alone(reply: ClaimedReply) -> Question:
    with connection():
        (question,) = read_questions([reply])
        execute(MAKE_SEEN_DURABLE)
    return question


@cache
def replies_of_this_process() -> Replies:
    """Made at the first drain, after which it lives as long as the process."""
    return Replies()


def close(timeout: float) -> bool:
    """Let what is asked be answered and recorded; True when nothing is left."""
    if replies_of_this_process.cache_info().currsize == 0:
        return True
    is_done: bool = replies_of_this_process().pool.close(timeout)
    return is_done


@worked_out_again()
def record(batch: Sequence[tuple[Ask, Answer]]) -> None:
    """End the claims and queue the answers of those that were still held, in one transaction."""
    outcomes = [_outcome(ask.reply, answer) for ask, answer in batch]
    with db.atomic():
        held = reply_queue.record(outcomes)
        answers = [
            PreparedReply(ask.reply.chatbot_id, ask.reply.id, answer.messages, answer.usage)
            for ask, answer in batch
            if ask.reply.key in held and isinstance(answer, ResponderAnswer) and answer.messages
        ]
        if answers:
            submit.queue_replies(answers)
    if answers:
        wake(SEND)
    for (ask, answer), outcome in zip(batch, outcomes, strict=True):
        _log(ask.reply, answer, outcome, ask.reply.key in held)


def _outcome(reply: ClaimedReply, answer: Answer) -> ReplyOutcome:
    """What is written of a reply: when it failed, the error and the next attempt."""
    outcome = ReplyOutcome(reply.id, reply.claim, reply.due_at)
    if isinstance(answer, Exception):
        outcome.delay, outcome.is_counted = _next_attempt(reply, answer)
        attempts = reply.attempts if outcome.is_counted else reply.attempts - 1
        outcome.error = _error(answer, attempts, is_final=outcome.delay is None)
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

    It was none when PostgreSQL was away. Nor when a busy server has said when it wants to be asked
    again: then it is asked at that time, but no customer waits for longer than PATIENCE for that.
    """
    if passes(reason) and sqlstate(reason) not in LOCKED:
        return retry_delay(1), False
    if isinstance(reason, NoReply) and reason.final:
        return None, True
    wait = (isinstance(reason, NoReply) and reason.wait) or 0
    if wait and _is_patient(reply):
        return max(wait, 1), False
    delay = retry_delay(reply.attempts)
    return delay and max(delay, wait), True


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


def _log(reply: ClaimedReply, answer: Answer, outcome: ReplyOutcome, is_held: bool) -> None:
    fields: dict[str, Any] = {'conversation_id': reply.id, 'chatbot_id': reply.chatbot_id}
    if isinstance(answer, Exception):
        fields['outcome'] = 'failed' if outcome.delay is None else 'retry'
        log.warning('reply', extra=fields | {'reason': _title(answer)})
    else:
        fields['outcome'] = 'queued' if is_held else 'late'
        log.info('reply', extra=fields | {'messages': len(answer.messages)})
