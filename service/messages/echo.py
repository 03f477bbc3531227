"""Echoes: what the business wrote on its own phone, outbound messages that nobody here has sent
(section 5).
"""

from collections.abc import Sequence

from service.messages.message import MessageKey, ReceivedMessage
from service.runtime.db import execute, fetch
from service.runtime.rows import fetch_bulk

# A message that we sent ourselves is stored already, however Meta tells of it.
INSERT_ECHOES = """
INSERT INTO message ({columns}, accepted_at, direction, status, echo)
SELECT n.*, coalesce(n.timestamp, now()), 'outbound', 'sent', true
FROM {rows}
WHERE NOT EXISTS (
  SELECT 1 FROM message m WHERE m.phone_number_id = n.phone_number_id AND m.wamid = n.wamid
    AND m.direction = 'outbound' AND m.wamid IS NOT NULL)
ON CONFLICT (phone_number_id, wamid) WHERE echo DO NOTHING
RETURNING phone_number_id, wamid, id
"""


def insert(echoes: Sequence[ReceivedMessage]) -> dict[MessageKey, str]:
    """Store echoes, each key once; return the ids of those that are new.

    The caller joins them with the statuses that came before them.
    """
    rows = sorted(echoes, key=lambda echo: echo.key)
    return {(number, wamid): id_ for number, wamid, id_ in fetch_bulk(INSERT_ECHOES, rows)}


TWINS = """
SELECT e.id FROM message m JOIN message e ON e.echo AND e.phone_number_id = m.phone_number_id AND e.wamid = m.wamid
WHERE m.id = ANY(%s::uuid[]) AND NOT m.echo
"""
DELETE_ECHOES = (
    'UPDATE message_status SET message_id = NULL WHERE message_id = ANY(%s::uuid[])',
    # a file that is here may be named by a message that is to pass it on
    "UPDATE media SET message_id = NULL WHERE message_id = ANY(%s::uuid[]) AND status = 'stored'",
    'DELETE FROM media WHERE message_id = ANY(%s::uuid[])',
    'DELETE FROM message WHERE id = ANY(%s::uuid[])',
)


def delete_duplicates(message_ids):
    """Messages of ours have their wamids now: an echo that was faster is not needed, its statuses
    are orphans again.
    """
    if twins := [id_ for (id_,) in fetch(TWINS, (message_ids,))]:
        for statement in DELETE_ECHOES:
            execute(statement, (twins,))
