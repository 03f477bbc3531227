"""Customers who wait → replies: responders are asked on threads of their own, what they say becomes
messages.
"""

import logging
import time
from datetime import UTC, datetime, timedelta
from functools import cache

from service.accounts.account import Account
from service.conversations import conversation
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
MOST_CLAIMS = (
    10  # of one reply; more than are ever tried, so something ends or hinders the workers that ask
)
PATIENCE = timedelta(
    minutes=10
)  # after the customer's message, for a server that asks to be asked later
LEASE = (
    12  # seconds, renewed while the responder thinks: what a dead worker asked is asked again soon
)


class Replies:
    """This process's pool of THREADS, which ask responders."""

    def __init__(self):
        self.pool = WorkerPool(THREADS, self.ask, record)
        self.shares = ThreadShares(THREADS)
        self.renewed = time.monotonic()

    def step(self):
        """Ask for as many as may be asked for now; returns how many."""
        self._renew_leases()
        free = self.pool.free
        if not free:
            return 0
        shares, share = self.shares.open_to(self.pool.in_flight())
        now = time.monotonic()
        rows = conversation.claim_replies(max(1, free // 4), LEASE, shares, share)
        self.pool.submit([row | {'asked_at': now} for row in rows])
        if read_receipt.ask_before_replies(rows):
            wake(ERRANDS)
        return len(rows)

    def _renew_leases(self):
        if time.monotonic() - self.renewed > LEASE / 4:
            self.renewed = time.monotonic()
            conversation.renew_leases([row['id'] for row in self.pool.in_flight()], LEASE)

    def ask(self, row):
        if row['reply_attempts'] > MOST_CLAIMS:
            return NoReply(f'no outcome of {MOST_CLAIMS} asks could be stored')
        began = time.monotonic()
        try:
            return ask(row)
        except (NoReply, Invalid) as reason:
            return reason
        finally:
            self.shares.ended(row['chatbot_id'], time.monotonic() - began)


@cache
def replies_of_this_process():
    """Made at the first drain, after which it lives as long as the process."""
    return Replies()


def close(timeout):
    """Let what is asked be answered and recorded; True when nothing is left."""
    return (
        replies_of_this_process.cache_info().currsize == 0
        or replies_of_this_process().pool.close(timeout)
    )


def record(batch):
    """Queue what responders answered, each with its conversation's claim in one transaction."""
    for row, result in batch:
        if isinstance(result, Exception):
            _give_up_or_retry(row, result)
        else:
            _queue(row, result)


def _queue(row, messages):
    with db.atomic():
        queued = conversation.reply_done(row)
        account = Account.find(row['chatbot_id'])
        if queued and messages:
            submit.queue_reply(account, row['id'], messages)
    if queued and messages:
        wake(SEND)
    log.info(
        'reply',
        extra={
            'conversation_id': row['id'],
            'chatbot_id': row['chatbot_id'],
            'outcome': 'queued' if queued else 'late',
            'messages': len(messages),
        },
    )


def _next_attempt(row, reason):
    """(seconds until the next ask, None when there is none, whether this one counts).

    A server that says when it wants to be asked again is asked then, and it was no attempt; but no
    customer waits for longer than PATIENCE because of that. Nor is it the responder's failure that
    PostgreSQL was away.
    """
    if passes(reason) and sqlstate(reason) not in LOCKED:
        return retry_delay(1), False
    if isinstance(reason, NoReply) and reason.final:
        return None, True
    wait = (isinstance(reason, NoReply) and reason.wait) or 0
    if wait and row['last_inbound_at'] and row['last_inbound_at'] + PATIENCE > datetime.now(UTC):
        return max(wait, 1), False
    delay = retry_delay(row['reply_attempts'])
    return delay and max(delay, wait), True


def _shortened(errors):
    """The first of them: a responder's answer has as many fields as it likes, with names as long."""
    return {clean(name, 100): messages[:5] for name, messages in list(errors.items())[:20]}


def _give_up_or_retry(row, reason):
    delay, is_counted = _next_attempt(row, reason)
    attempts = row['reply_attempts'] - (not is_counted)
    title = (
        str(reason) if isinstance(reason, EXPECTED) else f'internal error ({type(reason).__name__})'
    )
    error = {'title': title, 'attempts': attempts, 'final': delay is None}
    error |= {'details': reason.details} if isinstance(reason, NoReply) and reason.details else {}
    error |= {'errors': _shortened(reason.errors or {})} if isinstance(reason, Invalid) else {}
    conversation.reply_failed(row, delay, error, is_counted)
    log.warning(
        'reply',
        extra={
            'conversation_id': row['id'],
            'chatbot_id': row['chatbot_id'],
            'outcome': 'failed' if delay is None else 'retry',
            'reason': title,
        },
    )
