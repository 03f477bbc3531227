"""Read receipts due → Graph API."""

import logging
from dataclasses import replace
from functools import partial

from service.graph.client import GraphClient
from service.graph.outcome import Outcome, OutcomeKind, make_error
from service.messages import read_receipt
from service.runtime import encryption
from service.runtime.config import settings
from service.runtime.queues import RETRY, SLOW_DELAYS, patient_delay
from workers import pool

log = logging.getLogger(__name__)
THREADS = 32


def job():
    """The part of workers/background.py."""
    lease = settings.GRAPH_TIMEOUT + 10
    return pool.BackgroundJob(
        THREADS,
        lambda limit: read_receipt.claim(limit, lease),
        partial(_tell, GraphClient(THREADS)),
        _record,
    )


def _tell(graph, row):
    """One Graph call, on a thread of the pool, without a database connection."""
    if row['too_old']:
        return _given_up(
            f'Meta takes no receipt for a message older than {read_receipt.MAX_AGE_DAYS} days'
        )
    if not row['active']:
        return _given_up('The account is not active')
    try:
        token = encryption.decrypt(row['access_token'])
    except encryption.DecryptionError as error:
        return _given_up(str(error))
    return graph.mark_read(row['phone_number_id'], token, row['wamid'], row['typing'])


def _given_up(title):
    return Outcome(OutcomeKind.FAILED, error=make_error(title))


def _record(batch):
    batch = [(row, _outcome_of(result)) for row, result in batch]
    results = [
        (row, outcome.kind == OutcomeKind.ACCEPTED, _delay(row, outcome), _error(outcome))
        for row, outcome in batch
    ]
    read_receipt.record(results)
    for row, told, delay, error in results:
        outcome = 'told' if told else 'failed' if delay is None else 'retry'
        line = {'message_id': row['id'], 'chatbot_id': row['chatbot_id'], 'outcome': outcome}
        line |= {'code': error['code'], 'title': error['title']} if error else {}
        log.log(logging.INFO if told else logging.WARNING, 'read receipt', extra=line)


def _outcome_of(result):
    """Also where an exception stands in the result's place."""
    if isinstance(result, pool.Unrecordable):
        return _given_up(str(result))
    if isinstance(result, Exception):
        return replace(
            _given_up(f'internal error ({type(result).__name__})'), kind=OutcomeKind.RETRY
        )
    return result


def _delay(row, outcome):
    """Seconds until it is tried again, for some hours: an outage of Meta's costs no receipt.

    Told twice does no harm, so a lost answer is as good as none.
    """
    if outcome.kind not in (OutcomeKind.RETRY, OutcomeKind.UNKNOWN):
        return None
    if row['attempts'] > RETRY.max + len(SLOW_DELAYS):
        return None
    return max(patient_delay(row['attempts']), outcome.delay or 0)


def _error(outcome):
    return outcome.error and {
        name: value for name, value in outcome.error.items() if name != 'cause'
    }
