"""Tells Meta the read receipts that are due."""

import logging
from dataclasses import replace
from functools import partial
from typing import Any

from service.graph.client import GraphClient
from service.graph.outcome import Outcome, OutcomeKind, make_error
from service.messages import read_receipt
from service.messages.read_receipt import ClaimedReceipt, ReceiptResult
from service.runtime import encryption
from service.runtime.config import settings
from service.runtime.queues import RETRY, SLOW_DELAYS, patient_delay
from workers import pool

log = logging.getLogger(__name__)
THREADS = 32


def job() -> pool.BackgroundJob:
    """The part of workers/background.py."""
    lease = settings.GRAPH_TIMEOUT + 10
    return pool.BackgroundJob(
        THREADS,
        lambda limit: read_receipt.claim(limit, lease),
        partial(_tell, GraphClient(THREADS)),
        _record,
    )


def _tell(graph: GraphClient, receipt: ClaimedReceipt) -> Outcome:
    """One Graph call, on a thread of the pool, without a database connection."""
    if receipt.too_old:
        days = read_receipt.MAX_AGE_DAYS
        return _given_up(f'Meta takes no receipt for a message older than {days} days')
    if not receipt.active:
        return _given_up('The account is not active')
    try:
        token = encryption.decrypt(receipt.access_token)
    except encryption.DecryptionError as error:
        return _given_up(str(error))
    return graph.mark_read(receipt.phone_number_id, token, receipt.wamid, receipt.typing)


def _given_up(title: str) -> Outcome:
    return Outcome(OutcomeKind.FAILED, error=make_error(title))


def _record(batch: list[tuple[ClaimedReceipt, Outcome | Exception]]) -> None:
    results = [_result(receipt, _outcome_of(result)) for receipt, result in batch]
    read_receipt.record(results)
    for (receipt, _), result in zip(batch, results, strict=True):
        _log(receipt, result)


def _outcome_of(result: Outcome | Exception) -> Outcome:
    """The outcome, also where an exception stands in its place."""
    if isinstance(result, pool.Unrecordable):
        return _given_up(str(result))
    if isinstance(result, Exception):
        return replace(
            _given_up(f'internal error ({type(result).__name__})'), kind=OutcomeKind.RETRY
        )
    return result


def _result(receipt: ClaimedReceipt, outcome: Outcome) -> ReceiptResult:
    is_told = outcome.kind == OutcomeKind.ACCEPTED
    delay = _delay(receipt, outcome)
    return ReceiptResult(receipt.id, receipt.due_at, is_told, delay, _error(outcome))


def _delay(receipt: ClaimedReceipt, outcome: Outcome) -> float | None:
    """Seconds until it is tried again, for some hours: an outage of Meta's costs no receipt.

    A receipt that is told twice does no harm, so a lost answer is tried again, too.
    """
    if outcome.kind not in (OutcomeKind.RETRY, OutcomeKind.UNKNOWN):
        return None
    if receipt.attempts > RETRY.max + len(SLOW_DELAYS):
        return None
    return max(patient_delay(receipt.attempts), outcome.delay or 0)


def _error(outcome: Outcome) -> dict[str, Any] | None:
    """The error as callers see it."""
    if not outcome.error:
        return None
    return {name: value for name, value in outcome.error.items() if name != 'cause'}


def _log(receipt: ClaimedReceipt, result: ReceiptResult) -> None:
    outcome = 'failed' if result.delay is None else 'retry'
    if result.told:
        outcome = 'told'
    line = {'message_id': receipt.id, 'chatbot_id': receipt.chatbot_id, 'outcome': outcome}
    if result.error:
        line |= {'code': result.error['code'], 'title': result.error['title']}
    log.log(logging.INFO if result.told else logging.WARNING, 'read receipt', extra=line)
