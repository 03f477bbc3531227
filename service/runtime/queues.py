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
EVENTS = 'whatsapp-cloud-events'
DRAINS = {
    INCOMING: 'workers.incoming.drain',
    SEND: 'workers.send.drain',
    ERRANDS: 'workers.background.drain',
    EVENTS: 'workers.send_events.drain',
}  # by name: the core does not import workers

# the one retry policy: rows take their delays from it, drain jobs carry it
RETRY = Retry(max=3, interval=[2, 4, 8])
# seconds between the attempts after those, where losing the work is worse than waiting
SLOW_DELAYS = (60, 600, 3600, 21600)
FLAG_SECONDS = 5  # a wake-up flag whose job was lost stops nobody for longer
# Seconds between two rings of a process for one queue. Whatever is committed meanwhile is found by
# the drain of the first: it looks for longer (workers.loop.LINGER).
RING_EVERY = 0.3

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


# One waiting job is enough: it has claimed nothing yet. The flag may have expired while it waits.
MAY_ENQUEUE = """
if redis.call('EXISTS', KEYS[1]) == 1 then return 0 end
redis.call('SET', KEYS[1], '1', 'EX', ARGV[1])
return redis.call('LLEN', KEYS[2]) == 0
"""


def enqueue_drain(name: str) -> None:
    """Enqueue a drain job, which wakes one worker, unless a job waits in the queue already.

    Raises RedisError when Redis is away.
    """
    waiting = queue(name)
    if client().eval(MAY_ENQUEUE, 2, _wakeup_flag(name), waiting.key, FLAG_SECONDS):
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
    client().delete(_wakeup_flag(name))


def _wakeup_flag(name: str) -> str:
    """The key of a flag: a drain was requested, and none has begun since."""
    return f'bell:{name}'


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
        self._names: set[str] = set()  # queues that are to be woken
        self._free_at: dict[str, float] = {}  # when (monotonic) a queue may be woken again
        self._marked = threading.Event()
        self._pid: int | None = None
        self._lock = threading.Lock()
        self._quiet_until = 0.0
        self._thread: threading.Thread | None = None
        self._is_ending = False

    def wake(self, name: str) -> None:
        """Mark a queue after a commit; returns at once and never fails."""
        if self._pid == os.getpid() and name in self._names:
            return  # it will be rung for what was committed by now
        self._names.add(name)
        if self._pid != os.getpid():
            self._start()
        self._marked.set()

    def _start(self) -> None:
        with self._lock:
            if self._pid != os.getpid():
                self._pid = os.getpid()
                self._thread = threading.Thread(target=self._run, name='wakeup', daemon=True)
                self._thread.start()

    def _run(self) -> None:
        seconds: float | None = None
        while True:
            self._marked.wait(seconds)
            self._marked.clear()
            seconds = self._ring()
            if self._is_ending and not self._names:
                return

    def finish(self, seconds: float) -> None:
        """Ring for what is marked, for so long at most: before a process that is short ends."""
        if self._thread is None or self._pid != os.getpid():
            return
        self._is_ending = True
        self._marked.set()
        self._thread.join(seconds)
        self._thread, self._pid, self._is_ending = None, None, False

    def _ring(self) -> float | None:
        """Wake the marked queues that may be woken; seconds until the next one, None without."""
        for name in list(self._names):
            if time.monotonic() >= self._free_at.get(name, 0):
                self._names.discard(name)  # first: what is committed from now on marks it again
                self._free_at[name] = time.monotonic() + RING_EVERY
                self._enqueue(name)
        times = [self._free_at.get(name, 0) for name in list(self._names)]
        return max(0, min(times) - time.monotonic()) if times else None

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
finish = _wakeup_thread.finish
