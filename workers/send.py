"""Messages due → Graph API, within each number's rate, in order within a conversation."""

import logging
import time
from collections import Counter
from contextlib import suppress
from datetime import UTC, datetime
from functools import cache

from peewee import PeeweeException

from service.content.message_schema import graph_body
from service.conversations import identity
from service.graph import outage
from service.graph.client import GraphClient
from service.graph.outcome import Outcome, OutcomeKind, make_error
from service.media import inbound_file, outbound_file
from service.messages import echo, read_receipt
from service.runtime import encryption
from service.runtime.config import settings
from service.runtime.db import CONNECTION_LOST, connection, db, reason
from service.runtime.logs import mask
from service.runtime.queues import ERRANDS, SEND, wake
from service.sending import delivery_status, dispatch, escalation, holds
from service.sending.escalation import SendFailure
from service.sending.rate_limit import RateLimiter, RateRequest, scope_keys
from service.webhooks import identity_claims
from workers import loop
from workers.pool import Unrecordable, WorkerPool
from workers.send_files import AGAIN, Attacher

log = logging.getLogger(__name__)


class Sender:
    """This process's pool of SEND_CONCURRENCY threads, its share of the rates and its connections
    to Meta.
    """

    def __init__(self):
        self.batch = max(1, settings.SEND_CONCURRENCY // 3)  # free places that are worth a claim
        self.pool = WorkerPool(
            settings.SEND_CONCURRENCY, self.call, record, prefetch=self.batch - 1, batch_window=0.04
        )
        self.served = {}
        self.graph = GraphClient(settings.SEND_CONCURRENCY)
        self.rate_limiter = RateLimiter()
        self.lease = (
            2 * settings.GRAPH_TIMEOUT + 10
        )  # seconds; it may wait for a thread as long as a call lasts
        self.attacher = Attacher(self.graph, self.lease)
        self.away = {}  # scope: when this process saw that it is (monotonic seconds)

    def step(self):
        """Claim as much as places are free and rates allow; returns how many."""
        found = sorted(
            dispatch.sendable_accounts(), key=lambda row: self.served.get(row['chatbot_id'], 0)
        )
        rows = self._claim(found) if found else []
        self.pool.submit(rows)
        if rows and not self.pool.free:
            loop.more_is_due(SEND)
        return len(rows)

    def _claim(self, found):
        free = self.pool.free
        granted = self.rate_limiter.acquire(
            {row['phone_number_id']: self._request(row, -(-free // len(found))) for row in found}
        )
        quota, now = {}, time.monotonic()
        for row in found:  # in turns, the one that waited longest first
            if row['away']:
                continue
            quota[row['chatbot_id']] = min(granted[row['phone_number_id']], free)
            free -= quota[row['chatbot_id']]
        rows = (
            dispatch.claim({chatbot_id: n for chatbot_id, n in quota.items() if n}, self.lease)
            if any(quota.values())
            else []
        ) + self._probes(found, granted)
        claimed = Counter(row['chatbot_id'] for row in rows)
        for row in found:
            self.rate_limiter.release(
                row['phone_number_id'], granted[row['phone_number_id']] - claimed[row['chatbot_id']]
            )
        # also those whose messages all wait for their conversations: else they would stand first
        # for ever
        self.served |= dict.fromkeys((chatbot_id for chatbot_id, n in quota.items() if n), now)
        tokens = {row['chatbot_id']: row['access_token'] for row in found}
        outbound_file.look_up(rows)
        more = {'claimed_at': now, 'leased_until': now + self.lease}
        return [row | more | {'access_token': tokens[row['chatbot_id']]} for row in rows]

    def _probes(self, found, granted):
        """Of each scope that is away and whose probe is due the one message that goes."""
        scopes = {}
        for row in found:
            if row['away'] and granted[row['phone_number_id']]:
                scopes.setdefault(row['away'], []).append(row['chatbot_id'])
        return [
            row
            for scope, chatbots in scopes.items()
            for row in dispatch.probe(scope, chatbots, self.lease)
        ]

    @staticmethod
    def _request(row, share):
        own_app = row['chatbot_id'] if row['own_app'] else None
        brakes = scope_keys(row['phone_number_id'], row['waba_id'], own_app)
        wanted = 1 if row['away'] else share
        return RateRequest(row['max_mps'] or settings.SEND_RATE, wanted, brakes)

    def hear_of(self, news):
        """What was claimed before and waits for a thread need not learn it by itself."""
        self.away |= {streak.scope: time.monotonic() for streak in news.began}

    def _is_overtaken(self, row):
        scopes = outage.ALL, outage.scope_of(row['phone_number_id'])
        return any(row['claimed_at'] < self.away.get(scope, 0) for scope in scopes)

    def call(self, row):
        """One Graph call, on a thread of the pool, without a database connection."""
        began = time.perf_counter()
        outcome = self._send(row)
        milliseconds = round((time.perf_counter() - began) * 1000)
        return outcome, datetime.now(UTC), milliseconds

    def _send(self, row):
        if self._is_overtaken(row):
            return Outcome(OutcomeKind.POSTPONED)
        if row['expires_at'] and row['expires_at'] <= datetime.now(UTC):
            return Outcome(OutcomeKind.EXPIRED)
        try:
            token = encryption.decrypt(row['access_token'])
        except encryption.DecryptionError as error:
            return Outcome(OutcomeKind.HELD, error=make_error(str(error), cause='undecryptable'))
        if row.get('ask_first') and not self.graph.answers(row['phone_number_id'], token):
            return Outcome(OutcomeKind.POSTPONED)
        if row['files']:
            return self.attacher.send(row, token)
        return self.graph.send(row['phone_number_id'], token, graph_body(row))


@cache
def sender():
    """Made at the first drain, after which it lives as long as the process."""
    return Sender()


def drain():
    """The job of the send queue."""
    loop.drain(SEND, sender().step, sender().pool, enough=sender().batch)


def close(timeout):
    """Give back what no thread has begun with; let the rest finish and be recorded."""
    if sender.cache_info().currsize == 0:
        return True
    end = time.monotonic() + timeout
    with suppress(CONNECTION_LOST), connection():  # else the leases see to it
        dispatch.release_claims(sender().pool.cancel_queued())
    return sender().pool.close(end - time.monotonic())


def record(batch):
    """Give back what was not called for, write the outcomes of all others."""
    batch = [(row, _result_of(result)) for row, result in batch]
    postponed = [row for row, (outcome, _, _) in batch if outcome.kind == OutcomeKind.POSTPONED]
    dispatch.release_claims(postponed, AGAIN)
    if len(postponed) < len(batch):
        _record([one for one in batch if one[1][0].kind != OutcomeKind.POSTPONED])


def _result_of(result):
    """(outcome, time, milliseconds), also where an exception stands in the result's place."""
    if not isinstance(result, Exception):
        return result
    if isinstance(result, Unrecordable):
        error = make_error(str(result), cause='not_recorded')
        return Outcome(OutcomeKind.FAILED, error=error), datetime.now(UTC), None
    title = f'internal error ({type(result).__name__})'
    error = make_error(title, cause='internal')
    return Outcome(OutcomeKind.UNKNOWN, error=error), datetime.now(UTC), None


def _record(batch):
    """Write outcomes, join statuses that were faster, escalate; then log, a line each."""
    results = [(row, outcome, at) for row, (outcome, at, _) in batch]
    with db.atomic():
        news = dispatch.record(results)
        accepted = [
            row['id'] for row, outcome, _ in results if outcome.kind == OutcomeKind.ACCEPTED
        ]
        refusals = _join(accepted) if accepted else []
        escalation.apply(refusals + [_refusal(*result) for result in results if result[1].error])
    for row, (outcome, _, milliseconds) in batch:
        _log(row, outcome, milliseconds)
    _tell(news)
    _learn(results)


def _tell(news):
    """Of outages that began or ended.

    The results are written: what is lost of this makes an outage less smooth.
    """
    sender().hear_of(news)
    with suppress(PeeweeException):
        outage.tell(news)
        for streak in news.ended:
            number = None if streak.scope == outage.ALL else streak.phone_number_id
            inbound_file.resume_number(number)
            read_receipt.retry_failed(number)
    if news.ended:
        wake(SEND)
        wake(ERRANDS)


def _learn(results):
    """What Meta's answers tell of who is who.

    Lost with this process, or with the database, statuses tell it again.
    """
    told = [
        identity_claims.of_answer(row, outcome, at)
        for row, outcome, at in results
        if outcome.kind == OutcomeKind.ACCEPTED
    ]
    if told := list(filter(None, told)):
        try:
            identity.link(told, holds.resolve_conflict)
        except PeeweeException as error:
            log.warning(
                'what answers tell of people was not noted', extra={'reason': reason(error)}
            )


def _join(accepted):
    """What Meta told of them before their wamids were written; returns SendFailures."""
    echo.delete_duplicates(accepted)
    return delivery_status.join_orphans(accepted)[1]


def _refusal(row, outcome, at):
    whose = (
        row['chatbot_id'],
        row['phone_number_id'],
        outcome,
        row['batch_id'],
        row.get('access_token'),
    )
    return SendFailure(*whose, row['conversation_id'], at)


def _log(row, outcome, milliseconds):
    line = {
        'message_id': row['id'],
        'chatbot_id': row['chatbot_id'],
        'outcome': outcome.kind,
        'attempt': row['attempts'],
        'to': mask(row['recipient_to'] or row['recipient']),
        'ms': milliseconds,
    }
    if outcome.error:
        line |= {'code': outcome.error['code'], 'title': outcome.error['title']}
    log.log(
        logging.INFO if outcome.kind == OutcomeKind.ACCEPTED else logging.WARNING,
        'send',
        extra=line,
    )
