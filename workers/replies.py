"""Asks the responders of customers who wait for a reply, and queues what they answer."""

import logging
import time
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any

from service.accounts.account import Account
from service.conversations import reply_queue
from service.conversations.reply_queue import ClaimedReply, ReplyError
from service.messages import read_receipt
from service.replies.reply_failure import NoReply
from service.runtime.db import LOCKED, db, passes, sqlstate
from service.runtime.errors import Invalid
from service.runtime.queues import ERRANDS, SEND, retry_delay, wake
from service.runtime.untrusted import clean
from service.sending import submit
from workers.pool import Unrecordable, WorkerPool
from workers.responder import ask
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

Messages = list[dict[str, Any]]  # addressed bodies of POST /send
Answer = Messages | Exception


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
        shares, other_share = self.shares.open_to(self.pool.in_flight())
        replies = reply_queue.claim(max(1, free // 4), LEASE, shares, other_share)
        self.pool.submit(replies)
        if read_receipt.ask_before_replies(replies):
            wake(ERRANDS)
        return len(replies)

    def _renew_leases(self) -> None:
        if time.monotonic() - self.renewed > LEASE / 4:
            self.renewed = time.monotonic()
            reply_queue.renew_leases([reply.id for reply in self.pool.in_flight()], LEASE)

    def ask(self, reply: ClaimedReply) -> Answer:
        """What the responder wants to be sent, or why there is nothing of it."""
        if reply.attempts > MAX_CLAIMS:
            return NoReply(f'no outcome of {MAX_CLAIMS} asks could be stored')
        began = time.monotonic()
        try:
            return ask(reply)
        except (NoReply, Invalid) as reason:
            return reason
        finally:
            self.shares.ended(reply.chatbot_id, time.monotonic() - began)


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


def record(batch: list[tuple[ClaimedReply, Answer]]) -> None:
    """Queue what responders answered, each with its conversation's claim in one transaction."""
    for reply, answer in batch:
        if isinstance(answer, Exception):
            _fail(reply, answer)
        else:
            _queue(reply, answer)


def _queue(reply: ClaimedReply, messages: Messages) -> None:
    with db.atomic():
        is_ours = reply_queue.finish(reply)
        account = Account.find(reply.chatbot_id)
        if is_ours and messages:
            submit.queue_reply(account, reply.id, messages)
    if is_ours and messages:
        wake(SEND)
    outcome = 'queued' if is_ours else 'late'
    log.info('reply', extra=_log_fields(reply, outcome) | {'messages': len(messages)})


def _fail(reply: ClaimedReply, reason: Exception) -> None:
    """Plan the next attempt, or give up; the conversation shows the error."""
    delay, is_counted = _next_attempt(reply, reason)
    is_final = delay is None
    error: ReplyError = {
        'title': _title(reason),
        'attempts': reply.attempts if is_counted else reply.attempts - 1,
        'final': is_final,
    }
    if isinstance(reason, NoReply) and reason.details:
        error['details'] = reason.details
    if isinstance(reason, Invalid):
        error['errors'] = _shortened(reason.errors or {})
    reply_queue.fail(reply, delay, error, is_counted)
    outcome = 'failed' if is_final else 'retry'
    log.warning('reply', extra=_log_fields(reply, outcome) | {'reason': error['title']})


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


def _log_fields(reply: ClaimedReply, outcome: str) -> dict[str, Any]:
    return {'conversation_id': reply.id, 'chatbot_id': reply.chatbot_id, 'outcome': outcome}
