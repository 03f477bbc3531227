"""Messages due → Graph API, within each number's rate, in order within a conversation."""

import logging
import time
from contextlib import suppress
from datetime import UTC, datetime
from functools import cache

from service import account as accounts
from service import outbox, status, vault
from service.config import settings
from service.db import CONNECTION_LOST, connection, db
from service.graph import GraphClient, Outcome
from service.limits import SendBudget
from service.logs import mask
from service.payloads import graph_body
from service.queues import SEND
from workers import drain as loop

log = logging.getLogger(__name__)


class Sender:
    """This process's crew of SEND_CONCURRENCY threads, its share of the rates and its connections to Meta."""

    def __init__(self):
        self.batch = max(1, settings.SEND_CONCURRENCY // 4)  # free places that are worth a claim
        self.crew = loop.Crew(settings.SEND_CONCURRENCY, self.call, record, ahead=self.batch - 1, gather=0.04)
        self.served = {}
        self.graph = GraphClient(settings.SEND_CONCURRENCY)
        self.budget = SendBudget()
        self.lease = 2 * settings.GRAPH_TIMEOUT + 10  # seconds; it may wait for a thread as long as a call lasts

    def step(self):
        """Claim as much as places are free and rates allow; returns how many."""
        if self.crew.free < self.batch:
            loop.stopping.wait(0.01)
            return 1  # busy is not idle
        found = sorted(outbox.sendable_accounts(), key=lambda row: self.served.get(row[0], 0))
        rows = self._claim(found) if found else []
        self.crew.submit(rows)
        if rows and not self.crew.free:
            loop.more_is_due(SEND)
        return len(rows)

    def _claim(self, found):
        share = -(-self.crew.free // len(found))  # in turns, the one that waited longest first
        rates = {number: (max_mps or settings.SEND_RATE, share) for _, number, _, max_mps in found}
        granted = self.budget.take(rates)
        quota, left = {}, self.crew.free
        for chatbot_id, number, _, _ in found:
            quota[chatbot_id] = min(granted[number], left)
            self.served[chatbot_id] = time.monotonic()
            left -= quota[chatbot_id]
        rows = (
            outbox.claim({chatbot_id: n for chatbot_id, n in quota.items() if n}, self.lease)
            if any(quota.values())
            else []
        )
        self._give_back(found, granted, rows)
        tokens = {chatbot_id: token for chatbot_id, _, token, _ in found}
        return [row | {'access_token': tokens[row['chatbot_id']]} for row in rows]

    def _give_back(self, found, granted, rows):
        for chatbot_id, number, _, _ in found:
            self.budget.give_back(number, granted[number] - sum(row['chatbot_id'] == chatbot_id for row in rows))

    def call(self, row):
        """One Graph call, on a crew thread, without a database connection."""
        began = time.perf_counter()
        outcome = self._send(row)
        milliseconds = round((time.perf_counter() - began) * 1000)
        return outcome, datetime.now(UTC), milliseconds

    def _send(self, row):
        try:
            token = vault.decrypt(row['access_token'])
        except vault.Undecryptable as error:
            return Outcome('held', error={'code': None, 'title': str(error), 'details': None, 'fbtrace_id': None})
        return self.graph.send(row['phone_number_id'], token, graph_body(row))


@cache
def sender():
    """Made at the first drain, after which it lives as long as the process."""
    return Sender()


def drain():
    """The job of the send queue."""
    loop.drain(SEND, sender().step, crew=sender().crew)


def close(timeout):
    """Give back what no thread has begun with; let the rest finish and be recorded."""
    if sender.cache_info().currsize == 0:
        return True
    with suppress(CONNECTION_LOST), connection():  # else the leases see to it
        outbox.give_back(sender().crew.recall())
    return sender().crew.close(timeout)


def record(batch):
    """Write outcomes, hold the accounts that Meta refuses, join statuses that were faster; then log, a line each."""
    results = [(row, outcome, at) for row, (outcome, at, _) in batch]
    with db.atomic():
        outbox.record(results)
        accepted = [row['id'] for row, outcome, _ in results if outcome.kind == 'accepted']
        if accepted:
            status.join_orphans(accepted)
        _hold(results)
    for row, (outcome, _, milliseconds) in batch:
        _log(row, outcome, milliseconds)


def _hold(results):
    """Hold the accounts whose token Meta refused; the message of an account that got a new one goes again."""
    refused = {row['chatbot_id']: (row, outcome.error) for row, outcome, _ in results if outcome.kind == 'held'}
    for chatbot_id, (row, reason) in sorted(refused.items()):
        if accounts.hold(chatbot_id, row['access_token'], reason):
            extra = {'chatbot_id': chatbot_id, 'code': reason['code'], 'title': reason['title']}
            log.error('account held', extra=extra)


def _log(row, outcome, milliseconds):
    line = {
        'message_id': row['id'], 'chatbot_id': row['chatbot_id'], 'outcome': outcome.kind, 'attempt': row['attempts'],
        'to': mask(row['recipient_to'] or row['recipient']), 'ms': milliseconds,
    }  # fmt: skip
    if outcome.error:
        line |= {'code': outcome.error['code'], 'title': outcome.error['title']}
    log.log(logging.INFO if outcome.kind == 'accepted' else logging.WARNING, 'send', extra=line)
