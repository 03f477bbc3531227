"""Retention: what is older than the accounts' rules goes, in small portions by any clock.

Each portion is a transaction of a few hundred rows, so that nobody waits for it; how far it has
come is kept beside the rows (rules.Progress), which one clock at a time has in hand.
"""

import math
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator
from functools import partial

from service.media import file_deletion
from service.messages import erased
from service.privacy import old_events, old_files, old_messages
from service.privacy.rules import Rule, find_rules
from service.runtime.db import no_connection

Part = tuple[str, Callable[[], int]]  # what it counts, and does some of: 0 when nothing is left


class Walk:
    """Once through all that the rules concern, a portion of each at a time.

    `done`: how many rows were looked at, of each kind that there were any of.
    """

    def __init__(self, deletes_files: bool = True) -> None:
        """`deletes_files`: in the storage as well, for which each portion of them waits."""
        self._parts = deque(_parts())
        if deletes_files:
            self._parts.append(('files', file_deletion.delete_due))
        self.done: Counter[str] = Counter()

    @property
    def is_over(self) -> bool:
        return not self._parts

    def step(self, rest: float = 1.0, end: float = math.inf) -> None:
        """Do a portion. `rest`: for how long others have disk and cores then, in portions.

        No rest goes beyond `end` (monotonic).
        """
        name, portion = self._parts.popleft()
        began = time.monotonic()
        count = portion()
        if not count:
            return
        self.done[name] += count
        self._parts.append((name, portion))
        with no_connection():
            now = time.monotonic()
            time.sleep(max(0, min(rest * (now - began), end - now)))


def _parts() -> Iterator[Part]:
    rules = find_rules()
    for rule in rules:
        yield from _of_account(rule)
    yield 'messages', old_messages.empty_postponed
    if bodies := old_events.body_rules(rules):
        owners = old_events.Owners.find()
        for one in bodies:
            yield 'webhooks', partial(old_events.empty_bodies, one, owners)
    yield 'erased', erased.delete_old


def _of_account(rule: Rule) -> Iterator[Part]:
    yield 'messages', partial(old_messages.empty_some, rule)
    yield 'statuses', partial(old_messages.empty_late, rule)
    yield 'changes', partial(old_messages.empty_changes, rule)
    yield 'statuses', partial(old_messages.delete_orphans, rule)
    yield 'events', partial(old_events.delete_events, rule)
    yield 'media', partial(old_files.mark_gone, rule)
