"""Tells endpoints of events: in order within a conversation, side by side for all else."""

import logging
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from functools import cache, partial

from service.events import delivery, delivery_outcome, endpoint_client, event_body, relay
from service.events.claimed_delivery import ClaimedDelivery, ClaimedLane
from service.events.delivery import FAILING_LANES
from service.events.endpoint_client import Attempt
from service.events.event import RELAY
from service.runtime import metrics
from service.runtime.db import connection, db, passes
from service.runtime.encryption import DecryptionError
from service.runtime.queues import EVENTS
from workers import loop
from workers.pool import Unrecordable, WorkerPool
from workers.thread_shares import ThreadShares

log = logging.getLogger(__name__)

THREADS = 64  # calls under way in one process
PACE = 0.06  # seconds between two steps: events that come meanwhile go together
# After so many seconds no further event of a lane is begun with: with the last attempt it stays
# within the lease.
LANE_SECONDS = 3
READ_AHEAD = 65_536  # bytes of a webhook that is read before its turn: others have up to 3 MB


class Deliveries:
    """This process's pool of THREADS, which tell endpoints."""

    def __init__(self) -> None:
        self.pool = WorkerPool(THREADS, self.tell, _record)
        self.shares = ThreadShares(THREADS)

    def step(self) -> int:
        """Claim as many lanes as may be told now; returns how many deliveries."""
        free = self.pool.free
        if not free:
            return 0
        in_flight = self.pool.in_flight()
        room_of, full = self._room(in_flight)
        lanes = _claim_with_contents(partial(delivery.claim, max(1, free // 2), room_of, full))
        self.pool.submit(lanes)
        return sum(len(lane.deliveries) for lane in lanes)

    def _room(
        self, in_flight: Sequence[ClaimedLane]
    ) -> tuple[Callable[[str, bool], int], list[str]]:
        """How many lanes of an endpoint may be begun; and the endpoints that may have none."""
        shares, other_share = self.shares.open_to(in_flight)
        held = Counter(lane.owner for lane in in_flight)
        failing = {lane.owner for lane in in_flight if lane.is_failing}

        def room_of(endpoint_id: str, is_failing: bool) -> int:
            room = shares.get(endpoint_id, other_share)
            return min(room, FAILING_LANES - held[endpoint_id]) if is_failing else room

        full = [id_ for id_ in shares if room_of(id_, id_ in failing) <= 0]
        return room_of, full

    def tell(self, lane: ClaimedLane) -> list[Attempt]:
        """Tell one event after the other, until one fails."""
        began = time.monotonic()
        attempts: list[Attempt] = []
        try:
            for one in lane.deliveries:
                if attempts and (loop.stopping.is_set() or _seconds_since(began) > LANE_SECONDS):
                    break
                attempts.append(_tell(lane, one))
                if not attempts[-1].is_delivered:
                    break
        finally:
            self.shares.ended(lane.owner, _seconds_since(began))
        return attempts


def _seconds_since(began: float) -> float:
    return time.monotonic() - began


def _tell(lane: ClaimedLane, one: ClaimedDelivery) -> Attempt:
    content = _content(one)
    if content is None:
        return Attempt.not_made('what it tells could not be read')
    try:
        secrets = lane.endpoint.secrets()
    except DecryptionError as error:
        return Attempt.not_made(str(error))
    headers = endpoint_client.signed_headers(lane.endpoint.kind, one.event_id, content, secrets)
    return endpoint_client.post(lane.endpoint.url, content, headers)


def _content(one: ClaimedDelivery) -> bytes | None:
    """What is sent, None when it cannot be read. A large webhook is read when its turn has come."""
    if one.content is not None or one.type != RELAY:
        return one.content
    with suppress(*loop.AWAY), connection():
        return relay.bodies([one.event]).get(one.event_id)
    return None


def _claim_with_contents(claim: Callable[[], list[ClaimedLane]]) -> list[ClaimedLane]:
    """Read what is told, all at once; if that fails, one by one, so that each may fail alone.

    It is read before the commit of the claim, which waits for all that it has seen: after a crash
    of PostgreSQL the ids that endpoints were told of are still those.
    """
    try:
        with db.atomic():
            lanes = claim()
            _fill_in(_without_content(lanes))
        return lanes
    except Exception as error:
        if passes(error):
            raise
        log.error('events are read one by one', exc_info=error)
    with db.atomic():
        lanes = claim()
        for one in _without_content(lanes):
            _fill_in_alone(one)
    return lanes


def _without_content(lanes: Iterable[ClaimedLane]) -> list[ClaimedDelivery]:
    return [one for lane in lanes for one in lane.deliveries if one.content is None]


def _fill_in(told: Sequence[ClaimedDelivery]) -> None:
    events = {one.event_id: one.event for one in told}.values()
    ours = event_body.bodies([event for event in events if event.type != RELAY])
    bodies = {body['id']: event_body.to_text(body) for body in ours}
    relayed = relay.bodies([event for event in events if event.type == RELAY], READ_AHEAD)
    for one in told:
        one.body = bodies.get(one.event_id)
        one.relayed = relayed.get(one.event_id)


def _fill_in_alone(one: ClaimedDelivery) -> None:
    try:
        with db.atomic():
            _fill_in([one])
    except Exception as error:
        if passes(error):
            raise
        log.error('an event could not be read', exc_info=error, extra={'event_id': one.event_id})


def _record(batch: list[tuple[ClaimedLane, list[Attempt] | Exception]]) -> None:
    results = [(lane, _attempts(result)) for lane, result in batch]
    paused = delivery_outcome.record(results)
    _log(results, paused)


def _attempts(result: list[Attempt] | Exception) -> list[Attempt]:
    """The attempts, also where an exception stands in their place: a fault of ours."""
    if isinstance(result, Unrecordable):
        return [Attempt.not_made(str(result))]
    if isinstance(result, Exception):
        return [Attempt.not_made(f'internal error ({type(result).__name__})')]
    return result


def _log(results: Sequence[tuple[ClaimedLane, list[Attempt]]], paused: Sequence[str]) -> None:
    """A line for what each endpoint took, and one for each failure and pause."""
    took: dict[str, list[int]] = defaultdict(list)
    for lane, attempts in results:
        for one, attempt in zip(lane.deliveries, attempts, strict=False):
            _count(attempt)
            if attempt.is_delivered:
                took[lane.endpoint.id].append(attempt.milliseconds)
                continue
            line = {'endpoint_id': one.endpoint_id, 'event_id': one.event_id, 'type': one.type}
            tried = {'attempts': one.attempts + 1, 'reason': attempt.error}
            log.warning('an event was not delivered', extra={**line, **tried})
    for endpoint_id, times in took.items():
        told = {'events': len(times), 'milliseconds': max(times)}
        log.info('events delivered', extra={'endpoint_id': endpoint_id, **told})
    for endpoint_id in paused:
        log.warning('an endpoint is paused', extra={'endpoint_id': endpoint_id})


def _count(attempt: Attempt) -> None:
    if attempt.is_ours:
        metrics.event_deliveries.labels('not_made').inc()
        return
    metrics.event_deliveries.labels('delivered' if attempt.is_delivered else 'failed').inc()
    metrics.event_delivery_seconds.observe(attempt.milliseconds / 1000)


@cache
def deliveries_of_this_process() -> Deliveries:
    """Made at the first drain, after which they live as long as the process."""
    return Deliveries()


def drain() -> None:
    """The job of the queue of events."""
    deliveries = deliveries_of_this_process()
    loop.drain(EVENTS, deliveries.step, pool=deliveries.pool, pace=PACE)


def close(timeout: float) -> bool:
    """Wait until what is under way is told and recorded; whether nothing is left."""
    if deliveries_of_this_process.cache_info().currsize == 0:
        return True
    is_done: bool = deliveries_of_this_process().pool.close(timeout)
    return is_done
