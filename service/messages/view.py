"""A message as callers see it: its row, what later messages did to it, and its status history."""

from collections.abc import Sequence
from typing import Any

from service.content.person_id import in_place
from service.graph.error_codes import explain
from service.graph.error_shapes import told_errors
from service.graph.outcome import first_error
from service.messages import relations
from service.messages.message import Message
from service.runtime.untrusted import as_dict

Shown = dict[str, Any]  # a message, or an entry of its `statuses`, as JSON for callers
SHOWN_COLUMNS = (
    'id', 'chatbot_id', 'conversation_id', 'direction', 'type', 'status', 'wamid', 'content',
    'context', 'extra', 'client_reference', 'biz_opaque_callback_data', 'attempts', 'error',
    'tries', 'hold_reason', 'batch_id', 'from_human', 'in_reply_to',
    'send_at', 'expires_at', 'timestamp', 'created_at', 'updated_at',
)  # fmt: skip


def serialize(messages: Sequence[Message]) -> list[Shown]:
    """Messages as callers see them, without what the media, receipts and statuses tell of them."""
    replied_to = relations.find_replied_to(messages)
    related = relations.find_related(messages)
    templates = relations.find_templates(messages)
    rows = []
    for message in messages:
        row = _serialize(message, relations.text_of(message, templates))
        row['reply_to'] = relations.reply_to(message, replied_to)
        row |= relations.changes_by(relations.related_to(message, related), message)
        rows.append(row)
    return rows


def _serialize(message: Message, text: str) -> Shown:
    """The message alone. What depends on other messages has the value that it mostly has."""
    sender = as_dict(message.sender)
    extra = as_dict(message.extra)
    return {
        **{name: getattr(message, name) for name in SHOWN_COLUMNS},
        'text': text,
        'usage': message.ai_usage,
        'origin': message.origin,
        'referral': extra.get('referral'),
        'referred_product': as_dict(message.context).get('referred_product'),
        'reply_to': None,
        'reactions': [],
        'edited_at': None,
        'revoked_at': None,
        'revisions': [],
        **_serialize_error(message, extra),
        'fallback_template': message.fallback,
        'replaced': message.replaced,
        'to': message.recipient_to,
        'recipient': message.recipient,
        'wa_id': message.answer_wa_id,
        **in_place(sender),
        'group_id': sender.get('group_id'),
    }


def _serialize_error(message: Message, extra: dict[str, Any]) -> Shown:
    """Why it failed, or why Meta could not deliver what a customer wrote (sections 2 and 7)."""
    error = dict(message.error) if message.error else first_error(told_errors(extra))
    if not error:
        return {'error': error, 'explanation': None, 'fix': None}
    cause = error.pop('cause', None)
    return {'error': error, **explain(cause or error['code'])}


def history(message: Message, told: list[Shown]) -> list[Shown]:
    """All statuses of a message, the oldest first: ours, then what Meta `told`.

    The present state comes last if Meta did not tell of it.
    """
    if message.direction == 'inbound':
        return [{'status': 'received', 'timestamp': message.created_at}]
    entries = _before_meta(message, told) + told
    if not _has_status(entries, message.status):
        entries.append({'status': message.status, 'timestamp': message.updated_at})
    return entries


def _has_status(entries: list[Shown], status: str) -> bool:
    """Whether a status is among the entries; those with a `type` are about something else."""
    return any(entry['status'] == status and 'type' not in entry for entry in entries)


def _before_meta(message: Message, told: list[Shown]) -> list[Shown]:
    """What became of an outbound message before Meta told of it; an echo had been sent already."""
    if message.echo:
        is_told = _has_status(told, 'sent')
        return [] if is_told else [{'status': 'sent', 'timestamp': message.said_at}]
    is_later = message.send_at and message.send_at > message.created_at
    begin = 'scheduled' if is_later else 'queued'
    entries = [{'status': begin, 'timestamp': message.created_at}]
    if message.accepted_at:
        entries.append({'status': 'accepted', 'timestamp': message.accepted_at})
    return entries
