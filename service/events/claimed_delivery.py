"""What one process tells an endpoint now: lanes of deliveries that it holds under a lease."""

from dataclasses import dataclass, field
from datetime import datetime
from time import monotonic

from service.events.endpoint import signing_secrets
from service.events.event import Event
from service.runtime.rows import Json


@dataclass(slots=True)
class ClaimedEndpoint:
    """An endpoint that is told. Its secrets are encrypted."""

    id: str
    kind: str
    url: str
    secret: str
    former_secret: str | None
    former_secret_until: datetime | None
    failing_since: datetime | None

    def secrets(self) -> list[str]:
        """Those that sign: its own, and for a while the one that it has replaced."""
        return signing_secrets(self.secret, self.former_secret, self.former_secret_until)


@dataclass(slots=True)
class ClaimedDelivery:
    """An event that one endpoint is told.

    `body`: its JSON, as the first attempt sends it and each further one; `relayed`: in its place,
    what Meta posted, which is made anew for each attempt.
    """

    endpoint_id: str
    event_id: str
    lane: str | None
    claim: str
    attempts: int
    body: str | None
    type: str
    chatbot_id: str
    conversation_id: str | None
    message_id: str | None
    data: Json
    relayed: bytes | None = None

    @property
    def content(self) -> bytes | None:
        """The bytes that are sent; None: they could not be made."""
        return self.body.encode() if self.body is not None else self.relayed

    @property
    def event(self) -> Event:
        return Event(
            self.event_id,
            self.type,
            self.chatbot_id,
            self.conversation_id,
            self.message_id,
            self.data,
        )


@dataclass(slots=True)
class ClaimedLane:
    """Events of one conversation that one endpoint is told now, one after the other."""

    endpoint: ClaimedEndpoint
    deliveries: list[ClaimedDelivery]
    claimed_at: float = field(default_factory=monotonic)

    @property
    def id(self) -> str:
        """Of its first event, as the pool wants it."""
        return self.deliveries[0].event_id

    @property
    def owner(self) -> str:
        """Whose threads it takes."""
        return self.endpoint.id

    @property
    def is_failing(self) -> bool:
        return self.endpoint.failing_since is not None
