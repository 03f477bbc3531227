"""/healthz: the process lives, and commits what comes. /readyz: what it needs is there."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from flask import Blueprint
from peewee import PeeweeException
from redis import RedisError

from service.jobs import job_table
from service.runtime import heartbeat, migrate
from service.runtime.connection_plan import WORKERS
from service.runtime.db import connection, public_reason
from service.runtime.queues import client
from service.runtime.session import deadline
from service.web import operating_answers
from service.web.auth import scope
from service.web.described import describe
from service.web.request_input import check_names, choice, query_parameters
from service.web.responses import Answer, JSONObject

blueprint = Blueprint('health', __name__)
HANG_SECONDS = 4  # a commit of webhooks that takes longer hangs
READY_SECONDS = 3  # for PostgreSQL's answers to /readyz


class Commit:
    """The commit of webhooks that this process is at, one at a time; `began` is None between."""

    def __init__(self) -> None:
        self.began: float | None = None

    @contextmanager
    def under_way(self) -> Iterator[None]:
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
@scope('public')
@describe(operating_answers.Liveness, 200, 503)
def healthz() -> Answer:
    """Answer without asking PostgreSQL or Redis."""
    if commit.hangs():
        return {'status': 'unavailable', 'hangs': 'the commit of webhooks'}, 503
    return {'status': 'ok'}, 200


@blueprint.get('/readyz')
@scope('public')
@query_parameters('deep')
@describe(operating_answers.Readiness, 200, 503, problems=('invalid',))
def readyz() -> Answer:
    """Ask PostgreSQL and Redis; with `?deep=1` also whether the workers live and keep up."""
    check_names(('deep',))
    reasons = _check_database() | _check_redis()
    away = list(reasons)
    details: JSONObject = {}
    if choice('deep', ('0', '1')) == '1' and 'database' not in away and 'schema' not in away:
        details = _workers()
        away += [kind for kind, found in details['processes'].items() if not found['alive']]
    if reasons:
        details['reasons'] = reasons
    status = 'unavailable' if away else 'ok'
    return {'status': status, 'away': away, **details}, 503 if away else 200


def _workers() -> JSONObject:
    """Which processes of the workers live, and how long what is due has waited."""
    with deadline(READY_SECONDS), connection():
        living = heartbeat.living(WORKERS)
        next_due = job_table.next_due()
    late = job_table.late_by(next_due, 0)
    return {
        'processes': living,
        'oldest_due_seconds': {kind: late.get(kind) for kind in next_due},
    }


def _check_database() -> dict[str, str]:
    """What PostgreSQL lacks, and why.

    A newer schema is none of it: a release migrates first, and the old processes serve on.
    """
    try:
        with deadline(READY_SECONDS), connection():
            missing = migrate.missing()
    except (PeeweeException, ValueError) as error:
        return {'database': public_reason(error)}
    return {'schema': missing} if missing else {}


def _check_redis() -> dict[str, str]:
    try:
        client().ping()
    except RedisError as error:
        return {'redis': type(error).__name__}
    return {}
