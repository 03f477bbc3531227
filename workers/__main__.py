"""The entry of the workers: `python -m workers incoming|send|errands|events|clock`.

With several names each gets a process of its own, of one family.
"""

import logging
import os
import resource
import signal
import sys
import threading
import time
from collections.abc import Callable
from importlib import import_module
from types import FrameType, ModuleType
from typing import Any

from redis import RedisError
from rq import SimpleWorker
from rq.exceptions import StopRequested
from rq.job import Job
from rq.serializers import JSONSerializer

from service.runtime import collector, config, db, error_reports, logs, migrate, tracing
from service.runtime import heartbeat as process
from service.runtime.connection_plan import WORKERS
from service.runtime.db import CONNECTION_LOST, connection, reason
from service.runtime.queues import DRAINS, ERRANDS, EVENTS, INCOMING, SEND, client, connect
from service.runtime.watchdog import watchdog
from workers.family import Family
from workers.loop import stopping

log = logging.getLogger(__name__)
ROOMS = {'incoming': INCOMING, 'send': SEND, 'errands': ERRANDS, 'events': EVENTS}  # their queues
MOST_FILES = 10_000  # open in one process: connections above all
GRACE = 20  # seconds for what is in flight at SIGTERM, of the 25 that the contract gives
AT_LAST = 23.5  # seconds after which a process ends even when something hangs that knows no limit


class DrainWorker(SimpleWorker):
    """An ordinary RQ worker that tells its drain when to stop and reconnects to Redis quickly."""

    max_connection_wait_time = 2.0
    kind = ''  # the name of this process

    @property
    def connection_timeout(self) -> int:
        """Seconds for any answer of Redis; the slowest says that there is no job.

        RQ's own value is longer than a SIGTERM allows.
        """
        return self.dequeue_timeout + 3

    def _install_signal_handlers(self) -> None:
        """Replace our handlers by RQ's, without losing a SIGTERM that came just before."""
        super()._install_signal_handlers()
        self._stop_requested = stopping.is_set()

    def heartbeat(self, *arguments: Any, **options: Any) -> None:
        """Renew RQ's heartbeat, and the row by which /readyz knows this process."""
        super().heartbeat(*arguments, **options)
        process.beat(self.kind)

    def handle_exception(self, job: Job, *exc_info: Any) -> None:
        """Log it as any other error. RQ's own line quotes the exception, which may quote a text."""
        log.error('a drain failed', exc_info=exc_info, extra={'queue': job.origin})

    def handle_job_failure(self, *arguments: Any, **options: Any) -> None:
        """Do what RQ does, but write no text of an exception to Redis."""
        super().handle_job_failure(*arguments, **options | {'exc_string': ''})

    def handle_warm_shutdown_request(self) -> None:
        stopping.set()

    def set_shutdown_requested_date(self) -> None:
        """Do nothing. RQ would write to Redis from the signal's handler.

        When Redis is away, its error would come out of any statement that the signal interrupts.
        """

    def request_force_stop(self, signum: int, frame: FrameType | None) -> None:
        """Do nothing at a second signal: a host may send SIGTERM to a process and to its group."""


def main(names: list[str]) -> int:
    """Run the named workers until SIGTERM. Returns the exit code: 1 when a child failed, else 0."""
    if not names or not set(names) <= {*ROOMS, 'clock'}:
        sys.exit(f'usage: python -m workers {"|".join((*ROOMS, "clock"))} …')
    config.check('clock' if names == ['clock'] else 'worker')
    logs.configure()
    threading.excepthook = logs.on_thread_failure
    allow_files()
    for name in names:  # before it forks
        load(name)
    collector.settle()
    _on_signals(stop)  # before the first fork: no process is without for a moment
    family = Family(names)
    try:
        run(family)
    finally:
        code = family.wait()
    return code


def load(name: str) -> ModuleType:
    """The module of a worker, where the drain of its queue is, or of the clock.

    A process loads those that it runs: each of the others would take some MiB of memory.
    """
    return import_module(
        DRAINS[ROOMS[name]].rpartition('.')[0] if name in ROOMS else 'workers.clock'
    )


def allow_files() -> None:
    """Let this process have MOST_FILES open, as far as the system lets it.

    Each ask of a responder is a connection, and servers keep those of a busy hour. Often only 1,024
    are allowed at first.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MOST_FILES if hard == resource.RLIM_INFINITY else min(MOST_FILES, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def run(family: Family) -> None:
    """Be one worker until SIGTERM."""
    name = family.name
    db.configure(WORKERS[name])
    error_reports.start(name)
    tracing.start(name)
    os.nice(10 if name == 'errands' else 0)  # where cores are few, what customers write comes first
    _hear_at_once(family)
    _wait_for('postgresql and its schema', _what_is_missing)
    log.info('started', extra={'worker': name})
    room = load(name)
    if name == 'clock':
        room.run()
    else:
        work(name, ROOMS[name], room)
    process.leave()
    tracing.stop()
    error_reports.stop()
    log.info('stopped', extra={'worker': name})
    # one more of them may come while Python shuts down
    signal.signal(signal.SIGTERM, signal.SIG_IGN)


def stop(signum: int, frame: FrameType | None) -> None:
    stopping.set()


def _hear_at_once(family: Family) -> None:
    """Let a thread hear of signals, too.

    Python's handlers cannot run while the main thread waits for a silent PostgreSQL.
    """
    read, write = os.pipe()
    os.set_blocking(write, False)
    signal.set_wakeup_fd(write)
    arguments = (read, family)
    threading.Thread(target=_hurry_at_signal, args=arguments, name='signals', daemon=True).start()


def _hurry_at_signal(read: int, family: Family) -> None:
    while os.read(read, 1)[0] not in (signal.SIGTERM, signal.SIGINT):
        pass
    family.end_children()
    watchdog.hurry()
    stopping.set()
    time.sleep(AT_LAST + family.has_children)  # after its children: how they end is told
    log.warning('stopped though something hangs; what was under way waits for its lease')
    os._exit(0)


def _on_signals(handler: Callable[[int, FrameType | None], None]) -> None:
    signal.signal(signal.SIGTERM, handler)
    signal.signal(signal.SIGINT, handler)


def work(name: str, queue_name: str, room: ModuleType) -> None:
    """Run an RQ worker until SIGTERM, then finish what is in flight.

    After an outage of Redis another RQ worker is started.
    """
    while not stopping.is_set():
        _wait_for('redis', _why_no_redis)
        try:
            if not stopping.is_set():
                _worker(name, queue_name).work(logging_level='WARNING')
        except StopRequested:  # a second SIGTERM in the middle of RQ's farewell
            pass
        except RedisError as error:
            log.warning('redis went away', extra={'reason': type(error).__name__})
        _on_signals(stop)
        stopping.wait(0.5)
    if not room.close(GRACE - stopping.seconds()):
        log.warning('some calls were still in flight; the sweep settles them')


def _worker(name: str, queue_name: str) -> DrainWorker:
    connection = connect(socket_connect_timeout=2)
    worker = DrainWorker(
        [queue_name],
        connection=connection,
        serializer=JSONSerializer,
        worker_ttl=20,  # an idle worker asks for 5 s at a time
        maintenance_interval=15,
        log_job_description=False,
    )
    worker.kind = name
    return worker


def _wait_for(what: str, why_not: Callable[[], str | None]) -> None:
    """Wait as long as `why_not()` gives a reason, and log it now and then.

    Processes may start in any order.
    """
    said: str | None = None
    say_again = 0.0
    while not stopping.is_set() and (why := why_not()):
        if why != said or time.monotonic() > say_again:
            said = why
            say_again = time.monotonic() + 5
            log.warning('waiting', extra={'for': what, 'reason': why})
        stopping.wait(0.3)


def _what_is_missing() -> str | None:
    try:
        with connection():
            return migrate.missing()
    except CONNECTION_LOST as error:
        return reason(error)


def _why_no_redis() -> str | None:
    try:
        client().ping()
    except RedisError as error:
        return type(error).__name__
    return None


if __name__ == '__main__':
    code = main(sys.argv[1:])
    # All is recorded. To take Python down costs 50 ms and more of CPU, for which a nice process
    # waits seconds on a busy machine, beyond what a SIGTERM gives.
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
