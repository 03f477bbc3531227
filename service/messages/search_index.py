"""Keeps the words of messages that are stored already in step with what is shown of them.

A message's words are stored with it. An edit or a revoke changes what is shown of an earlier
message, and may come before it; messages of earlier versions have no words yet.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from service.messages import relations, view
from service.messages.message import Message, ReceivedMessage, StoredMessage
from service.messages.relations import RepliedTo
from service.messages.search_vector import TsVector, vector
from service.runtime.db import execute, fetch
from service.runtime.rows import Uuid, execute_bulk, fetch_as

CHANGING_TYPES = ('edit', 'revoke')


@dataclass(slots=True)
class MessageWords:
    """The words of a message."""

    id: Uuid
    search: TsVector


UPSERT_WORDS = """
INSERT INTO message_search (message_id, search) SELECT id, search FROM {rows}
ON CONFLICT (message_id) DO UPDATE SET search = excluded.search
"""


def follow_changes(rows: Iterable[ReceivedMessage], stored: Sequence[StoredMessage]) -> None:
    """Find messages by what new edits and revokes make of them, whichever of the two came first.

    `rows`: all that a webhook brought; `stored`: those of them that are new. The caller holds the
    rows of their conversations.
    """
    new = {one.key for one in stored}
    changed = {
        RepliedTo(row.phone_number_id, row.refers_to)
        for row in rows
        if row.type in CHANGING_TYPES and row.refers_to and row.key in new
    }
    ids = {one.id for one in stored if one.is_referred}
    ids |= {one.id for one in relations.find_at(changed)}
    if ids:
        _store_words(list(ids), UPSERT_WORDS)


def _store_words(ids: Sequence[str], statement: str) -> None:
    """Store the words of what is shown of messages now."""
    messages = list(Message.select().where(Message.id.in_(ids)))
    shown = [one['text'] for one in view.serialize(messages)]
    words = [
        MessageWords(message.id, vector(message.id, message.chatbot_id, text))
        for message, text in zip(messages, shown, strict=True)
    ]
    execute_bulk(statement, words)


BATCH = 1000  # messages of a step of the backfill


@dataclass(slots=True)
class Backfill:
    """Messages of earlier versions: those from `first_id` up to, and without, `next_id`."""

    id: int
    next_id: str
    first_id: str
    due_at: datetime


CLAIM_BACKFILL = """
SELECT id, next_id, first_id, due_at FROM message_backfill
WHERE due_at <= now() ORDER BY id LIMIT 1 FOR UPDATE SKIP LOCKED
"""
FIND_OLDER = """
SELECT m.id, EXISTS (SELECT 1 FROM message_search s WHERE s.message_id = m.id) AS has_words
FROM message m WHERE m.id < %(next_id)s AND m.id >= %(first_id)s ORDER BY m.id DESC LIMIT %(limit)s
"""
MOVE_BACKFILL = 'UPDATE message_backfill SET next_id = %s WHERE id = %s'
END_BACKFILL = 'DELETE FROM message_backfill WHERE id = %s'
STORE_MISSING_WORDS = """
INSERT INTO message_search (message_id, search) SELECT id, search FROM {rows} WHERE search <> ''
ON CONFLICT (message_id) DO NOTHING
"""
# Earlier versions did not keep it.
SET_LAST_OUTBOUND = """
UPDATE conversation c SET last_outbound_at = d.at
FROM (
  SELECT c.id, d.at FROM conversation c JOIN (
    SELECT conversation_id, max(accepted_at) AS at FROM message
    WHERE id = ANY(%s::uuid[]) AND direction = 'outbound' AND accepted_at IS NOT NULL
    GROUP BY 1 OFFSET 0) d ON d.conversation_id = c.id
  WHERE c.last_outbound_at IS NULL OR c.last_outbound_at < d.at
  ORDER BY c.id FOR NO KEY UPDATE OF c) d
WHERE c.id = d.id
"""


def backfill() -> int:
    """Derive what is missing of some messages of earlier versions, in the caller's transaction.

    Returns how many were looked at; 0 when nothing is left, or somebody else is at it.
    """
    for claimed in fetch_as(Backfill, CLAIM_BACKFILL):
        wanted = {'next_id': claimed.next_id, 'first_id': claimed.first_id, 'limit': BATCH}
        found = fetch(FIND_OLDER, wanted)
        if not found:
            execute(END_BACKFILL, (claimed.id,))
            return 0
        ids = [id_ for id_, _ in found]
        execute(SET_LAST_OUTBOUND, (ids,))
        missing = [id_ for id_, has_words in found if not has_words]
        if missing:
            _store_words(missing, STORE_MISSING_WORDS)
        execute(MOVE_BACKFILL, (ids[-1], claimed.id))
        return len(found)
    return 0
