"""Which commits wait for the disk: all, but those of what is worked out again.

The server's log is lost from its end only, by a crash of the server itself. So a commit that waits
for the disk (every commit is one unless it says otherwise) makes all durable that anybody saw
before it.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

# .is_worked_out_again: in a block of that name
_local = threading.local()

NO_WAIT = 'SET LOCAL synchronous_commit TO off; '
# Writes a word into the log, and waits for it and all before it. No table is touched.
MAKE_SEEN_DURABLE = "SELECT pg_logical_emit_message(true, 'whatsapp-gateway', '')"


@contextmanager
def worked_out_again() -> Iterator[None]:
    """Let the transactions that begin in a block (or a function) be lost by a crash of PostgreSQL.

    Right where durable rows lead to the same again: they are still due then, so what was lost is
    done once more, and nobody outside has been told of it. Whoever tells someone outside commits
    before, and that commit waits for all of these. Wrong for what a caller or Meta got an answer
    to, for the attempt of a call and its outcome, and for the claim of replies. A transaction that
    has begun before the block is not changed by it.
    """
    before = getattr(_local, 'is_worked_out_again', False)
    _local.is_worked_out_again = True
    try:
        yield
    finally:
        _local.is_worked_out_again = before


def commit_option() -> str:
    """What goes before the first statement of a transaction that begins now."""
    return NO_WAIT if getattr(_local, 'is_worked_out_again', False) else ''
