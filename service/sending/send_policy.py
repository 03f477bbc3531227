"""May this message be sent to this person now?

The 24-hour window decides about everything but templates (docs/meta.md, section 8), and what the
person said about marketing decides about marketing templates.
"""

from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from service.conversations import opt_out, service_window
from service.runtime.errors import Conflict
from service.runtime.prepared import fill
from service.runtime.rows import fetch_as
from service.runtime.timestamps import to_rfc3339
from service.sending.outbound_message import OutboundMessage

# Only conversations with a restriction: most people may be sent everything.
FIND_RESTRICTED = fill(
    """
SELECT c.id AS conversation_id, CASE WHEN {closed} THEN c.last_inbound_at END AS last_inbound_at,
  c.opted_out_at, c.opted_out_by
FROM conversation c WHERE c.id = ANY(%s::uuid[]) AND ({closed} OR c.opted_out_at IS NOT NULL)
""",
    closed=service_window.CLOSED,
)
WINDOW_CLOSED = (
    'The 24-hour window of this conversation closed at {}: until the customer writes again, only a '
    'template can be sent. Send a template, or name a fallback_template; with "force": true it is '
    'left to Meta.'
)
OPTED_OUT = (
    'This person has wanted no marketing since {}: {}. Only messages that are no marketing can be '
    'sent.'
)
REASONS = {
    'keyword': 'they wrote a STOP word',
    'user_preferences': 'they told WhatsApp so',
    'meta': f'Meta refused a message with {opt_out.OPTED_OUT_CODE}',
    'api': 'the platform said so',
}


@dataclass(frozen=True, slots=True)
class Eligibility:
    """What restricts the messages to a person.

    `last_inbound_at`: None unless the window has closed. `opted_out_at`: None while they take
    marketing.
    """

    conversation_id: str
    last_inbound_at: datetime | None
    opted_out_at: datetime | None
    opted_out_by: str | None


@dataclass(frozen=True, slots=True)
class Denial:
    """Why a message may not be sent: a sentence for people, and members for programs."""

    sentence: str
    members: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Decision:
    """Whether a message may be sent: as it is, as its fallback, or not at all."""

    use_fallback: bool = False
    denial: Denial | None = None


UNRESTRICTED = Decision()


def require_allowed(message: OutboundMessage) -> OutboundMessage:
    """The message as it may be sent: itself or its fallback. Raises Conflict."""
    decisions = decide_all(message, [message.conversation_id])
    decision = decisions.get(message.conversation_id, UNRESTRICTED)
    if decision.denial:
        raise Conflict(decision.denial.sentence, **decision.denial.members)
    return message.fallback() if decision.use_fallback else message


def decide_all(message: OutboundMessage, conversations: Collection[str]) -> dict[str, Decision]:
    """What is decided about one message to many; conversations without a restriction are absent."""
    restricted = find_restricted(message, conversations)
    return {one.conversation_id: decide(message, one) for one in restricted}


def find_restricted(message: OutboundMessage, conversations: Collection[str]) -> list[Eligibility]:
    """Restrictions of these conversations that may concern the message, in at most one query."""
    if not conversations or not (message.is_marketing or message.needs_open_window):
        return []
    return fetch_as(Eligibility, FIND_RESTRICTED, (list(conversations),))


def decide(message: OutboundMessage, eligibility: Eligibility) -> Decision:
    """Whether a message may be sent to a person with these restrictions."""
    is_closed = eligibility.last_inbound_at is not None and message.needs_open_window
    if is_closed and 'fallback_template' not in message.body:
        return Decision(denial=_window_closed(eligibility))
    is_template = is_closed or message.type == 'template'
    if eligibility.opted_out_at and message.is_marketing and is_template:
        return Decision(denial=_opted_out(eligibility))
    return Decision(use_fallback=is_closed)


def _window_closed(eligibility: Eligibility) -> Denial:
    closed_at = to_rfc3339(service_window.closes_at(eligibility.last_inbound_at))
    members = {'code': 'window_closed', 'window_closed_at': closed_at}
    return Denial(WINDOW_CLOSED.format(closed_at), members)


def _opted_out(eligibility: Eligibility) -> Denial:
    since = to_rfc3339(eligibility.opted_out_at)
    source = str(eligibility.opted_out_by)  # set whenever opted_out_at is
    members = {'code': 'opted_out', 'opted_out_at': since, 'opted_out_by': source}
    return Denial(OPTED_OUT.format(since, REASONS[source]), members)
