"""PostgreSQL: whether it is there, fit, and has room; and what its tables say of the work."""

import os
import time
from collections.abc import Iterator

from peewee import PeeweeException

from service.doctor.check import Check, fail, ok, warn
from service.jobs import job_table
from service.runtime import connection_plan, heartbeat, migrate
from service.runtime.config import settings
from service.runtime.db import connection, db, fetch, fetch_dicts, public_reason
from service.runtime.session import Session, deadline

SECONDS = 3  # for the answers to each check
OLDEST_VERSION = 14
SKEW_WARN, SKEW_FAIL = 2, 60  # seconds between the clocks
LATE_WARN, LATE_FAIL = 30, 300  # seconds that due work has waited
ONE_MORE = 1  # connection for a command or the release

# Of other users' sessions a user sees that they are there; what of the server itself has no user.
FIND_ROOM = """
SELECT current_setting('server_version_num')::int AS version,
  current_setting('max_connections')::int
    - current_setting('superuser_reserved_connections')::int
    - coalesce(current_setting('reserved_connections', true)::int, 0) AS places,
  (SELECT CASE WHEN rolsuper OR rolconnlimit < 0 THEN NULL ELSE rolconnlimit END
   FROM pg_roles WHERE rolname = current_user) AS places_of_role,
  (SELECT count(*) FROM pg_stat_activity WHERE usename = current_user) AS taken_by_role,
  (SELECT count(*) FROM pg_stat_activity WHERE usename IS NOT NULL) AS taken,
  (SELECT count(*) FROM pg_stat_activity
   WHERE usename = current_user AND datname = current_database()
     AND application_name LIKE 'whatsapp-gateway%%') AS ours
"""


def look() -> Iterator[Check]:
    """PostgreSQL itself; without it nothing else of it is asked."""
    _ = settings.DATABASE_URL  # raises ConfigError before anything else does
    try:
        with deadline(SECONDS), connection():
            room = fetch_dicts(FIND_ROOM)[0]
            is_direct = _is_direct()
    except (PeeweeException, ValueError) as error:
        fix = 'Start PostgreSQL, or mend DATABASE_URL; nothing works without it.'
        yield fail('database', f'PostgreSQL cannot be used: {public_reason(error)}.', fix)
        return
    yield _version(room['version'])
    with connection():
        yield _clock()
        schema = _schema()
        yield schema
        if schema['result'] == 'fail':
            return
        with deadline(SECONDS):
            living = heartbeat.living(connection_plan.WORKERS)
        alive = {kind: found['alive'] for kind, found in living.items()}
        yield _room(room, is_direct, _planned(alive))
        yield _workers(alive)
        yield _due_work()


def _is_direct() -> bool:
    session: Session = db.connection()
    return session.is_direct


def _version(number: int) -> Check:
    major = number // 10_000
    if major < OLDEST_VERSION:
        fix = f'Upgrade it: {OLDEST_VERSION} is the oldest that is tried.'
        return fail('database', f'PostgreSQL is of version {major}.', fix)
    return ok('database', f'PostgreSQL {major} answers.')


def _clock() -> Check:
    with deadline(SECONDS):
        before = time.time()
        ((theirs,),) = fetch('SELECT extract(epoch FROM clock_timestamp())::float8')
        ours = (before + time.time()) / 2
    seconds = abs(ours - theirs)
    detail = f"This machine's clock and PostgreSQL's are {seconds:.1f} seconds apart."
    fix = 'Let both machines ask a time server (chrony, systemd-timesyncd).'
    if seconds >= SKEW_FAIL:
        return fail('clock_skew', detail, fix)
    return warn('clock_skew', detail, fix) if seconds >= SKEW_WARN else ok('clock_skew', detail)


def _schema() -> Check:
    with deadline(SECONDS):
        missing = migrate.missing()
    if missing:
        fix = 'Run the release: python -m service.runtime.migrate'
        return fail('schema', f'The tables: {missing}.', fix)
    return ok('schema', f'The tables are of version {migrate.needed()}, as this code needs them.')


def _room(room: dict[str, int], is_direct: bool, planned: int) -> Check:
    """Whether there are places for all that the processes may open."""
    if not is_direct:
        detail = 'A pooler stands before PostgreSQL: its pool is what has to be large enough.'
        return ok('connections', detail)
    places = room['places'] - (room['taken'] - room['ours'])
    if room['places_of_role'] is not None:
        others = room['taken_by_role'] - room['ours']
        places = min(places, room['places_of_role'] - others)
    detail = (
        f'This deployment may open {planned} connections, {room["ours"]} are open; '
        f'PostgreSQL has {places} for it.'
    )
    fix = 'Raise max_connections or the plan, lower WEB_CONCURRENCY, or put PgBouncer in between.'
    if room['ours'] >= places:
        return fail('connections', detail, fix)
    return ok('connections', detail) if planned <= places else warn('connections', detail, fix)


def _planned(alive: dict[str, int]) -> int:
    """What web on a machine like this one and the workers that live may open together."""
    web = settings.WEB_CONCURRENCY or os.cpu_count() or 1
    workers = sum(places * max(1, alive[kind]) for kind, places in connection_plan.WORKERS.items())
    return web * connection_plan.WEB + workers + ONE_MORE


def _workers(alive: dict[str, int]) -> Check:
    missing = [kind for kind, count in alive.items() if not count]
    if missing:
        fix = f'Start them: python -m workers {" ".join(missing)} (as in the Procfile).'
        return fail('workers', f'None lives of: {", ".join(missing)}.', fix)
    counts = ', '.join(f'{kind} {count}' for kind, count in alive.items())
    return ok('workers', f'All live: {counts}.')


def _due_work() -> Check:
    with deadline(SECONDS):
        late = job_table.late_by(job_table.next_due(), LATE_WARN)
    if not late:
        return ok('due_work', f'Nothing that is due has waited for {LATE_WARN} seconds.')
    ages = ', '.join(f'{kind} for {seconds:.0f} s' for kind, seconds in late.items())
    detail = f'What is due has waited: {ages}.'
    fix = 'See that the workers live; if they do and are busy, start more of them.'
    tell = fail if max(late.values()) > LATE_FAIL else warn
    return tell('due_work', detail, fix)
