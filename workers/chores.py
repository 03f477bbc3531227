"""What the clock does by itself. A chore names the rows that it works on: without any it rests.

One look asks for all, so a gateway at rest costs a statement, and not those of each chore.
"""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from service.billing import budget, roll_up
from service.messages import search_index
from service.runtime.db import LOCKED, db, fetch, passes, sqlstate
from service.runtime.ids import FIRST_ID
from service.runtime.prepared import Prepared, fill
from service.sending import batch, delivery_status, escalation, holds, strays, timers
from service.stats import hourly

log = logging.getLogger(__name__)
NOT_COUNTED_YET = fill("hourly_backfill WHERE first_id > '{first_id}'", first_id=FIRST_ID)


@dataclass(frozen=True, slots=True)
class Chore:
    """`rows`: in SQL, behind FROM, what it works on: with none of them it has nothing to do."""

    do: Callable[[], None]
    rows: tuple[str, ...]


def works_on(*rows: str) -> Callable[[Callable[[], None]], Chore]:
    """Make a function a chore."""
    return lambda do: Chore(do, rows)


@works_on(
    "message WHERE expires_at <= now() AND waiting IN ('scheduled', 'queued', 'held')"
    ' ORDER BY expires_at',
    "message WHERE waiting = 'scheduled' AND due_at <= now() ORDER BY due_at, id",
    'message WHERE deferred AND due_at <= now() ORDER BY due_at, id',
)
def promote() -> None:
    """Start what is scheduled or deferred and is due now, and expire what is too late."""
    with db.atomic():
        timers.expire()
        timers.recall_deferred()
        if timers.start_scheduled():
            holds.apply_template_stops()


@works_on(
    "message WHERE waiting = 'sending' AND due_at <= now() ORDER BY due_at, id",
    "message WHERE waiting = 'unknown' AND due_at <= now() ORDER BY due_at, id",
)
def settle_lost() -> None:
    """Decide about messages whose worker died or whose answer was lost."""
    with db.atomic():
        lost = timers.expire_leases()
        resent, failed = timers.decide_unknown()
    _log_swept(lost=lost, resent=resent, failed=failed)
    if resent:  # their batch may be paused or cancelled: before a worker is woken for them
        settle_strays.do()


@works_on(
    "message WHERE waiting = 'queued' ORDER BY chatbot_id",
    "message WHERE waiting = 'scheduled' ORDER BY due_at, id",
    "message WHERE waiting = 'held' ORDER BY chatbot_id",
)
def settle_strays() -> None:
    """Move messages that are held, or not held, against what their account or batch says."""
    with db.atomic():
        moved = strays.reconcile()
    _log_swept(strays=moved)


@works_on("message_status WHERE message_id IS NULL AND received_at > now() - interval '1 hour'")
def join_orphans() -> None:
    """Apply statuses that came before their message was known."""
    with db.atomic():
        joined, refusals = delivery_status.join_orphans()
        escalation.apply(refusals)
    _log_swept(joined=joined)


@works_on("batch WHERE done_at IS NULL AND status = 'running' ORDER BY id")
def end_batches() -> None:
    """Write down which batches are done."""
    with db.atomic():
        ended = batch.end()
    _log_swept(batches_done=ended)


@works_on('message_backfill WHERE due_at <= now()')
def complete_old() -> None:
    """Derive what some messages of an earlier version lack."""
    with db.atomic():
        search_index.backfill()


@works_on('usage_delta', 'usage_backlog')
def add_up_usage() -> None:
    """Move what messages cost into the sums of their days; watch the budgets."""
    roll_up.count_old()
    if touched := roll_up.fold():
        budget.check(touched)


@works_on('hourly_delta', NOT_COUNTED_YET)
def add_up_statistics() -> None:
    """Move what messages count for into the sums of their hours and days."""
    hourly.backfill()
    hourly.fold()


def _log_swept(**counts: int) -> None:
    if any(counts.values()):
        log.info('swept', extra=counts)


OFTEN = (promote,)
# Repairs first: what a dead worker, a lost answer or two concurrent transactions left behind.
SWEEP = (
    settle_lost,
    settle_strays,
    join_orphans,
    end_batches,
    complete_old,
    add_up_usage,
    add_up_statistics,
)


def look(chores: Sequence[Chore]) -> Prepared:
    """One row: whether each of them has work."""
    return Prepared(f'SELECT {", ".join(_has_work(chore) for chore in chores)}')


def _has_work(chore: Chore) -> str:
    found = (fill('(SELECT true FROM {rows} LIMIT 1)', rows=rows) for rows in chore.rows)
    return f'coalesce({", ".join(found)}, false)'


LOOK_OFTEN = look(OFTEN)
LOOK_SWEEP = look(SWEEP)


def do_often() -> None:
    """At each tick of the clock."""
    _do(OFTEN, LOOK_OFTEN)


def sweep() -> None:
    """Every few seconds."""
    _do(SWEEP, LOOK_SWEEP)


def _do(chores: Sequence[Chore], question: Prepared) -> None:
    try:
        (found,) = fetch(question)
    except Exception as error:
        if passes(error) and sqlstate(error) not in LOCKED:
            raise
        log.error('a look for chores failed', exc_info=error)
        found = (True,) * len(chores)  # each finds out by itself
    for chore, has_work in zip(chores, found, strict=True):
        if has_work:
            attempt(chore.do)


def attempt(part: Callable[[], None]) -> None:
    """Do one part of the clock's work: a row that PostgreSQL refuses in it stops no other part.

    Raises what may pass by itself, as a lost connection does.
    """
    try:
        part()
    except Exception as error:
        if passes(error):
            raise
        log.error('a part of the clock failed', exc_info=error, extra={'part': part.__name__})
