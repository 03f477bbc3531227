"""/healthz: the process lives, and commits what comes. /readyz: what it needs is there."""

import time
from contextlib import contextmanager

from flask import Blueprint
from peewee import PeeweeException
from redis import RedisError

from service.jobs import job_table
from service.runtime import heartbeat, migrate
from service.runtime.db import connection, deadline, public_reason
from service.runtime.queues import client
from service.web.request_input import check_names, choice

blueprint = Blueprint('health', __name__)
KINDS = ('incoming', 'send', 'errands', 'clock')  # what `python -m workers` runs
HANG_SECONDS = 4  # a commit of webhooks that takes longer hangs
READY_SECONDS = 3  # for PostgreSQL's answers to /readyz


class Commit:
    """The commit of webhooks that this process's intake is at: one at a time, `began` is None
    between two.
    """

    def __init__(self):
        self.began = None

    @contextmanager
    def under_way(self):
        self.began = time.monotonic()
        try:
            yield
        finally:
            self.began = None

    def hangs(self) -> bool:
        began = self.began
        return began is not None and time.monotonic() - began > HANG_SECONDS


commit = Commit()


@blueprint.get('/healthz')
def healthz():
    """Asks nobody."""
    if commit.hangs():
        return {'status': 'unavailable', 'hangs': 'the commit of webhooks'}, 503
    return {'status': 'ok'}


@blueprint.get('/readyz')
def readyz():
    """`?deep=1` also tells of the back room: which of its processes live, and how long what is due
    has waited.
    """
    check_names(('deep',))
    reasons, told = _database() | _redis(), {}
    away = list(reasons)
    if choice('deep', ('0', '1')) == '1' and 'database' not in away and 'schema' not in away:
        told = _back_room()
        away += [kind for kind in KINDS if not told['processes'][kind]['alive']]
    told |= {'reasons': reasons} if reasons else {}
    return {'status': 'unavailable' if away else 'ok', 'away': away, **told}, 503 if away else 200


def _back_room() -> dict:
    with deadline(READY_SECONDS), connection():
        living, next_due = heartbeat.living(), job_table.next_due()
    never = {'alive': 0, 'seen_seconds_ago': None}
    return {
        'processes': {kind: living.get(kind, never) for kind in KINDS},
        'oldest_due_seconds': {kind: job_table.late_by(next_due, 0).get(kind) for kind in next_due},
    }


def _database() -> dict[str, str]:
    try:
        with deadline(READY_SECONDS), connection():
            if missing := migrate.missing():
                return {
                    'schema': missing
                }  # not a newer one: a release goes first, the old processes serve on
    except (PeeweeException, ValueError) as error:
        return {'database': public_reason(error)}
    return {}


def _redis() -> dict[str, str]:
    try:
        client().ping()
    except RedisError as error:
        return {'redis': type(error).__name__}
    return {}
