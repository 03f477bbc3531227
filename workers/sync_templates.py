"""Reads the template lists of the WABAs that are due from the Graph API into the database."""

import logging
import random
from functools import partial

from service.graph.management_client import PATIENCE, ManagementClient, ManagementError
from service.graph.outcome import Outcome, OutcomeKind, make_error
from service.runtime import encryption
from service.runtime.config import settings
from service.runtime.durability import worked_out_again
from service.runtime.queues import SEND, retry_delay, wake
from service.sending import holds
from service.templates import template_sync
from service.templates.template_sync import ClaimedSync
from workers import pool

log = logging.getLogger(__name__)
THREADS = 2
READ_EVERY_SECONDS = 86400
SPREAD_SECONDS = 3600  # so that not all WABAs are read at one time
RETRY_SECONDS = 3600  # after the quick attempts have failed
LEAST_PAUSE_SECONDS = 2  # after a failure, however many webhooks ask for the next reading

TemplateList = list[object]  # as Meta gives it
Result = TemplateList | Outcome | Exception  # an exception: a fault of ours


def job() -> pool.BackgroundJob:
    """The background job: see workers/background.py."""
    lease = PATIENCE + settings.GRAPH_TIMEOUT + 10
    claim = partial(template_sync.claim, lease=lease)
    return pool.BackgroundJob(THREADS, claim, partial(_read, ManagementClient(THREADS)), _record)


def _read(graph: ManagementClient, sync: ClaimedSync) -> TemplateList | Outcome:
    """All pages of the list, by the first token that may read it; else the last one's Outcome.

    On a thread of the pool, without a database connection.
    """
    outcome = _held('No active account of this WABA has an access token')
    for encrypted in sync.tokens:
        try:
            token = encryption.decrypt(encrypted)
            return graph.templates(sync.id, token)
        except encryption.DecryptionError as error:
            outcome = _held(str(error), 'undecryptable')
        except ManagementError as error:
            outcome = error.outcome
            if outcome.kind != OutcomeKind.HELD:
                break
    return outcome


def _held(title: str, cause: str | None = None) -> Outcome:
    return Outcome(OutcomeKind.HELD, error=make_error(title, cause=cause))


@worked_out_again()
def _record(batch: list[tuple[ClaimedSync, Result]]) -> None:
    for sync, result in batch:
        if isinstance(result, list):
            _record_list(sync, result)
        elif isinstance(result, Outcome):
            _record_failure(sync, result)
        else:
            is_known = isinstance(result, pool.Unrecordable)
            title = str(result) if is_known else f'Internal error ({type(result).__name__})'
            _record_failure(sync, Outcome(OutcomeKind.FAILED, error=make_error(title)))


def _record_list(sync: ClaimedSync, found: TemplateList) -> None:
    delay = READ_EVERY_SECONDS + random.uniform(0, SPREAD_SECONDS)
    released = holds.apply_template_list(sync, found, delay)
    line = {'waba_id': sync.id, 'count': len(found), 'released': released}
    log.info('templates read', extra=line)
    if released:
        wake(SEND)


def _record_failure(sync: ClaimedSync, outcome: Outcome) -> None:
    """Try a transient fault again after the delays of a message, all others after an hour.

    Without a token there is no new attempt until somebody asks for one.
    """
    delay = None
    wait = max(outcome.delay or 0, outcome.pause or 0)
    if sync.tokens:
        is_passing = outcome.kind in (OutcomeKind.RETRY, OutcomeKind.UNKNOWN)
        delay = max((is_passing and retry_delay(sync.attempts)) or RETRY_SECONDS, wait)
    error = outcome.reason
    template_sync.record_failure(sync, delay, error, max(wait, LEAST_PAUSE_SECONDS))
    line = {
        'waba_id': sync.id,
        'attempt': sync.attempts,
        'code': error['code'],
        'title': error['title'],
    }
    log.warning('templates could not be read', extra=line)
