"""Sends the messages that are due: within each number's rate, in order within a conversation."""

import logging
import time
from collections import Counter, defaultdict
from contextlib import suppress
from datetime import UTC, datetime
from functools import cache

from peewee import PeeweeException

from service.content.graph_body import graph_body
from service.conversations import identity
from service.graph import outage
from service.graph.client import GraphClient
from service.graph.outcome import Outcome, OutcomeKind, make_error
from service.media import inbound_file, meta_upload
from service.messages import echo, read_receipt
from service.runtime import encryption, metrics, timetable, tracing
from service.runtime.config import settings
from service.runtime.db import CONNECTION_LOST, connection, db, reason
from service.runtime.logs import mask
from service.runtime.queues import ERRANDS, SEND, wake
from service.sending import delivery_status, dispatch, escalation, holds, send_outcome, takeover
from service.sending.dispatch import ClaimedMessage, SendableAccount
from service.sending.escalation import SendFailure
from service.sending.rate_limit import RateLimiter, RateRequest, scope_keys
from service.sending.send_outcome import SendResult
from service.webhooks import identity_claims
from workers import loop
from workers.pool import Unrecordable, WorkerPool
from workers.send_files import RETRY_AFTER_SECONDS, Attacher

log = logging.getLogger(__name__)
Granted = dict[str, int]  # by phone_number_id: how many messages it may send now


class Sender:
    """This process's threads for sending, its share of the rates, its connections to Meta."""

    def __init__(self) -> None:
        threads = settings.SEND_CONCURRENCY
        self.batch = max(1, threads // 3)  # free places that are worth a claim
        self.pool = WorkerPool(threads, self.call, record, prefetch=self.batch - 1)
        # A message may wait for a thread as long as a call takes. In seconds.
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
        messages = dispatch.claim(quota, self.lease) if quota else []
        messages += self._probes(accounts, granted)
        self._release_unused(accounts, granted, messages)
        # Also accounts whose messages all wait for their conversations: else they would be first
        # for ever.
        self.served |= dict.fromkeys(quota, now)
        meta_upload.attach_files(messages)
        tokens = {account.chatbot_id: account.access_token for account in accounts}
        for message in messages:
            message.access_token = tokens[message.chatbot_id]
            message.claimed_at = now
            message.leased_until = now + self.lease
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

    def _probes(self, accounts: list[SendableAccount], granted: Granted) -> list[ClaimedMessage]:
        """The message that goes as a probe of each scope that is away."""
        scopes = defaultdict(list)
        for account in accounts:
            if account.away and granted[account.phone_number_id]:
                scopes[account.away].append(account.chatbot_id)
        probes = []
        for scope, chatbots in scopes.items():
            probes += dispatch.probe(scope, chatbots, self.lease)
        return probes

    def _release_unused(
        self, accounts: list[SendableAccount], granted: Granted, messages: list[ClaimedMessage]
    ) -> None:
        claimed = Counter(message.chatbot_id for message in messages)
        for account in accounts:
            number = account.phone_number_id
            self.rate_limiter.release(number, granted[number] - claimed[account.chatbot_id])

    def notice(self, news: outage.News) -> None:
        """Postpone what was claimed before an outage and still waits for a thread."""
        now = time.monotonic()
        self.away |= {streak.scope: now for streak in news.began}

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
        if _is_taken_over(message):
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


def record(batch: list[tuple[ClaimedMessage, SendResult | Exception]]) -> None:
    """Release the messages that were postponed, write the outcomes of all others."""
    results = [_result_of(message, result) for message, result in batch]
    postponed = [one.message for one in results if one.outcome.kind == OutcomeKind.POSTPONED]
    dispatch.release_claims(postponed, RETRY_AFTER_SECONDS)
    called = [one for one in results if one.outcome.kind != OutcomeKind.POSTPONED]
    if called:
        _record(called)


def _result_of(message: ClaimedMessage, result: SendResult | Exception) -> SendResult:
    """The result of a call, also where an exception stands in its place."""
    if isinstance(result, SendResult):
        return result
    if isinstance(result, Unrecordable):
        error = make_error(str(result), cause='not_recorded')
        return SendResult(message, Outcome(OutcomeKind.FAILED, error=error), datetime.now(UTC))
    error = make_error(f'internal error ({type(result).__name__})', cause='internal')
    return SendResult(message, Outcome(OutcomeKind.UNKNOWN, error=error), datetime.now(UTC))


def _record(results: list[SendResult]) -> None:
    """Write outcomes, join statuses that were faster, escalate failures; log a line for each."""
    accepted = [one for one in results if one.outcome.kind == OutcomeKind.ACCEPTED]
    with db.atomic():
        recorded = send_outcome.record(results)
        failures = _join_statuses(recorded.early)
        failures += [_failure(one) for one in results if one.outcome.error]
        escalation.apply(failures)
    for result in results:
        metrics.send_attempts.labels(result.outcome.kind).inc()
        _log(result)
    _tell_of_outages(recorded.news)
    _link_identities(accepted)


def _tell_of_outages(news: outage.News) -> None:
    """Tell this process and the waiting work of outages that began or ended.

    The results are written already: an error here makes the outage less smooth, no more.
    """
    sender().notice(news)
    with suppress(PeeweeException):
        outage.apply_news(news)
        for streak in news.ended:
            number = None if streak.scope == outage.ALL else streak.phone_number_id
            inbound_file.resume_number(number)
            read_receipt.retry_failed(number)
    if news.ended:
        wake(SEND)
        wake(ERRANDS)


def _link_identities(accepted: list[SendResult]) -> None:
    """Note which ids Meta's answers name as one person's.

    If that is lost with this process, or with the database, statuses tell it again.
    """
    claims = [identity_claims.of_answer(one.message, one.outcome, one.at) for one in accepted]
    found = [claim for claim in claims if claim]
    if not found:
        return
    try:
        identity.link(found, holds.resolve_conflict)
    except PeeweeException as error:
        told = {'reason': reason(error)}
        log.warning('what answers tell of people was not noted', extra=told)


def _join_statuses(early: list[str]) -> list[SendFailure]:
    """Join what Meta told of messages before their wamids were written; the failures among it."""
    if not early:
        return []
    echo.delete_duplicates(early)
    return delivery_status.join_orphans(early)[1]


def _failure(result: SendResult) -> SendFailure:
    message = result.message
    return SendFailure(
        chatbot_id=message.chatbot_id,
        phone_number_id=message.phone_number_id,
        outcome=result.outcome,
        batch_id=message.batch_id,
        access_token=message.access_token,
        conversation_id=message.conversation_id,
        at=result.at,
    )


def _log(result: SendResult) -> None:
    message = result.message
    outcome = result.outcome
    line = {
        'message_id': message.id,
        'chatbot_id': message.chatbot_id,
        'outcome': outcome.kind,
        'attempt': message.attempts,
        'to': mask(message.recipient_to or message.recipient),
        'ms': result.milliseconds,
    }
    if outcome.error:
        line |= {'code': outcome.error['code'], 'title': outcome.error['title']}
    is_accepted = outcome.kind == OutcomeKind.ACCEPTED
    log.log(logging.INFO if is_accepted else logging.WARNING, 'send', extra=line)
