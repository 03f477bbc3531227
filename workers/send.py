"""Sends the messages that are due: within each number's rate, in order within a conversation."""

import logging
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from functools import cache

from service.content.graph_body import graph_body
from service.graph import outage
from service.graph.client import GraphClient
from service.graph.outcome import Outcome, OutcomeKind, make_error
from service.media import meta_upload
from service.runtime import encryption, timetable, tracing
from service.runtime.config import settings
from service.runtime.db import CONNECTION_LOST, connection
from service.runtime.queues import SEND, wake
from service.sending import dispatch, outage_probe, takeover
from service.sending.dispatch import ClaimedMessage, SendableAccount
from service.sending.rate_limit import RateLimiter, RateRequest, scope_keys
from service.sending.send_outcome import SendResult
from workers import loop, send_results
from workers.pool import WorkerPool
from workers.send_files import Attacher

log = logging.getLogger(__name__)
Granted = dict[str, int]  # by phone_number_id: how many messages it may send now


class Sender:
    """This process's threads for sending, its share of the rates, its connections to Meta."""

    def __init__(self) -> None:
        threads = settings.SEND_CONCURRENCY
        self.batch = max(1, threads // 3)  # free places that are worth a claim
        self.pool = WorkerPool(threads, self.call, self.record, prefetch=self.batch - 1)
        # Seconds. A message may wait for a thread as long as a call takes; after half of them it
        # is given back.
        self.lease = 2 * settings.GRAPH_TIMEOUT + 10
        self.graph = GraphClient(threads)
        self.attacher = Attacher(self.graph, self.lease)
        self.rate_limiter = RateLimiter()
        # In monotonic seconds: when an account (chatbot_id) had its last turn, and when this
        # process learned that a scope is away.
        self.served: dict[str, float] = {}
        self.away: dict[str, float] = {}

    def step(self) -> int:
        """Claim as many messages as places are free and rates allow; returns how many."""
        accounts = dispatch.sendable_accounts()
        accounts.sort(key=lambda account: self.served.get(account.chatbot_id, 0))
        messages = self._claim(accounts) if accounts else []
        self.pool.submit(messages)
        if messages and not self.pool.free:
            wake(SEND)  # another worker: this one has all it can take, and there is more
        return len(messages)

    def _claim(self, accounts: list[SendableAccount]) -> list[ClaimedMessage]:
        """Claim messages of accounts that are given in the order of their turns."""
        now = time.monotonic()
        share = -(-self.pool.free // len(accounts))
        granted = self.rate_limiter.acquire(
            {account.phone_number_id: _request(account, share) for account in accounts}
        )
        quota = self._quota(accounts, granted)
        # Also accounts whose messages all wait for their conversations: else they would be first
        # for ever.
        self.served |= dict.fromkeys(quota, now)
        messages = dispatch.claim(quota, self.lease) if quota else []
        try:
            messages += self._probes(accounts, granted)
            meta_upload.attach_files(messages)
        except Exception:
            dispatch.release_claims(messages)  # else they would wait for the end of their leases
            raise
        self._release_unused(accounts, granted, messages)
        tokens = {account.chatbot_id: account.access_token for account in accounts}
        for message in messages:
            message.access_token = tokens[message.chatbot_id]
            message.claimed_at = now
            message.begin_by = now + self.lease / 2
        return messages

    def _quota(self, accounts: list[SendableAccount], granted: Granted) -> dict[str, int]:
        """How many messages to claim of each account (chatbot_id) that is not away."""
        free = self.pool.free
        quota = {}
        for account in accounts:
            count = min(granted[account.phone_number_id], free)
            if count and not account.away:
                quota[account.chatbot_id] = count
                free -= count
        return quota

    def _probes(
        self, accounts: list[SendableAccount], granted: Granted
    ) -> Iterator[ClaimedMessage]:
        """The message that goes as a probe of each scope that is away."""
        scopes = defaultdict(list)
        for account in accounts:
            if account.away and granted[account.phone_number_id]:
                scopes[account.away].append(account.chatbot_id)
        for scope, chatbots in scopes.items():
            yield from outage_probe.claim(scope, chatbots, self.lease)

    def _release_unused(
        self, accounts: list[SendableAccount], granted: Granted, messages: list[ClaimedMessage]
    ) -> None:
        claimed = Counter(message.chatbot_id for message in messages)
        for account in accounts:
            number = account.phone_number_id
            self.rate_limiter.release(number, granted[number] - claimed[account.chatbot_id])

    def record(self, batch: list[tuple[ClaimedMessage, SendResult | Exception]]) -> None:
        """Write what became of calls; postpone what waits for a thread since before an outage.

        That comes before all others are told: each thread would make one more call meanwhile.
        """
        news = send_results.record(batch)
        now = time.monotonic()
        self.away |= {streak.scope: now for streak in news.began}
        send_results.tell_of_outages(news)

    def _was_claimed_before_outage(self, message: ClaimedMessage) -> bool:
        scopes = (outage.ALL, outage.scope_of(message.phone_number_id))
        return any(message.claimed_at < self.away.get(scope, 0) for scope in scopes)

    def call(self, message: ClaimedMessage) -> SendResult:
        """One Graph call, on a thread of the pool, without a database connection."""
        began = time.perf_counter()
        with tracing.row_span('send message', message.id):
            outcome = self._send(message)
        milliseconds = round((time.perf_counter() - began) * 1000)
        return SendResult(message, outcome, datetime.now(UTC), milliseconds)

    def _send(self, message: ClaimedMessage) -> Outcome:
        if self._was_claimed_before_outage(message):
            return Outcome(OutcomeKind.POSTPONED)
        if message.expires_at and message.expires_at <= datetime.now(UTC):
            return Outcome(OutcomeKind.EXPIRED)
        try:
            token = encryption.decrypt(message.access_token) or ''
        except encryption.DecryptionError as error:
            return Outcome(OutcomeKind.HELD, error=make_error(str(error), cause='undecryptable'))
        if message.ask_first and not self.graph.answers(message.phone_number_id, token):
            return Outcome(OutcomeKind.POSTPONED)
        if message.files:
            return self.attacher.send(message, token)
        if _is_taken_over(message) or message.is_late:
            return Outcome(OutcomeKind.POSTPONED)
        return self.graph.send(message.phone_number_id, token, graph_body(message))


def _is_taken_over(message: ClaimedMessage) -> bool:
    """Whether a person speaks in its conversation now, or nobody knows."""
    try:
        return takeover.is_taken_over(message)
    except loop.AWAY:
        return True


def _request(account: SendableAccount, share: int) -> RateRequest:
    own_app = account.chatbot_id if account.own_app else None
    brakes = scope_keys(account.phone_number_id, account.waba_id, own_app)
    wanted = 1 if account.away else share
    return RateRequest(account.max_mps or settings.SEND_RATE, wanted, brakes)


@cache
def sender() -> Sender:
    """Made at the first drain, after which it lives as long as the process."""
    return Sender()


def drain() -> None:
    """The job of the send queue."""
    one = sender()
    loop.drain(SEND, one.step, one.pool, enough=one.batch, departures=timetable.SEND)


def close(timeout: float) -> bool:
    """Release what no thread has begun with; let the rest finish and be recorded.

    False when `timeout` seconds were not enough for that.
    """
    if sender.cache_info().currsize == 0:
        return True
    end = time.monotonic() + timeout
    with suppress(*CONNECTION_LOST), connection():  # else the leases see to it
        dispatch.release_claims(sender().pool.cancel_queued())
    return bool(sender().pool.close(end - time.monotonic()))
