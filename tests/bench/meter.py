"""CPU and memory of process trees, the machine's own speed, and the moments between which they are
compared.
"""

import os
import statistics
import time
from dataclasses import dataclass
from itertools import chain

import psutil

MIB = 2**20


class Tree:
    """Processes with everything they started,
    ended children too (their time stands with the parent).
    """

    def __init__(self, *pids):
        self.roots = [psutil.Process(pid) for pid in pids]

    def members(self):
        children = (root.children(recursive=True) for root in self.roots)
        return [*self.roots, *chain.from_iterable(children)]

    def cpu(self):
        """Seconds, user and system."""
        return sum(sum(times[:4]) for times in self._each(psutil.Process.cpu_times))

    def memory(self):
        """(RSS, PSS) in MiB; PSS counts what processes share once."""
        found = self._each(psutil.Process.memory_full_info)
        return sum(one.rss for one in found) / MIB, sum(one.pss for one in found) / MIB

    def _each(self, read):
        found = []
        for process in self.members():
            try:
                found.append(read(process))
            except psutil.NoSuchProcess:
                continue
        return found


@dataclass
class Span:
    """What passed between two readings: seconds, and CPU seconds by name and of all the machine."""

    seconds: float
    cpu: dict
    busy: float

    @property
    def foreign(self):
        """The share of the machine's work that was none of the trees'."""
        ours = sum(self.cpu.values())
        return 1 - ours / max(self.busy, ours)

    def per(self, name, count):
        """CPU milliseconds of one tree for each of `count` things."""
        return self.cpu[name] * 1000 / count


class Watch:
    """`trees`: {name: Tree}. start() … stop() gives a Span."""

    def __init__(self, trees):
        self.trees = trees

    def start(self):
        self._cpu, self._busy, self._at = self._read(), busy_seconds(), time.monotonic()

    def stop(self):
        seconds, busy = time.monotonic() - self._at, busy_seconds() - self._busy
        cpu = {name: value - self._cpu[name] for name, value in self._read().items()}
        return Span(seconds, cpu, busy)

    def _read(self):
        return {name: tree.cpu() for name, tree in self.trees.items()}


def busy_seconds():
    """CPU seconds that this machine has worked since its start, for whomever."""
    times = psutil.cpu_times()
    return sum(times) - times.idle - times.iowait - times.guest - times.guest_nice


def quantile(values, share):
    values = sorted(values)
    return values[min(len(values) - 1, int(share * len(values)))]


def python_speed():
    """Milliseconds of CPU for a loop of a million: how fast this machine is just now."""
    began = time.process_time()
    for _ in range(1_000_000):
        pass
    return (time.process_time() - began) * 1000


def machine(stand):
    """One line about where and when the figures were taken."""
    load = ' '.join(f'{value:.1f}' for value in os.getloadavg())
    return (
        f'{os.cpu_count()} cores, load {load}, Python loop of 1M {python_speed():.0f} ms, '
        f'one durable commit {commit_milliseconds(stand.postgres):.2f} ms (median of 100)'
    )


def commit_milliseconds(postgres):
    connection = postgres.connect()
    connection.autocommit = True
    taken = []
    with connection.cursor() as cursor:
        cursor.execute('CREATE TABLE IF NOT EXISTS bench_commit (at timestamptz)')
        for _ in range(100):
            began = time.perf_counter()
            cursor.execute('INSERT INTO bench_commit VALUES (now())')
            taken.append((time.perf_counter() - began) * 1000)
        cursor.execute('DROP TABLE bench_commit')
    connection.close()
    return statistics.median(taken)
