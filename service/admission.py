"""May this message go to this person now? The 24-hour window decides about what is no template (section 8)."""

from dataclasses import dataclass
from datetime import datetime

from service import window
from service.db import fetch
from service.errors import Conflict
from service.moments import plain

# Only of those about whom there is something to say: to most people everything may go.
STANDINGS = f"""
SELECT c.id, c.last_inbound_at FROM conversation c WHERE c.id = ANY(%s::uuid[]) AND {window.CLOSED}
"""
CLOSED = (
    'The 24-hour window of this conversation closed at {}: until the customer writes again, only a template can be '
    'sent. Send a template, or name a fallback_template; with "force": true it is left to Meta.'
)


@dataclass(frozen=True, slots=True)
class Objection:
    """Why a message may not go: a sentence for people, and what a program needs to know."""

    sentence: str
    members: dict


@dataclass(frozen=True, slots=True)
class Standing:
    """What is known against a person's getting a message."""

    last_inbound_at: datetime | None


def standings(message, conversations):
    """{conversation id: Standing}, one query for however many. `message`: with its fallback_template and force."""
    if not conversations or message.get('type') == 'template' or message.get('force'):
        return {}
    return {row[0]: Standing(*row[1:]) for row in fetch(STANDINGS, (list(conversations),))}


def admit(message, conversation):
    """The message in the form in which it may go: as it is, or its fallback. Raises Conflict."""
    form, objection = judge(message, standings(message, [conversation]).get(conversation))
    if objection:
        raise Conflict(objection.sentence, **objection.members)
    return form


def judge(message, standing):
    """(the form in which it may go, None), or (None, Objection)."""
    if standing is None:
        return message, None
    if 'fallback_template' in message:
        return fallen_back(message), None
    closed_at = plain(window.closes_at(standing.last_inbound_at))
    return None, Objection(CLOSED.format(closed_at), {'window_closed_at': closed_at})


def fallen_back(message):
    """The template that goes instead, and what it takes the place of."""
    kind = message.get('type') or 'text'
    rest = {name: value for name, value in message.items() if name not in (kind, 'fallback_template', 'split')}
    replaced = {'type': kind, 'content': message[kind]}
    return {**rest, 'type': 'template', 'template': message['fallback_template'], 'replaced': replaced}
