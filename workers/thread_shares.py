"""How many of the threads an account's asks may hold: each a part of what is free, the slower its
responder the less.

A thread that waits for an answer cannot be taken back, so some are left over, whoever asks: of n
accounts that want all they can get, each comes to hold size / (n + 1 / part). One quick account
alone may hold half of the threads.
"""

import time
from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import Protocol

# that an ask may cost for half of what is free; quick ones get nearly all, slow ones a small part
SECONDS = 10
UNPROVEN = 8  # an account none of whose asks has ended yet may hold one of so many free threads
COSTLY = 5  # seconds; accounts whose asks cost more leave the last RESERVE threads to the others,
RESERVE = 8
PROVEN = 4  # and the last of these are for those who have shown that they are quick
SMOOTHING = 0.5  # weight of the latest ask
KNOWN = 5000  # accounts of which this is remembered


class UnderWay(Protocol):
    """An ask that holds a thread (reply_queue.ClaimedReply)."""

    chatbot_id: str
    claimed_at: float  # by time.monotonic()


class ThreadShares:
    """The costs of a process's asks, by account."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._costs: dict[str, float] = {}  # seconds of an ask

    def ended(self, chatbot_id: str, seconds: float) -> None:
        """One of its asks has taken so long, whatever came of it."""
        before = self._costs.pop(chatbot_id, seconds)
        self._costs[chatbot_id] = SMOOTHING * seconds + (1 - SMOOTHING) * before
        if len(self._costs) > KNOWN:
            self._costs.pop(next(iter(self._costs)), None)

    def open_to(self, in_flight: Sequence[UnderWay]) -> tuple[dict[str, int], int]:
        """({chatbot_id: how many more asks it may begin now}, the same for everybody else)."""
        free, now = self._size - len(in_flight), time.monotonic()
        held = Counter(ask.chatbot_id for ask in in_flight)
        ages: dict[str, float] = defaultdict(float)
        for ask in in_flight:
            ages[ask.chatbot_id] += now - ask.claimed_at
        known = {**self._costs, **dict.fromkeys(held)}
        shares = {}
        for chatbot_id in known:
            age = ages[chatbot_id] / held[chatbot_id] if held[chatbot_id] else 0
            shares[chatbot_id] = max(0, self._share(chatbot_id, age, free) - held[chatbot_id])
        return shares, self._share_of_the_unproven(free)

    def _share(self, chatbot_id: str, age: float, free: int) -> int:
        """Threads that it may hold now; `age`: seconds that its asks under way have taken on
        average.
        """
        cost = max(self._costs.get(chatbot_id, 0), age)
        if cost > COSTLY and free <= RESERVE:
            return 0
        if chatbot_id not in self._costs:
            return self._share_of_the_unproven(free)
        return max(1, int(free / (1 + cost / SECONDS)))

    @staticmethod
    def _share_of_the_unproven(free: int) -> int:
        return max(1, free // UNPROVEN) if free > PROVEN else 0
