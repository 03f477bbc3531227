"""Events that have to wait for a lock: left alone for a moment, so that no neighbour waits for it.

They stay as they are, due and with their attempts; this worker only looks past them, and past
whatever else comes of the same people. When it has seen to all others, and a pause is over, they
are tried anew, the oldest first, so that nobody's events overtake each other. Another worker may
process them meanwhile.
"""

import logging
import math
import threading
import time
from collections.abc import Iterable, Sequence

from service.conversations import locked_people
from service.conversations.identity_claim import IdentityClaim, Key
from service.conversations.locked_people import PATIENCE
from service.webhooks.inbox import MAX_BYTES, MAX_EVENTS, ClaimedEvent, ParsedEvent
from service.webhooks.routing import find_claims

log = logging.getLogger(__name__)

PAUSE_SECONDS = 0.25  # at least; as long as it took to get past them
LONGEST_SECONDS = 5  # until they are tried again, also where there are always others
WARY_SECONDS = 1  # for so long after a refused lock it is taken for one that is held for longer
# Milliseconds, as PATIENCE is. The least must not be 0, which is without an end.
WARY_PATIENCE, SHORT_PATIENCE, LEAST_PATIENCE = 20, 5, 1


class HeldBack(threading.local):
    """What a thread that processes events holds back. Thrown away with it: nothing is lost."""

    def __init__(self) -> None:
        self.ids: set[str] = set()  # of events
        self._keys: set[Key] = set()  # of people
        # In monotonic seconds: since when and until when something is held back, the latter when
        # all others have been seen to; and until when locks may be held for long.
        self._since: float | None = None
        self._until = math.inf
        self._wary_until = -math.inf

    @property
    def is_waiting(self) -> bool:
        return bool(self.ids)

    def release_in_time(self) -> None:
        """Let all of them be tried again when it is time."""
        if self._since is None:
            return
        if time.monotonic() >= min(self._until, self._since + LONGEST_SECONDS):
            self._since, self._until = None, math.inf
            self.ids.clear()
            self._keys.clear()

    def see_to(self, others: Sequence[ClaimedEvent]) -> None:
        """Begin the pause when no further ones are left behind these others, which are done."""
        if self._since is None or self._until < math.inf:
            return
        if len(others) < MAX_EVENTS and sum(len(one.body) for one in others) < MAX_BYTES:
            now = time.monotonic()
            self._until = now + max(PAUSE_SECONDS, now - self._since)

    def patience(self) -> int:
        """How many milliseconds a batch waits for a lock."""
        if self._since is not None:
            return SHORT_PATIENCE
        return WARY_PATIENCE if time.monotonic() < self._wary_until else PATIENCE

    def patience_alone(self) -> int:
        """How many milliseconds an event that is taken by itself waits for a lock."""
        return SHORT_PATIENCE if self._since is None else LEAST_PATIENCE

    def hold(self, claims: Iterable[IdentityClaim]) -> None:
        """Hold back all events of the people of whom these claims speak."""
        now = time.monotonic()
        if now >= self._wary_until:
            log.warning('events wait for a lock that somebody holds')
        self._wary_until = now + WARY_SECONDS
        self._since = self._since or now
        self._keys |= locked_people.all_keys(claims)

    def hold_event(self, parsed: ParsedEvent) -> None:
        """Hold back an event, and all others of the people of whom it speaks."""
        (claims,) = find_claims([parsed.items])
        self.hold(claims)
        self.ids.add(parsed.event.id)

    def without_held_back(self, events: Sequence[ParsedEvent]) -> list[ParsedEvent]:
        """Those of the events, in order of arrival, that may be processed now."""
        if not self._keys:
            return list(events)
        left = []
        claims_of_events = find_claims([one.items for one in events])
        for one, claims in zip(events, claims_of_events, strict=True):
            keys = {key for claim in claims for key in claim.keys}
            if keys.isdisjoint(self._keys):
                left.append(one)
            else:
                self.ids.add(one.event.id)
                self._keys |= keys  # what comes later of the others in it does not overtake it
        return left


held_back = HeldBack()
