"""How messages relate to each other: replies, reactions, edits and revokes; and their templates.

All of it is found when messages are read, in three queries a page, so the order in which messages
came does not matter.
"""

from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from operator import attrgetter
from typing import Any, Protocol

from service.content.person_id import in_place
from service.content.plain_text import DELETED, read
from service.messages.message import Message
from service.runtime.prepared import Prepared
from service.runtime.rows import Uuid, fetch_bulk, fetch_bulk_as
from service.runtime.untrusted import as_dict, clean, get_text, identifier
from service.templates.rendering import render

Place = tuple[str, str, str | None]  # conversation_id, phone_number_id, wamid


class Said(Protocol):
    """A message, as far as its text and what others changed in it depend on it."""

    @property
    def chatbot_id(self) -> str: ...
    @property
    def conversation_id(self) -> str: ...
    @property
    def direction(self) -> str: ...
    @property
    def phone_number_id(self) -> str: ...
    @property
    def type(self) -> str: ...
    @property
    def wamid(self) -> str | None: ...
    @property
    def sender(self) -> Any: ...
    @property
    def content(self) -> Any: ...
    @property
    def said_at(self) -> datetime: ...


@dataclass(frozen=True, slots=True)
class RepliedTo:
    """The address of a message that another one answers."""

    phone_number_id: str
    wamid: str


@dataclass(frozen=True, slots=True)
class FoundReply:
    """A message that is stored under such an address."""

    chatbot_id: str
    phone_number_id: str
    wamid: str
    id: str


@dataclass(frozen=True, slots=True)
class Referred:
    """The address of a message that reactions, edits and revokes may be about."""

    phone_number_id: str
    refers_to: str


@dataclass(slots=True)
class RelatedMessage:
    """A reaction, an edit or a revoke. `at`: when it happened, by Meta's time."""

    id: Uuid
    conversation_id: Uuid
    phone_number_id: str
    refers_to: str
    direction: str
    type: str
    content: Any
    sender: Any
    at: datetime

    @property
    def place(self) -> Place:
        return self.conversation_id, self.phone_number_id, self.refers_to

    @property
    def version(self) -> dict[str, Any] | None:
        """What an edit made of its message; None when it does not say."""
        message = as_dict(as_dict(self.content).get('message'))
        kind = clean(message.get('type'), 64)
        if kind is None or not message.get(kind):
            return None
        return {'content': message[kind], 'type': kind, 'timestamp': self.at}


@dataclass(frozen=True, slots=True)
class TemplateKey:
    """Which template a message is made from."""

    chatbot_id: str
    name: str
    language: str


Replies = dict[tuple[str, str, str], str]  # chatbot_id, phone_number_id, wamid: the message's id
Related = dict[Place, list[RelatedMessage]]
Templates = dict[TemplateKey, Any]  # their components

# Each half by its own index. LATERAL with OFFSET 0 is a look-up for each row, here and below: a
# join could become one that reads all messages.
FIND_REPLIED_TO = Prepared.for_rows(RepliedTo)("""
SELECT m.chatbot_id, m.phone_number_id, m.wamid, m.id FROM {rows} CROSS JOIN LATERAL (
  SELECT * FROM message m
  WHERE m.phone_number_id = n.phone_number_id AND m.wamid = n.wamid AND m.direction = 'inbound'
  UNION ALL
  SELECT * FROM message m
  WHERE m.phone_number_id = n.phone_number_id AND m.wamid = n.wamid AND m.direction = 'outbound'
  OFFSET 0) m
""")
# Ours count once Meta has accepted them.
FIND_RELATED = Prepared.for_rows(Referred)("""
SELECT m.id, m.conversation_id, m.phone_number_id, m.refers_to, m.direction, m.type, m.content,
  m.sender, coalesce(m.timestamp, m.accepted_at, m.created_at) AS at
FROM {rows} CROSS JOIN LATERAL (
  SELECT * FROM message m
  WHERE m.phone_number_id = n.phone_number_id AND m.refers_to = n.refers_to
    AND m.status IN ('received', 'accepted', 'sent', 'delivered', 'read', 'played')
  OFFSET 0) m
""")
FIND_TEMPLATE_COMPONENTS = """
SELECT a.chatbot_id, t.name, t.language, t.components
FROM {rows}
  JOIN whatsapp_cloud_account a USING (chatbot_id)
  JOIN template t ON t.waba_id = a.waba_id AND t.name = n.name AND t.language = n.language
"""


def find_templates(messages: Sequence[Said]) -> Templates:
    """The components of the templates that messages are made from."""
    wanted = {_template_key(one) for one in messages if one.type == 'template'}
    found = fetch_bulk(FIND_TEMPLATE_COMPONENTS, list(wanted))
    return {TemplateKey(*key): components for *key, components in found}


def _template_key(message: Said) -> TemplateKey:
    name = get_text(message.content, 'name')
    language = get_text(message.content, 'language', 'code')
    return TemplateKey(message.chatbot_id, clean(name) or '', clean(language) or '')


def text_of(message: Said, templates: Templates) -> str:
    """What a person would read in a message, also in one that is made from a template."""
    rendered = ''
    if message.type == 'template':
        rendered = render(templates.get(_template_key(message)), message.content)
    return rendered or read(message.type, message.content)


def find_at(addresses: Collection[RepliedTo]) -> list[FoundReply]:
    """The messages that are stored under addresses."""
    return fetch_bulk_as(FoundReply, FIND_REPLIED_TO, list(addresses))


def find_replied_to(messages: Sequence[Message]) -> Replies:
    """The ids of the messages that these reply to."""
    contexts = [(one.phone_number_id, _context_id(one)) for one in messages]
    found = find_at({RepliedTo(number, wamid) for number, wamid in contexts if wamid})
    return {(one.chatbot_id, one.phone_number_id, one.wamid): one.id for one in found}


def reply_to(message: Message, replies: Replies) -> str | None:
    """The id of the message that this one replies to."""
    wamid = _context_id(message)
    return replies.get((message.chatbot_id, message.phone_number_id, wamid)) if wamid else None


def _context_id(message: Message) -> str | None:
    """Meta says `id`, we say `message_id`."""
    context = as_dict(message.context)
    return clean(context.get('message_id')) or clean(context.get('id'))


def find_related(messages: Sequence[Said]) -> Related:
    """The reactions, edits and revokes of messages, the oldest first."""
    wanted = {Referred(one.phone_number_id, one.wamid) for one in messages if one.wamid}
    found = defaultdict(list)
    for one in sorted(
        fetch_bulk_as(RelatedMessage, FIND_RELATED, list(wanted)), key=attrgetter('at', 'id')
    ):
        found[one.place].append(one)
    return found


def related_to(message: Said, related: Related) -> list[RelatedMessage]:
    """Those of one message."""
    return related.get((message.conversation_id, message.phone_number_id, message.wamid), [])


def changes_by(related: list[RelatedMessage], message: Said) -> dict[str, Any]:
    """The fields of a message that its reactions, edits and revokes change."""
    if not related:
        return {}
    edits = [one for one in related if one.type == 'edit' and _may_edit(one, message)]
    versions = [one.version for one in edits if one.version]
    revokes = [
        one for one in related if one.type == 'revoke' and one.direction == message.direction
    ]
    changes: dict[str, Any] = {'reactions': _reactions(related)}
    if versions or revokes:
        first = {'content': message.content, 'type': message.type, 'timestamp': message.said_at}
        changes['revisions'] = [first, *versions]
    if versions:
        latest = versions[-1]
        changes['type'] = latest['type']
        changes['content'] = latest['content']
        changes['edited_at'] = latest['timestamp']
        changes['text'] = read(latest['type'], latest['content'])
    if revokes:
        changes |= {'content': {}, 'text': DELETED, 'revoked_at': revokes[0].at}
    return changes


def _may_edit(edit: RelatedMessage, message: Said) -> bool:
    """Only the writer may: the same side, and in a group the same person."""
    if edit.direction != message.direction:
        return False
    author = as_dict(message.sender)
    return not author.get('group_id') or _person(as_dict(edit.sender)) == _person(author)


def _person(sender: dict[str, Any]) -> str | None:
    ids = in_place(sender)
    return identifier(ids['from_user_id']) or identifier(ids['from'])


def _reactions(related: list[RelatedMessage]) -> list[dict[str, Any]]:
    """The latest reaction of each person, without those that were taken back."""
    latest = {}
    for one in related:
        if one.type == 'reaction':
            sender = as_dict(one.sender)
            # Outside groups there is one person on each side.
            person = _person(sender) if sender.get('group_id') else None
            latest[one.direction, person] = _reaction(one, sender)
    given = [one for one in latest.values() if one['emoji']]
    return sorted(given, key=lambda one: one['timestamp'])


def _reaction(related: RelatedMessage, sender: dict[str, Any]) -> dict[str, Any]:
    emoji = as_dict(related.content).get('emoji')
    return {
        'emoji': emoji if isinstance(emoji, str) else None,
        **in_place(sender),
        'direction': related.direction,
        'message_id': related.id,
        'timestamp': related.at,
    }
