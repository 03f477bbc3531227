"""The clock's part of retention: a little at each sweep, so that nothing else waits for it."""

import logging
import time

from service.privacy.retention_walk import Walk

log = logging.getLogger(__name__)
SECONDS = 0.3  # of a sweep, one each two seconds
PAUSE = 60  # seconds between two walks

_walks: list[Walk] = []  # the one that is under way, if any
_next_at = 0.0  # monotonic: not before it begins the next one


def step() -> None:
    """Let go some of what is too old."""
    global _next_at
    end = time.monotonic() + SECONDS
    if not _walks:
        if time.monotonic() < _next_at:
            return
        _walks.append(Walk(deletes_files=False))  # workers/delete_files.py does
    walk = _walks[0]
    while not walk.is_over and time.monotonic() < end:
        walk.step(end=end)  # what fails is left out of this walk
    if walk.is_over:
        _walks.clear()
        _next_at = time.monotonic() + PAUSE
        if walk.done:
            log.info('retention', extra=walk.done)
