"""May this message go to this person now?

The 24-hour window decides about what is no template (section 8), the person's own word about
marketing.
"""

from dataclasses import dataclass
from datetime import datetime

from service.conversations import opt_out, service_window
from service.runtime.db import fetch
from service.runtime.errors import Conflict
from service.runtime.timestamps import to_rfc3339
from service.templates import template

# Only of those about whom there is something to say: to most people everything may go.
STANDINGS = f"""
SELECT c.id, CASE WHEN {service_window.CLOSED} THEN c.last_inbound_at END, c.opted_out_at, c.opted_out_by
FROM conversation c WHERE c.id = ANY(%s::uuid[]) AND ({service_window.CLOSED} OR c.opted_out_at IS NOT NULL)
"""
CLOSED = (
    'The 24-hour window of this conversation closed at {}: until the customer writes again, only a template can be '
    'sent. Send a template, or name a fallback_template; with "force": true it is left to Meta.'
)
NO_MARKETING = 'This person has wanted no marketing since {}: {}. Only messages that are no marketing can be sent.'
SAID = {
    'keyword': 'they wrote a STOP word', 'user_preferences': 'they told WhatsApp so',
    'meta': f'Meta refused a message with {opt_out.OPTED_OUT_CODE}', 'api': 'the platform said so',
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Objection:
    """Why a message may not go: a sentence for people, and what a program needs to know."""

    sentence: str
    members: dict


@dataclass(frozen=True, slots=True)
class Standing:
    """What is known against a person's getting a message.

    `last_inbound_at`: of a window that has closed.
    """

    last_inbound_at: datetime | None
    opted_out_at: datetime | None
    opted_out_by: str | None


def standings(message, conversations, is_marketing):
    """{conversation id: Standing}, one query for however many.

    `message`: with its fallback_template and force.
    """
    is_free_form = message.get('type') != 'template'
    if not conversations or not (is_marketing or (is_free_form and not message.get('force'))):
        return {}
    return {row[0]: Standing(*row[1:]) for row in fetch(STANDINGS, (list(conversations),))}


def admit(message, conversation, templates):
    """The message in the form in which it may go: as it is, or its fallback. Raises Conflict.

    `templates`: the result of template.find_templates.
    """
    is_marketing = template.is_marketing(message, templates)
    standing = standings(message, [conversation], is_marketing).get(conversation)
    form, objection = judge(message, standing, is_marketing)
    if objection:
        raise Conflict(objection.sentence, **objection.members)
    return form


def judge(message, standing, is_marketing):
    """(the form in which it may go, None), or (None, Objection)."""
    if standing is None:
        return message, None
    form = message
    if standing.last_inbound_at and message.get('type') != 'template' and not message.get('force'):
        if 'fallback_template' not in message:
            return None, _closed(standing)
        form = fallen_back(message)
    if standing.opted_out_at and is_marketing and form.get('type') == 'template':
        return None, _no_marketing(standing)
    return form, None


def _closed(standing):
    closed_at = to_rfc3339(service_window.closes_at(standing.last_inbound_at))
    return Objection(
        CLOSED.format(closed_at), {'code': 'window_closed', 'window_closed_at': closed_at}
    )


def _no_marketing(standing):
    since, by = to_rfc3339(standing.opted_out_at), standing.opted_out_by
    members = {'code': 'opted_out', 'opted_out_at': since, 'opted_out_by': by}
    return Objection(NO_MARKETING.format(since, SAID[by]), members)


def fallen_back(message):
    """The template that goes instead, and what it takes the place of."""
    kind = message.get('type') or 'text'
    rest = {
        name: value
        for name, value in message.items()
        if name not in (kind, 'fallback_template', 'split')
    }
    replaced = {'type': kind, 'content': message[kind]}
    return {
        **rest,
        'type': 'template',
        'template': message['fallback_template'],
        'replaced': replaced,
    }
