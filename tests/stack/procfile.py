"""The Procfile's entries as real processes."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path

from honcho.environ import parse_procfile

from .children import Child
from .waiting import port_open, wait_until

ROOT = Path(__file__).resolve().parent.parent.parent


class Processes:
    """Those of the checkout `root`: started, signalled, read.

    What they write goes to <directory>/<name>.<n>.log, or to on_line(name, line).
    """

    def __init__(self, directory, env, *, root=ROOT, on_line=None):
        self.directory = Path(directory)
        self.directory.mkdir(parents=True, exist_ok=True)
        self.env = env
        self.root = Path(root)
        self.commands = dict(parse_procfile((self.root / 'Procfile').read_text()).processes)
        self.children = {}  # name → [Child]
        self._started = Counter()
        self._on_line = on_line

    def start(self, name, n=1, env=None, command=None):
        """Start `n` more of an entry (or of a command of your own, under that name); the Child
        objects.
        """
        return [self._start(name, command or self.commands[name], env or {}) for _ in range(n)]

    def run(self, name, env=None, timeout=60):
        """Start one, wait for its end, give its return code."""
        (child,) = self.start(name, env=env)
        return child.wait(timeout)

    def kill(self, name, signum=signal.SIGKILL):
        """Signal every running process of an entry; SIGKILL also waits for the end."""
        for child in self.running(name):
            child.send(signum)
            if signum == signal.SIGKILL:
                child.wait(10)

    def running(self, name=None):
        """The entry's children that live; without a name everybody's."""
        families = self.children.values() if name is None else [self.children.get(name, [])]
        return [child for family in families for child in family if child.returncode is None]

    def stop(self, name, timeout=30):
        """SIGTERM, then wait; the return codes of all that ever ran under the name.

        Late ones are killed (-9).
        """
        return self._stop([name], timeout)[name]

    def stop_all(self, timeout=30):
        """The same for every entry: {name: [return codes]}."""
        return self._stop(list(self.children), timeout)

    def logs(self, name):
        """What the entry's processes wrote so far, one after the other."""
        files = sorted(
            self.directory.glob(f'{name}.*.log'), key=lambda file: int(file.suffixes[-2][1:])
        )
        return ''.join(file.read_text(errors='replace') for file in files)

    def wait_port(self, port, timeout=30):
        wait_until(
            lambda: port_open(port),
            timeout,
            message=lambda: f'nothing listens on {port}:\n{self._all_logs()}',
        )

    def _start(self, name, command, env):
        family = self.children.setdefault(name, [])
        self._started[name] += 1
        number = self._started[
            name
        ]  # also after one was taken out of its family: no log is begun twice
        where = {
            'cwd': self.root,
            'env': {**child_environ(), **self.env, **env},
            'stderr': subprocess.STDOUT,
        }
        shell = [
            '/bin/sh',
            '-c',
            f'exec {command}',
        ]  # exec: the entry itself is the group's leader, its end is the end
        if self._on_line:
            child = Child(shell, stdout=subprocess.PIPE, **where)
            label = name if number == 1 else f'{name}.{number}'
            threading.Thread(
                target=self._pump, args=(label, child.process.stdout), daemon=True
            ).start()
        else:
            with (self.directory / f'{name}.{number}.log').open('wb') as log:
                child = Child(shell, stdout=log, **where)
        family.append(child)
        return child

    def _pump(self, name, stream):
        with stream:
            for line in stream:
                self._on_line(name, line.decode(errors='replace').rstrip('\n'))

    def _stop(self, names, timeout):
        deadline = time.monotonic() + timeout
        for name in names:
            self.kill(name, signal.SIGTERM)
        left = {name: self.children.get(name, []) for name in names}
        return {
            name: [c.wait(max(0, deadline - time.monotonic())) for c in family]
            for name, family in left.items()
        }

    def _all_logs(self):
        return '\n'.join(f'--- {name}\n{self.logs(name)[-2000:]}' for name in self.children)


def child_environ():
    """Our environment, with this interpreter's `python` and `gunicorn` first on the PATH."""
    path = f'{Path(sys.executable).parent}{os.pathsep}{os.environ.get("PATH", os.defpath)}'
    return {**os.environ, 'PATH': path, 'PYTHONUNBUFFERED': '1'}
