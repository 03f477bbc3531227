"""Echoes (section 5): what the business wrote on its own phone, not through this service."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from service.messages.message import (
    STORE_WORDS,
    ReceivedMessage,
    StoredMessage,
    message_columns,
)
from service.runtime.db import execute, fetch
from service.runtime.prepared import Prepared, fill
from service.runtime.rows import fetch_as, fetch_bulk_as

# A message that we sent ourselves is stored already, however Meta tells of it.
INSERT_ECHOES = fill(
    """
WITH n AS MATERIALIZED (SELECT * FROM {rows}),
stored AS (
  INSERT INTO message ({message_columns}, accepted_at, direction, status, echo)
  SELECT {message_columns}, coalesce(n.timestamp, now()), 'outbound', 'sent', true
  FROM n
  WHERE NOT EXISTS (
    SELECT 1 FROM message m WHERE m.phone_number_id = n.phone_number_id AND m.wamid = n.wamid
      AND m.direction = 'outbound' AND m.wamid IS NOT NULL)
  ON CONFLICT (phone_number_id, wamid) WHERE echo DO NOTHING
  RETURNING phone_number_id, wamid, id),
{store_words}
""",
    message_columns=message_columns(ReceivedMessage),
    store_words=STORE_WORDS,
)


def insert(echoes: Sequence[ReceivedMessage]) -> list[StoredMessage]:
    """Store echoes, each key once; return those that are new.

    The caller joins them with the statuses that came before them.
    """
    rows = sorted(echoes, key=lambda echo: echo.key)
    return fetch_bulk_as(StoredMessage, INSERT_ECHOES, rows)


# Of the last messages; one that waits for its answer is among them.
FIND_UNDER_WAY = Prepared("""
SELECT m.conversation_id, m.type, m.content
FROM unnest(%(conversations)s::uuid[]) AS n (id) CROSS JOIN LATERAL (
  SELECT conversation_id, type, content, status FROM message
  WHERE conversation_id = n.id ORDER BY id DESC LIMIT 20) m
WHERE m.status IN ('sending', 'unknown')
""")


@dataclass(frozen=True, slots=True)
class MessageUnderWay:
    """A message of ours whose wamid is not known yet."""

    conversation_id: str
    type: str
    content: Any


def messages_under_way(conversations: Collection[str]) -> list[MessageUnderWay]:
    """What is in a call to these conversations, or was and got no answer."""
    if not conversations:
        return []
    return fetch_as(MessageUnderWay, FIND_UNDER_WAY, {'conversations': sorted(conversations)})


# An echo and the message of ours that it repeats.
FIND_DUPLICATES = Prepared("""
SELECT e.id FROM (
  SELECT phone_number_id, wamid FROM message WHERE id = ANY(%s::uuid[]) AND NOT echo OFFSET 0) m
CROSS JOIN LATERAL (
  SELECT id FROM message
  WHERE phone_number_id = m.phone_number_id AND wamid = m.wamid AND echo OFFSET 0) e
""")
# A stored file stays: a message may name it to send it on.
DELETE_ECHOES = (
    'UPDATE message_status SET message_id = NULL WHERE message_id = ANY(%s::uuid[])',
    "UPDATE media SET message_id = NULL WHERE message_id = ANY(%s::uuid[]) AND status = 'stored'",
    'DELETE FROM media WHERE message_id = ANY(%s::uuid[])',
    'DELETE FROM message WHERE id = ANY(%s::uuid[])',
)


def delete_duplicates(message_ids: Sequence[str]) -> None:
    """Delete echoes of messages that we sent ourselves and whose wamids are known now.

    Their statuses have no message then, and are joined again.
    """
    duplicates = [id_ for (id_,) in fetch(FIND_DUPLICATES, (message_ids,))]
    if duplicates:
        for statement in DELETE_ECHOES:
            execute(statement, (duplicates,))
