"""The states of a message and the moves between them. Only service/sending makes these moves."""

from enum import StrEnum


class Status(StrEnum):
    """The states, as schema.sql has them, by rank: what Meta tells only moves a message up."""

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

# What Meta tells by these names. Names that it invents later mean that it has accepted the message.
TOLD = frozenset((Status.SENT, Status.DELIVERED, Status.READ, Status.PLAYED))
# From here a failure moves nothing: it is kept as a fact.
ARRIVED = frozenset((Status.DELIVERED, Status.READ, Status.PLAYED))
# From here a message may be tried again when it fails.
UNDELIVERED = frozenset((Status.SENDING, Status.UNKNOWN, Status.ACCEPTED, Status.SENT))
# What may still leave, or leave again.
WAITING = frozenset((Status.SCHEDULED, Status.QUEUED, Status.HELD, Status.SENDING, Status.UNKNOWN))

# What no customer has got, and none is just getting.
UNSAID = frozenset((Status.SCHEDULED, Status.CANCELLED, Status.EXPIRED, Status.FAILED))

# Whatever Meta says of a message, it has accepted it. That may also be a message that was cancelled
# or expired after an earlier attempt.
META_SAYS = frozenset((Status.ACCEPTED, *TOLD, Status.FAILED))
ALLOWED: dict[str, frozenset[Status]] = {
    Status.RECEIVED: frozenset(),
    Status.SCHEDULED: META_SAYS | {Status.QUEUED, Status.HELD, Status.CANCELLED, Status.EXPIRED},
    Status.QUEUED: META_SAYS | {Status.SENDING, Status.HELD, Status.CANCELLED, Status.EXPIRED},
    Status.HELD: META_SAYS | {Status.QUEUED, Status.SCHEDULED, Status.CANCELLED, Status.EXPIRED},
    Status.SENDING: META_SAYS | {Status.QUEUED, Status.HELD, Status.UNKNOWN, Status.EXPIRED},
    Status.UNKNOWN: META_SAYS | {Status.QUEUED, Status.HELD},
    # Tried again, or held, when Meta says later that it failed.
    Status.ACCEPTED: TOLD | {Status.FAILED, Status.QUEUED, Status.HELD},
    Status.SENT: ARRIVED | {Status.FAILED, Status.QUEUED, Status.HELD},
    Status.DELIVERED: frozenset((Status.READ, Status.PLAYED)),
    Status.READ: frozenset((Status.PLAYED,)),
    Status.PLAYED: frozenset(),
    Status.FAILED: frozenset((Status.QUEUED, Status.HELD)),  # a person retries it
    Status.CANCELLED: META_SAYS,
    Status.EXPIRED: META_SAYS,
}


def moves_up(before: str, after: str) -> bool:
    """Whether a status from Meta moves a message: never back, never from arrived to failed."""
    return RANK[after] > RANK[before] and after in ALLOWED[before]
