"""Asks the responders of customers who wait for a reply."""

import logging
import time
from collections.abc import Callable, Sequence
from functools import cache, partial

from service.conversations import reply_queue
from service.conversations.conversation import LIMITED
from service.conversations.reply_outcome import STALE
from service.conversations.reply_queue import ClaimedReply
from service.messages import read_receipt
from service.replies.question import Question, read_questions
from service.replies.reply_failure import NoReply
from service.runtime import metrics, tracing
from service.runtime.db import connection, db, execute
from service.runtime.durability import MAKE_SEEN_DURABLE
from service.runtime.errors import Invalid
from service.runtime.queues import ERRANDS, wake
from workers import responder
from workers.pool import WorkerPool
from workers.reply_results import Answer, Ask, record
from workers.thread_shares import ThreadShares

log = logging.getLogger(__name__)

# Asks under way in one process: threads that wait cost little, and of them one quick account alone
# may hold almost half.
THREADS = 480
# Claims of one reply. Retries end earlier, so after that many something ends the workers that ask,
# or no outcome of theirs can be stored.
MAX_CLAIMS = 10
# Seconds, renewed while the responder thinks: what a dead worker asked is soon asked again.
LEASE = 12
RENEW_TYPING = read_receipt.TYPING_SECONDS - 7  # seconds: looked at every LEASE / 4, and told later
# Why nobody is asked (ClaimedReply.refusal).
REFUSALS = {'stale': STALE, 'limited': LIMITED}


class Replies:
    """This process's pool of THREADS, which ask responders."""

    def __init__(self) -> None:
        self.pool = WorkerPool(THREADS, self.ask, record)
        self.shares = ThreadShares(THREADS)
        self.renewed = time.monotonic()

    def step(self) -> int:
        """Ask for as many replies as may be asked for now; returns how many."""
        self._renew()
        free = self.pool.free
        if not free:
            return 0
        in_flight = [ask.reply for ask in self.pool.in_flight()]
        shares, other_share = self.shares.open_to(in_flight)
        claim = partial(reply_queue.claim, max(1, free // 4), LEASE, shares, other_share)
        asks = _claim_with_questions(claim)
        self.pool.submit(asks)
        _ask_for_receipts([ask.reply for ask in asks if not ask.reply.refusal])
        return len(asks)

    def _renew(self) -> None:
        """Keep what is asked ours, and the business typing where its account wants that."""
        now = time.monotonic()
        asked = [ask.reply for ask in self.pool.in_flight()]
        if not asked or now - self.renewed <= LEASE / 4:
            return
        self.renewed = now
        held = reply_queue.renew_leases(asked, LEASE)
        still = [reply for reply in asked if reply.key in held and reply.terms.is_typing]
        fading = [reply for reply in still if now - reply.typing_at > RENEW_TYPING]
        for reply in fading:
            reply.typing_at = now
        _ask_for_receipts(fading)

    def ask(self, ask: Ask) -> Answer:
        """What the responder wants to be sent, or why there is nothing of it."""
        reply = ask.reply
        if reply.refusal:
            return NoReply(REFUSALS[reply.refusal], final=True)
        if reply.attempts > MAX_CLAIMS:
            return NoReply(f'no outcome of {MAX_CLAIMS} asks could be stored')
        began = time.monotonic()
        outcome = 'failed'
        try:
            with tracing.row_span('ask responder', reply.id):
                answer = responder.ask(ask.question or _read_alone(reply))
            outcome = 'answered'
            return answer
        except (NoReply, Invalid) as reason:
            return reason
        finally:
            seconds = time.monotonic() - began
            metrics.responder_calls.labels(outcome).observe(seconds)
            self.shares.ended(reply.chatbot_id, seconds)


def _ask_for_receipts(replies: Sequence[ClaimedReply]) -> None:
    if read_receipt.ask_before_replies(replies):
        wake(ERRANDS)


def _claim_with_questions(claim: Callable[[], Sequence[ClaimedReply]]) -> list[Ask]:
    """Read all questions at once. If that fails, each thread reads its own, and may fail alone.

    A responder is told ids of messages that others may have stored with commits that wait for
    nothing. They are read before the commit of the claim, which waits for those, too: so after a
    crash of PostgreSQL they are the same.
    """
    try:
        with db.atomic():
            replies = claim()
            asked = [reply for reply in replies if not reply.refusal]
            found = read_questions(asked) if asked else []
        questions = {reply.id: question for reply, question in zip(asked, found, strict=True)}
        return [Ask(reply, questions.get(reply.id)) for reply in replies]
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
