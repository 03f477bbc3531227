"""What /metrics reads from the database when it is asked: what waits, who lives, who is held.

A part that fails, or finds the time used up, is left out: the others are told.
"""

import time
from collections.abc import Callable, Iterable, Iterator

from peewee import PeeweeException
from playhouse.pool import MaxConnectionsExceeded
from prometheus_client.core import GaugeMetricFamily, Metric
from redis import RedisError

from service.jobs import job_table
from service.runtime import heartbeat, metrics
from service.runtime.connection_plan import WORKERS
from service.runtime.db import connection, fetch
from service.runtime.prepared import fill
from service.runtime.queues import client
from service.runtime.session import deadline

READ_SECONDS = 3  # for all that PostgreSQL is asked
STATES = ('scheduled', 'queued', 'sending', 'held', 'unknown')
# Each from the index of what is in that state.
WAITING = """
SELECT '{state}', count(*), coalesce(extract(epoch FROM now() - min(created_at)), 0)::float8
FROM message WHERE waiting = '{state}'
"""
COUNT_WAITING = ' UNION ALL '.join(fill(WAITING, state=state) for state in STATES)
COUNT_HELD = "SELECT count(*) FROM whatsapp_cloud_account WHERE active AND send_state = 'held'"
COUNT_CONNECTIONS = """
SELECT CASE WHEN state IN ('active', 'idle') THEN state ELSE 'in_transaction' END, count(*)
FROM pg_stat_activity
WHERE datname = current_database() AND application_name = 'whatsapp-gateway' GROUP BY 1
"""
CONNECTION_STATES = ('active', 'idle', 'in_transaction')
MAX_CONNECTIONS = "SELECT current_setting('max_connections')::int"


def collect() -> Iterator[Metric]:
    """All metrics; of a database that is away nothing but that."""
    began = time.monotonic()
    failed = GaugeMetricFamily(
        'whatsapp_scrape_failed', 'Whether a part could not be read.', labels=['part']
    )
    with deadline(READ_SECONDS):
        for part in PARTS:
            try:
                with connection():
                    found = list(part())
            except (PeeweeException, MaxConnectionsExceeded):
                found = []
            failed.add_metric([part.__name__.strip('_')], 0 if found else 1)
            yield from found
    yield failed
    yield _gauge('whatsapp_redis_up', 'Whether Redis answers.', int(_redis_answers()))
    seconds = time.monotonic() - began
    yield _gauge('whatsapp_scrape_duration_seconds', 'How long all of this took.', seconds)


def _gauge(name: str, about: str, value: float) -> GaugeMetricFamily:
    return GaugeMetricFamily(name, about, value=value)


def _labelled(
    name: str, about: str, label: str, values: Iterable[tuple[str, float]]
) -> GaugeMetricFamily:
    gauge = GaugeMetricFamily(name, about, labels=[label])
    for key, value in values:
        gauge.add_metric([key], value)
    return gauge


def _redis_answers() -> bool:
    try:
        return bool(client().ping())
    except RedisError:
        return False


def _counts() -> Iterator[Metric]:
    """What all processes have counted."""
    totals = heartbeat.counts_of_all()
    yield from metrics.collect({series: float(value) for series, value in totals.items()})


def _messages() -> Iterator[Metric]:
    rows = fetch(COUNT_WAITING)
    yield _labelled(
        'whatsapp_messages_waiting',
        'Messages that are not sent yet, or whose answer was lost.',
        'state',
        [(state, count) for state, count, _ in rows],
    )
    yield _labelled(
        'whatsapp_messages_waiting_oldest_seconds',
        'Since the oldest of them was made, 0 without any.',
        'state',
        [(state, age) for state, _, age in rows if state != 'scheduled'],
    )


def _work() -> Iterator[Metric]:
    queues = {job.kind: job.queue for job in job_table.JOBS}
    gauge = GaugeMetricFamily(
        'whatsapp_work_overdue_seconds',
        'How long the oldest due row of a kind of work has waited, 0 when none is due.',
        labels=['queue', 'kind'],
    )
    for kind, wait in job_table.next_due().items():
        gauge.add_metric([queues[kind], kind], max(0, -(wait or 0)))
    yield gauge


def _processes() -> Iterator[Metric]:
    living = heartbeat.living(('web', *WORKERS))
    yield _labelled(
        'whatsapp_processes',
        'Processes that have renewed their row within 45 s.',
        'kind',
        [(kind, found['alive']) for kind, found in living.items()],
    )


def _accounts() -> Iterator[Metric]:
    ((held,),) = fetch(COUNT_HELD)
    yield _gauge('whatsapp_accounts_held', 'Accounts that cannot send until mended.', held)


def _connections() -> Iterator[Metric]:
    found = dict.fromkeys(CONNECTION_STATES, 0) | dict(fetch(COUNT_CONNECTIONS))
    about = 'Connections of all our processes to PostgreSQL.'
    yield _labelled('whatsapp_database_connections', about, 'state', found.items())
    ((most,),) = fetch(MAX_CONNECTIONS)
    yield _gauge('whatsapp_database_connections_max', "The server's max_connections.", most)


PARTS: tuple[Callable[[], Iterator[Metric]], ...] = (
    _counts,
    _messages,
    _work,
    _processes,
    _accounts,
    _connections,
)
