"""The processes of one entry of the Procfile: they begin together and end together."""

import os
import signal
import threading
from contextlib import suppress

from workers.loop import stopping


class Family:
    """This process, and those that it has forked. When one of them ends, all end.

    The first is a worker itself, instead of one more process that waits for the others: a process
    takes some 13 MiB, however little it does.
    """

    def __init__(self, names: list[str]) -> None:
        """Fork a process for each name but the first, before anything is open.

        `name` is what this process is to run.
        """
        self.name = names[0]
        self._children: list[int] = []
        read, write = os.pipe()
        self._lifeline = [write]  # nobody writes: children read its end when all are to end
        for name in names[1:]:
            child = os.fork()
            if not child:
                self._be_child(name, read)
                return
            self._children.append(child)
        os.close(read)
        if self._children:
            threading.Thread(target=self._watch, name='children', daemon=True).start()

    def end_children(self) -> None:
        """Let the children end, as at a SIGTERM: this process stops. May be called again."""
        with suppress(IndexError):
            os.close(self._lifeline.pop())

    @property
    def has_children(self) -> bool:
        return bool(self._children)

    def wait(self) -> int:
        """Wait until all children have ended; 1 when one failed, else 0."""
        self.end_children()
        ends = [os.waitpid(child, 0)[1] for child in self._children]
        return int(any(os.waitstatus_to_exitcode(end) for end in ends))

    def _be_child(self, name: str, read: int) -> None:
        self.name = name
        stopping.after_fork()
        self._children.clear()
        self.end_children()  # this process's copy of the end that the parent holds
        arguments = (read,)
        threading.Thread(target=_outlive, args=arguments, name='lifeline', daemon=True).start()

    def _watch(self) -> None:
        """Stop this process when a child ends. Who waits for them all learns how."""
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOWAIT)
        os.kill(os.getpid(), signal.SIGTERM)


def _outlive(read: int) -> None:
    """End this process when its parent stops or is gone."""
    os.read(read, 1)
    os.kill(os.getpid(), signal.SIGTERM)
