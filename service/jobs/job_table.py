"""Every kind of due work on one screen, and when the next of each is due.

A job is always the same three steps: a worker claims rows that are due, does the slow part without
a connection, and records what came of it. The owner of the rows offers claim, record and next_due,
side by side; the clock wakes the queue's workers when something is due. A new kind is a row here,
an owner and a worker.

A claim and a next_due walk the index of the rows that wait, in its order: only a walk takes out the
entries of rows that are done, any other plan reads them again until the next vacuum. On tables
without statistics PostgreSQL prefers such a plan, unless a part of the rows seems to be enough: so
it is not told how many are wanted, `LIMIT (SELECT n)`.
"""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from service.conversations import reply_outcome, reply_queue
from service.events import delivery, delivery_outcome
from service.media import inbound_file
from service.messages import read_receipt
from service.runtime.db import fetch, fetch_dicts
from service.runtime.prepared import Prepared
from service.runtime.queues import ERRANDS, EVENTS, INCOMING, SEND
from service.sending import dispatch, send_outcome
from service.templates import template_sync
from service.webhooks import inbox


@dataclass(frozen=True, slots=True)
class Job:
    """One kind of due work.

    `next_due`: SQL for the time when the first of its rows is due, NULL when none waits.
    """

    kind: str  # as /readyz and the log call it
    queue: str  # whose workers do it
    next_due: str
    claim: Callable[..., Any]  # due rows, leased or locked
    worker: str  # the module that does it, by name: the core does not import workers
    record: tuple[Callable[..., Any], ...]  # one for all results, or one for each outcome


JOBS = (
    Job('webhooks', INCOMING, inbox.NEXT_DUE, inbox.claim,
        'workers.incoming', (inbox.record_processed, inbox.quarantine, inbox.record_failure)),
    Job('replies', INCOMING, reply_queue.NEXT_DUE, reply_queue.claim,
        'workers.replies', (reply_outcome.record,)),
    Job('send', SEND, dispatch.NEXT_DUE, dispatch.claim,
        'workers.send', (send_outcome.record, dispatch.release_claims)),
    Job('media', ERRANDS, inbound_file.NEXT_DUE, inbound_file.claim,
        'workers.fetch_media', (inbound_file.record,)),
    Job('receipts', ERRANDS, read_receipt.NEXT_DUE, read_receipt.claim,
        'workers.send_receipts', (read_receipt.record,)),
    Job('templates', ERRANDS, template_sync.NEXT_DUE, template_sync.claim,
        'workers.sync_templates', (template_sync.record_list, template_sync.record_failure)),
    Job('events', EVENTS, delivery.NEXT_DUE, delivery.claim,
        'workers.send_events', (delivery_outcome.record,)),
)  # fmt: skip


def _wait(jobs: Iterable[Job]) -> Prepared:
    waits = [f'extract(epoch FROM ({job.next_due}) - now())::float8 AS {job.kind}' for job in jobs]
    return Prepared(f'SELECT {", ".join(waits)}')


# one statement for all: the clock asks twice a second
FIND_WAITS = _wait(JOBS)


def next_due() -> dict[str, float | None]:
    """Seconds until the first row of each kind is due.

    Negative: it is late by so much. None: nothing waits.
    """
    return fetch_dicts(FIND_WAITS)[0]


def _look(queue: str) -> Prepared:
    firsts = ', '.join(f'({job.next_due})' for job in JOBS if job.queue == queue)
    return Prepared(f'SELECT least({firsts}) <= now()')


QUEUES = sorted({job.queue for job in JOBS})
LOOKS = {queue: _look(queue) for queue in QUEUES}


def is_due(queue: str) -> bool:
    """Whether a row of the queue's kinds is due: one look, for a drain that has nothing to do."""
    return bool(fetch(LOOKS[queue])[0][0])


def late_by(next_due: dict[str, float | None], seconds: float) -> dict[str, float]:
    """The kinds whose oldest due row has waited longer than this, each with its age in seconds."""
    return {
        kind: round(-wait, 1)
        for kind, wait in next_due.items()
        if wait is not None and wait < -seconds
    }


def until_next_wakeup(next_due: dict[str, float | None]) -> dict[str, float]:
    """Seconds until the workers of each queue have to be woken, 0 for now.

    Queues with nothing to do are left out.
    """
    waits: dict[str, float] = {}
    for job in JOBS:
        wait = next_due[job.kind]
        if wait is not None:
            waits[job.queue] = min(max(0, wait), waits.get(job.queue, math.inf))
    return waits
