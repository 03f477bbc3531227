"""/healthz: the process lives. /readyz: so does what it needs."""

from flask import Blueprint
from peewee import PeeweeException
from redis import RedisError

from service import backlog, process, schema
from service.db import connection, fetch
from service.queues import client
from service.web.answers import choice
from service.web.query import check_names

blueprint = Blueprint('health', __name__)
NEWEST = schema.newest()
KINDS = ('incoming', 'send', 'errands', 'clock')  # what `python -m workers` runs


@blueprint.get('/healthz')
def healthz():
    return {'status': 'ok'}


@blueprint.get('/readyz')
def readyz():
    """`?deep=1` also tells of the back room: which of its processes live, and how long what is due has waited."""
    check_names(('deep',))
    away, told = [*_database(), *_redis()], {}
    if choice('deep', ('0', '1')) == '1' and 'database' not in away and 'schema' not in away:
        told = _back_room()
        away += [kind for kind in KINDS if not told['processes'][kind]['alive']]
    return {'status': 'unavailable' if away else 'ok', 'away': away, **told}, 503 if away else 200


def _back_room() -> dict:
    with connection():
        living, next_due = process.living(), backlog.next_due()
    never = {'alive': 0, 'seen_seconds_ago': None}
    return {
        'processes': {kind: living.get(kind, never) for kind in KINDS},
        'oldest_due_seconds': {kind: backlog.late_by(next_due, 0).get(kind) for kind in next_due},
    }


def _database():
    try:
        with connection():
            if fetch("SELECT to_regclass('schema_version') IS NULL")[0][0]:
                return ['schema']
            newest = fetch('SELECT coalesce(max(version), 0) FROM schema_version')[0][0]
            return [] if newest >= NEWEST else ['schema']  # a release goes first: the old processes serve on
    except (PeeweeException, ValueError):
        return ['database']


def _redis():
    try:
        client().ping()
    except RedisError:
        return ['redis']
    return []
