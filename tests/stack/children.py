"""Processes that end with this one, however it ends: a guard process sees its pipe close and ends
what is left.
"""

import atexit
import contextlib
import os
import signal
import subprocess
import sys
import threading

import psutil

from .waiting import wait_until

GUARD = """
import os, signal, sys, time
watched = {}
for line in sys.stdin:
    pid, signum = map(int, line.split())
    watched.pop(pid, None) if signum == 0 else watched.update({pid: signum})
def send(pid, signum):
    try: os.killpg(pid, signum)
    except OSError: watched.pop(pid, None)
for pid, signum in list(watched.items()): send(pid, signum)
deadline = time.monotonic() + 10
while watched and time.monotonic() < deadline:
    time.sleep(0.05)
    for pid in list(watched): send(pid, 0)
for pid in list(watched): send(pid, signal.SIGKILL)
"""


class Guard:
    """A process that outlives us for a moment and ends what we leave behind."""

    def __init__(self):
        self._lock = threading.Lock()
        self._process = None

    def watch(self, pid, signum):
        with self._lock:
            if self._process is None:
                command = [sys.executable, '-ISc', GUARD]
                self._process = subprocess.Popen(
                    command, stdin=subprocess.PIPE, start_new_session=True, text=True
                )
                atexit.register(self._close)
            self._process.stdin.write(f'{pid} {signum}\n')
            self._process.stdin.flush()

    def forget(self, pid):
        self.watch(pid, 0)

    def _close(self):
        self._process.stdin.close()
        self._process.wait()


GUARDED = Guard()


class Child:
    """A process with a group of its own; signals go to the whole group, as Heroku's do."""

    def __init__(self, command, *, farewell=signal.SIGTERM, stdin=subprocess.DEVNULL, **options):
        self.process = subprocess.Popen(command, stdin=stdin, start_new_session=True, **options)
        self.pid = self.process.pid
        GUARDED.watch(self.pid, farewell)

    @property
    def returncode(self):
        return self.process.poll()

    def send(self, signum):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signum)

    def wait(self, timeout):
        """The return code; what does not end in time is killed, with everything it started."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(timeout)
        self.send(signal.SIGKILL)
        self.process.wait()
        wait_until(self._is_group_gone)  # a killed child of it may listen for a moment more
        GUARDED.forget(self.pid)
        return self.process.returncode

    def _is_group_gone(self):
        try:
            os.killpg(self.pid, 0)
        except ProcessLookupError:
            return True
        return not any(map(self._lives_in_group, psutil.process_iter()))

    def _lives_in_group(self, process):
        with contextlib.suppress(ProcessLookupError, psutil.NoSuchProcess):
            is_ours = os.getpgid(process.pid) == self.pid
            return is_ours and process.status() != psutil.STATUS_ZOMBIE
        return False

    def stop(self, signum=signal.SIGTERM, timeout=30):
        if self.returncode is None:
            self.send(signum)
        return self.wait(timeout)


def wait_for_server(child, is_up, log):
    def up_or_dead():
        return child.returncode is not None or is_up()

    wait_until(
        up_or_dead, timeout=60, message=lambda: f'server did not start:\n{log.read_text()[-3000:]}'
    )
    if child.returncode is not None:
        GUARDED.forget(child.pid)
        raise RuntimeError(
            f'server ended with {child.returncode} at start:\n{log.read_text()[-3000:]}'
        )
