"""A message with all that belongs to it, as GET /messages/<id> shows it and events tell of it."""

from collections.abc import Sequence

from service.media import media
from service.messages import message_status, read_receipt, view
from service.messages.message import Message
from service.messages.view import Shown


def serialize(messages: Sequence[Message]) -> list[Shown]:
    """Messages as callers see them, with their files, receipts and status history."""
    statuses = message_status.of_messages([one.id for one in messages if one.has_left])
    rows = serialize_without_history(messages)
    for message, row in zip(messages, rows, strict=True):
        row['statuses'] = view.history(message, statuses.get(message.id, []))
    return rows


def serialize_without_history(messages: Sequence[Message]) -> list[Shown]:
    """The same without what Meta told of them, one status after the other."""
    inbound = [message.id for message in messages if message.direction == 'inbound']
    receipts = read_receipt.of_messages(inbound)
    files = media.of_messages(messages)
    rows = view.serialize(messages)
    for message, row in zip(messages, rows, strict=True):
        row['media'] = files.get(message.id)
        row['read_receipt'] = receipts.get(message.id)
    return rows
