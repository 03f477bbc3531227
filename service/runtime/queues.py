"""Redis and RQ. A queue only wakes a worker: what has to be done is in rows of PostgreSQL."""

import logging
import os
import threading
import time
from contextlib import suppress
from typing import Any

from redis import Redis, RedisError
from redis.backoff import NoBackoff
from redis.retry import Retry as RedisRetry
from rq import Queue, Retry
from rq.exceptions import NoSuchJobError
from rq.registry import ScheduledJobRegistry
from rq.serializers import JSONSerializer

from service.runtime.config import settings

log = logging.getLogger(__name__)

INCOMING = 'incoming-messages'
SEND = 'whatsapp-cloud-send'
ERRANDS = 'whatsapp-cloud-errands'
DRAINS = {
    INCOMING: 'workers.incoming.drain',
    SEND: 'workers.send.drain',
    ERRANDS: 'workers.background.drain',
}  # by name: the core does not import workers

# the one retry policy: rows take their delays from it, drain jobs carry it
RETRY = Retry(max=3, interval=[2, 4, 8])
# seconds between the attempts after those, where losing the work is worse than waiting
SLOW_DELAYS = (60, 600, 3600, 21600)
FLAG_SECONDS = 5  # a wake-up flag whose job was lost stops nobody for longer
WAKE_EVERY = 0.015  # seconds between two rounds of a process's wake-ups

_clients: dict[int, Redis] = {}


def retry_delay(attempts: int) -> int | None:
    """Seconds until the next attempt after `attempts` failures, None when there is none."""
    return RETRY.intervals[attempts - 1] if attempts <= RETRY.max else None


def patient_delay(attempts: int) -> int:
    """Seconds until the next attempt, without an end: the last of SLOW_DELAYS again and again."""
    number = min(attempts - RETRY.max, len(SLOW_DELAYS))
    return retry_delay(attempts) or SLOW_DELAYS[number - 1]


def connect(**options: Any) -> Redis:
    """A new Redis client.

    Heroku's Redis shows a self-signed certificate: REDIS_TLS_VERIFY=no accepts it.
    """
    if settings.REDIS_URL.startswith('rediss:') and not settings.REDIS_TLS_VERIFY:
        options['ssl_cert_reqs'] = 'none'
    return Redis.from_url(settings.REDIS_URL, **options)


def client() -> Redis:
    """This process's Redis client, which gives up at once when Redis is away.

    With redis-py's defaults it would wait 4 to 40 s.
    """
    pid = os.getpid()
    if pid not in _clients:
        _clients[pid] = connect(
            socket_timeout=2, socket_connect_timeout=1, retry=RedisRetry(NoBackoff(), 0)
        )
    return _clients[pid]


def queue(name: str, connection: Redis | None = None) -> Queue:
    return Queue(name, connection=connection or client(), serializer=JSONSerializer)


# One waiting job is enough: it has claimed nothing yet. An expired flag does not tell whether there
# is one; the queue's length does.
MAY_ENQUEUE = """
if redis.call('EXISTS', KEYS[1]) == 1 then return 0 end
redis.call('SET', KEYS[1], '1', 'EX', ARGV[1])
if redis.call('DEL', KEYS[2]) == 1 or redis.call('LLEN', KEYS[3]) == 0 then return 1 end
return 0
"""


def enqueue_drain(name: str) -> None:
    """Enqueue a drain job, which wakes one worker, unless a job waits in the queue already.

    Raises RedisError when Redis is away.
    """
    waiting = queue(name)
    if client().eval(MAY_ENQUEUE, 3, *_wakeup_flags(name), waiting.key, FLAG_SECONDS):
        waiting.enqueue(
            DRAINS[name],
            retry=RETRY,
            job_timeout=600,
            result_ttl=0,
            failure_ttl=60,
            description='drain',
        )


def clear_wakeup(name: str) -> None:
    """A drain begins: rows that are committed from now on enqueue a job again.

    It has to be called before the drain claims rows, or a row could be missed.
    """
    requested, started = _wakeup_flags(name)
    both = client().pipeline()
    both.delete(requested)
    both.set(started, '1', ex=FLAG_SECONDS)
    both.execute()


def _wakeup_flags(name: str) -> tuple[str, str]:
    """The keys of two flags: a drain was requested, and one has started since."""
    return f'bell:{name}', f'bell:{name}:answered'


def forget_abandoned() -> None:
    """Delete the drain jobs of killed workers.

    RQ schedules them again, but no scheduler runs here, and the clock has enqueued new ones.
    """
    for name in DRAINS:
        registry = ScheduledJobRegistry(queue=queue(name))
        for job_id in registry.get_job_ids():
            with suppress(NoSuchJobError):  # another clock was faster
                registry.remove(job_id, delete_job=True)


class WakeupThread:
    """Enqueues drains from a thread of its own, so that no request ever waits for Redis."""

    def __init__(self) -> None:
        self._names: set[str] = set()
        self._marked = threading.Event()
        self._pid: int | None = None
        self._lock = threading.Lock()
        self._quiet_until = 0.0

    def wake(self, name: str) -> None:
        """Mark a queue after a commit; returns at once and never fails."""
        self._names.add(name)
        if self._pid != os.getpid():
            self._start()
        self._marked.set()

    def _start(self) -> None:
        with self._lock:
            if self._pid != os.getpid():
                self._pid = os.getpid()
                threading.Thread(target=self._run, name='wakeup', daemon=True).start()

    def _run(self) -> None:
        while True:
            self._marked.wait()
            self._marked.clear()
            while self._names:
                self._enqueue(self._names.pop())
            time.sleep(WAKE_EVERY)

    def _enqueue(self, name: str) -> None:
        try:
            enqueue_drain(name)
        except RedisError as error:  # the clock finds the row
            if time.monotonic() > self._quiet_until:
                self._quiet_until = time.monotonic() + 10
                log.warning(
                    'redis is away, work waits for it',
                    extra={'queue': name, 'reason': type(error).__name__},
                )


_wakeup_thread = WakeupThread()
wake = _wakeup_thread.wake
