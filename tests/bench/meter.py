"""CPU and memory of process trees, the machine's own speed, and the moments between which they are
compared.
"""

import os
import statistics
import time
from dataclasses import dataclass

import psutil

MIB = 2**20


class Tree:
    """A process with everything it started,
    ended children too (their time stands with the parent).
    """

    def __init__(self, pid):
        self.root = psutil.Process(pid)

    def members(self):
        return [self.root, *self.root.children(recursive=True)]

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
    """What passed between two readings: seconds, and CPU seconds by name."""

    seconds: float
    cpu: dict

    def per(self, name, count):
        """CPU milliseconds of one tree for each of `count` things."""
        return self.cpu[name] * 1000 / count


class Watch:
    """`trees`: {name: Tree}. start() … stop() gives a Span."""

    def __init__(self, trees):
        self.trees = trees

    def start(self):
        self._cpu, self._at = self._read(), time.monotonic()

    def stop(self):
        seconds = time.monotonic() - self._at
        return Span(
            seconds, {name: value - self._cpu[name] for name, value in self._read().items()}
        )

    def _read(self):
        return {name: tree.cpu() for name, tree in self.trees.items()}


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
