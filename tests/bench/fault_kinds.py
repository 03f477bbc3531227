"""What may go wrong while messages flow: each fault is over when its function returns.

`Host` starts what ended.
"""

import os
import signal
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, field

import psutil

from tests.meta_away import OVERLOADED, UNAVAILABLE
from tests.stack import wait_until
from tests.stack.children import GUARDED, Child

ENTRIES = ('web', 'worker_incoming', 'worker_send', 'clock')
EACH = 2  # processes of each entry
STOP_WITHIN = 25  # seconds after SIGTERM
BOOT = 5  # seconds in which a new process may still be importing
LONGEST = 4  # seconds that a fault lasts at most


@dataclass
class Place:
    """One of the processes that the host keeps."""

    name: str
    env: dict
    child: Child
    started_at: float = field(default_factory=time.monotonic)
    touched: bool = False  # by a fault, since it was started
    killed: bool = False
    asked_at: float | None = None  # to end, by SIGTERM


@dataclass
class Host:
    """Two of each entry, as a platform keeps them: what has ended is started anew."""

    processes: object
    ports: list
    places: list = field(default_factory=list)
    complaints: list = field(
        default_factory=list
    )  # ends that nobody asked for, and those that were late or not 0

    def __post_init__(self):
        self._over, self._thread = (
            threading.Event(),
            threading.Thread(target=self._watch, daemon=True),
        )

    def start(self):
        for name in ENTRIES:
            for number in range(EACH):
                env = {'PORT': str(self.ports[number])} if name == 'web' else {}
                self.places.append(Place(name, env, *self.processes.start(name, env=env)))
        self._thread.start()

    def close(self):
        """Everybody gets SIGTERM, and nobody comes back."""
        self._over.set()
        self._thread.join()
        for place in self.places:
            place.asked_at, place.killed = time.monotonic(), False
            place.child.send(signal.SIGTERM)
        for place in self.places:
            with suppress(AssertionError):
                wait_until(lambda child=place.child: child.returncode is not None, STOP_WITHIN + 5)
            self._judge(place)

    def _watch(self):
        while not self._over.wait(0.1):
            for place in [place for place in self.places if place.child.returncode is not None]:
                self._judge(place)
                self._start_anew(place)

    def _judge(self, place):
        code, asked = place.child.returncode, place.asked_at
        if place.killed:
            return
        if not place.touched and asked is None:
            self.complaints.append(f'{place.name} ended by itself with {code}')
        elif asked is not None and asked - place.started_at < BOOT and code == -signal.SIGTERM:
            return  # Python had not come to our code yet
        elif asked is not None and (code != 0 or time.monotonic() - asked > STOP_WITHIN + 1):
            self.complaints.append(
                f'{place.name} ended with {code}, {time.monotonic() - asked:.0f} s after SIGTERM'
            )

    def _start_anew(self, place):
        """What an ended leader left behind ends by itself; its group is not ours to signal any
        more.
        """
        self.processes.children[place.name].remove(place.child)
        GUARDED.forget(place.child.pid)
        self.places[self.places.index(place)] = Place(
            place.name, place.env, *self.processes.start(place.name, env=place.env)
        )


class Faults:
    """`.kinds`: {name: (how often it is drawn, function)}.

    What the same server suffers comes one after the other.
    """

    def __init__(self, gateway, host, proxy, road, dice):
        self.gateway, self.host, self.proxy, self.road, self.dice = gateway, host, proxy, road, dice
        self._postgres, self._redis = threading.Lock(), threading.Lock()
        self._meta, self._release = threading.Lock(), threading.Lock()
        self.kinds = {
            'one process killed': (16, self.kill_one),
            'an entry killed with all its processes': (12, self.kill_entry),
            'gunicorn master killed alone': (6, self.kill_master),
            'SIGTERM to an entry': (16, self.terminate),
            'Redis flushed': (8, self.flush),
            'Redis stopped and started': (8, self.stop_redis),
            'PostgreSQL crashed and started': (5, self.crash_postgres),
            'a backend of PostgreSQL killed': (5, self.kill_backend),
            'PostgreSQL silent': (6, self.silence),
            'Meta away': (5, lambda: self.close_road(self.road.refuse)),
            'Meta hangs': (5, lambda: self.close_road(self.road.hang)),
            'Meta answers 503': (5, lambda: self.close_road(lambda: self.road.say(UNAVAILABLE))),
            'Meta answers 503 and says why': (
                4,
                lambda: self.close_road(lambda: self.road.say(OVERLOADED)),
            ),
            'release run beside': (4, self.release),
        }

    def draw(self):
        names = list(self.kinds)
        return self.dice.choices(names, [self.kinds[name][0] for name in names])[0]

    def happen(self, name):
        self.kinds[name][1]()

    def kill_one(self):
        place = self.dice.choice(self.host.places)
        with suppress(psutil.NoSuchProcess):
            leader = psutil.Process(place.child.pid)
            victim = self.dice.choice([leader, *leader.children(recursive=True)])
            place.touched = True
            place.killed |= victim.pid == leader.pid
            victim.kill()

    def kill_entry(self):
        place = self.dice.choice(self.host.places)
        place.touched = place.killed = True
        place.child.send(signal.SIGKILL)

    def kill_master(self):
        place = self.dice.choice([place for place in self.host.places if place.name == 'web'])
        place.touched = place.killed = True
        with suppress(ProcessLookupError):
            os.kill(place.child.pid, signal.SIGKILL)

    def terminate(self):
        place = self.dice.choice(
            [place for place in self.host.places if place.asked_at is None] or self.host.places
        )
        place.touched, place.asked_at = True, place.asked_at or time.monotonic()
        place.child.send(signal.SIGTERM)

    def flush(self):
        with self._redis:
            self.gateway.redis.flush()

    def stop_redis(self):
        with self._redis:
            self.gateway.redis.stop(kill=True)
            self.last()
            self.gateway.redis.start()

    def crash_postgres(self):
        with self._postgres:
            self.gateway.postgres.stop(crash=True)
            self.last()
            self.gateway.postgres.start()

    def kill_backend(self):
        """The server undoes what all others were doing, too, and recovers."""
        with self._postgres:
            data = self.gateway.postgres.data / 'postmaster.pid'
            backends = psutil.Process(int(data.read_text().split()[0])).children()
            with suppress(psutil.NoSuchProcess):
                self.dice.choice(
                    [one for one in backends if 'gateway' in ' '.join(one.cmdline())]
                ).kill()

    def silence(self):
        with self._postgres:
            self.proxy.silence()
            self.last()
            self.proxy.speak()

    def close_road(self, close):
        with self._meta:
            close()
            self.last()
            self.road.open()

    def release(self):
        """As at a deployment; one that meets a PostgreSQL that is away is done again."""
        with self._release:
            wait_until(
                lambda: self.gateway.processes.run('release') == 0,
                120,
                1,
                'release did not succeed',
            )
            self.gateway.processes.children['release'].clear()

    def last(self):
        time.sleep(self.dice.uniform(0.5, LONGEST))
