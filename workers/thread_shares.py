"""How many threads the calls of one owner may hold: replies of an account, lanes of an endpoint.

Each owner gets a part of what is free, a smaller one when its server is slow. A thread that waits
for an answer cannot be taken back, so some are kept free for whoever comes next: of n owners that
want all they can get, each comes to hold size / (n + 1 / part). One quick owner alone may hold half
of the threads.
"""

import time
from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import Protocol

# An owner whose calls take so long gets half of the free threads; a quicker one gets more.
HALF_SHARE_SECONDS = 10
# An owner of which no call has ended yet gets one of so many free threads.
UNPROVEN_PART = 8
# Owners whose calls take longer than SLOW_SECONDS leave the last RESERVED threads to others,
SLOW_SECONDS = 5
RESERVED = 8
# and the last RESERVED_FOR_PROVEN of these are only for owners that are known to be quick.
RESERVED_FOR_PROVEN = 4
SMOOTHING = 0.5  # weight of the latest call
MAX_OWNERS = 5000  # of which this is remembered


class UnderWay(Protocol):
    """A call that holds a thread. `owner`: whose share it is of."""

    @property
    def owner(self) -> str: ...

    claimed_at: float  # by time.monotonic()


class ThreadShares:
    """How long the calls of each owner take, and so how many threads it may hold."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._costs: dict[str, float] = {}  # seconds of a call

    def ended(self, owner: str, seconds: float) -> None:
        """Note how long a call for an owner took, whatever its result."""
        before = self._costs.pop(owner, seconds)
        self._costs[owner] = SMOOTHING * seconds + (1 - SMOOTHING) * before
        if len(self._costs) > MAX_OWNERS:
            self._costs.pop(next(iter(self._costs)), None)

    def open_to(self, in_flight: Sequence[UnderWay]) -> tuple[dict[str, int], int]:
        """({owner: how many more calls it may begin}, the same for any other owner)."""
        free = self._size - len(in_flight)
        now = time.monotonic()
        held = Counter(ask.owner for ask in in_flight)
        ages: dict[str, float] = defaultdict(float)
        for ask in in_flight:
            ages[ask.owner] += now - ask.claimed_at
        known = {**self._costs, **dict.fromkeys(held)}
        shares = {}
        for owner in known:
            age = ages[owner] / held[owner] if held[owner] else 0
            shares[owner] = max(0, self._share(owner, age, free) - held[owner])
        return shares, self._share_of_the_unproven(free)

    def _share(self, owner: str, age: float, free: int) -> int:
        """Threads that an owner may hold now.

        `age`: seconds that its calls under way have taken on average.
        """
        cost = max(self._costs.get(owner, 0), age)
        if cost > SLOW_SECONDS and free <= RESERVED:
            return 0
        if owner not in self._costs:
            return self._share_of_the_unproven(free)
        return max(1, int(free / (1 + cost / HALF_SHARE_SECONDS)))

    @staticmethod
    def _share_of_the_unproven(free: int) -> int:
        return max(1, free // UNPROVEN_PART) if free > RESERVED_FOR_PROVEN else 0
