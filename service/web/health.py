"""/healthz: the process lives. /readyz: so does what it needs."""

from flask import Blueprint
from peewee import PeeweeException
from redis import RedisError

from service import schema
from service.db import connection, fetch
from service.queues import client

blueprint = Blueprint('health', __name__)
NEWEST = schema.newest()


@blueprint.get('/healthz')
def healthz():
    return {'status': 'ok'}


@blueprint.get('/readyz')
def readyz():
    away = [*_database(), *_redis()]
    return {'status': 'unavailable' if away else 'ok', 'away': away}, 503 if away else 200


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
