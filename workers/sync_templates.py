"""WABAs whose templates are due → Graph API → the table of templates."""

import logging
import random
from functools import partial

from service.graph.management_client import PATIENCE, ManagementClient, Refused
from service.graph.outcome import Outcome, OutcomeKind, make_error
from service.runtime import encryption
from service.runtime.config import settings
from service.runtime.queues import SEND, retry_delay, wake
from service.sending import holds
from service.templates import template_sync
from workers import pool

log = logging.getLogger(__name__)
THREADS = 2
HOUR, DAY = 3600, 86400  # seconds: after failures, and after a success
LEAST_PAUSE = 2  # seconds after a failure, however many webhooks ask for the next reading


def job():
    """The part of workers/background.py."""
    lease = PATIENCE + settings.GRAPH_TIMEOUT + 10
    claim = partial(_claim, lease)
    return pool.BackgroundJob(THREADS, claim, partial(_read, ManagementClient(THREADS)), _record)


def _claim(lease, limit):
    return template_sync.claim(limit, lease)


def _read(graph, row):
    """All pages, on a thread of the pool, without a database connection: a list, or the last
    Outcome of the tokens.
    """
    outcome = _outcome(OutcomeKind.HELD, 'No active account of this WABA has an access token')
    for token in row.tokens:
        try:
            return graph.templates(row.id, encryption.decrypt(token))
        except encryption.Undecryptable as error:
            outcome = _outcome(OutcomeKind.HELD, str(error), 'undecryptable')
        except Refused as error:
            outcome = error.outcome
            if outcome.kind != OutcomeKind.HELD:
                break
    return outcome


def _outcome(kind, title, cause=None):
    return Outcome(kind, error=make_error(title, cause=cause))


def _record(batch):
    for row, result in batch:
        if isinstance(result, list):
            released = holds.apply_template_list(
                row, result, DAY + random.uniform(0, HOUR)
            )  # not all of them at one time
            log.info(
                'templates read',
                extra={'waba_id': row.id, 'count': len(result), 'released': released},
            )
            if released:
                wake(SEND)
        else:
            _failed(row, result)


def _failed(row, outcome):
    """Passing faults are tried again like messages are, then each hour; without a token it rests."""
    if isinstance(outcome, Exception):
        is_known = isinstance(outcome, pool.Unrecordable)
        outcome = _outcome(
            OutcomeKind.FAILED,
            str(outcome) if is_known else f'Internal error ({type(outcome).__name__})',
        )
    delay = (
        retry_delay(row.attempts)
        if outcome.kind in (OutcomeKind.RETRY, OutcomeKind.UNKNOWN)
        else None
    )
    delay = max(delay or HOUR, outcome.delay or 0, outcome.pause or 0) if row.tokens else None
    template_sync.record_failure(
        row, delay, outcome.error, max(outcome.delay or 0, outcome.pause or 0, LEAST_PAUSE)
    )
    extra = {
        'waba_id': row.id,
        'attempt': row.attempts,
        'code': outcome.error['code'],
        'title': outcome.error['title'],
    }
    log.warning('templates could not be read', extra=extra)
