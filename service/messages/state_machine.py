"""The states of a message and the moves between them; service/sending alone makes these moves."""

from enum import StrEnum


class Status(StrEnum):
    """The states, as schema.sql has them.

    Their order is their rank: what Meta tells moves a message up only.
    """

    RECEIVED = 'received'  # inbound, for ever
    SCHEDULED = 'scheduled'
    CANCELLED = 'cancelled'
    EXPIRED = 'expired'
    QUEUED = 'queued'
    HELD = 'held'
    UNKNOWN = 'unknown'
    SENDING = 'sending'
    ACCEPTED = 'accepted'
    SENT = 'sent'
    DELIVERED = 'delivered'
    READ = 'read'
    PLAYED = 'played'
    FAILED = 'failed'  # the last one: later facts are kept, the state stays


class HoldReason(StrEnum):
    """Why a message is held."""

    ACCOUNT = 'account'
    BATCH = 'batch'
    TEMPLATE = 'template'


OUTBOUND = tuple(status for status in Status if status is not Status.RECEIVED)
RANK: dict[str, int] = {status: rank for rank, status in enumerate(OUTBOUND)}

TOLD = frozenset(
    (Status.SENT, Status.DELIVERED, Status.READ, Status.PLAYED)
)  # Meta's names; it invents others
ARRIVED = frozenset(
    (Status.DELIVERED, Status.READ, Status.PLAYED)
)  # a failure afterwards is a fact, no more
# A failure from there may be tried again.
UNDELIVERED = frozenset((Status.SENDING, Status.UNKNOWN, Status.ACCEPTED, Status.SENT))
# What may still leave, or leave again.
WAITING = frozenset((Status.SCHEDULED, Status.QUEUED, Status.HELD, Status.SENDING, Status.UNKNOWN))

# Whatever Meta says of a message, it has accepted it, also one that was taken back after an earlier
# attempt.
META_SAYS = frozenset((Status.ACCEPTED, *TOLD, Status.FAILED))
ALLOWED: dict[str, frozenset[Status]] = {
    Status.RECEIVED: frozenset(),
    Status.SCHEDULED: META_SAYS | {Status.QUEUED, Status.HELD, Status.CANCELLED, Status.EXPIRED},
    Status.QUEUED: META_SAYS | {Status.SENDING, Status.HELD, Status.CANCELLED, Status.EXPIRED},
    Status.HELD: META_SAYS | {Status.QUEUED, Status.SCHEDULED, Status.CANCELLED, Status.EXPIRED},
    Status.SENDING: META_SAYS | {Status.QUEUED, Status.HELD, Status.UNKNOWN, Status.EXPIRED},
    Status.UNKNOWN: META_SAYS | {Status.QUEUED, Status.HELD},
    Status.ACCEPTED: TOLD
    | {Status.FAILED, Status.QUEUED, Status.HELD},  # the last two: Meta says later that it failed
    Status.SENT: ARRIVED | {Status.FAILED, Status.QUEUED, Status.HELD},
    Status.DELIVERED: frozenset((Status.READ, Status.PLAYED)),
    Status.READ: frozenset((Status.PLAYED,)),
    Status.PLAYED: frozenset(),
    Status.FAILED: frozenset((Status.QUEUED, Status.HELD)),  # a person retries it
    Status.CANCELLED: META_SAYS,
    Status.EXPIRED: META_SAYS,
}


def moves_up(before: str, after: str) -> bool:
    """Whether a status from Meta moves a message on: never back, and never from arrived to failed."""
    return RANK[after] > RANK[before] and after in ALLOWED[before]
