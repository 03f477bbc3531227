"""Echoes: what the business wrote on its own phone, outbound messages that nobody here has sent
(section 5).
"""

from service.runtime.db import columns, execute, fetch

# Not what we have sent ourselves: that is there already, whichever way Meta tells of it.
INSERT = """
INSERT INTO message (id, chatbot_id, conversation_id, phone_number_id, type, wamid, sender, content, context, extra,
  timestamp, refers_to, recipient_to, recipient, accepted_at, direction, status, echo)
SELECT n.*, coalesce(n.timestamp, now()), 'outbound', 'sent', true
FROM unnest(%s::uuid[], %s::text[], %s::uuid[], %s::text[], %s::text[], %s::text[], %s::json[], %s::json[], %s::json[],
  %s::json[], %s::timestamptz[], %s::text[], %s::text[], %s::text[]) AS n (id, chatbot_id, conversation_id,
  phone_number_id, type, wamid, sender, content, context, extra, timestamp, refers_to, recipient_to, recipient)
WHERE NOT EXISTS (
  SELECT 1 FROM message m WHERE m.phone_number_id = n.phone_number_id AND m.wamid = n.wamid
    AND m.direction = 'outbound' AND m.wamid IS NOT NULL)
ON CONFLICT (phone_number_id, wamid) WHERE echo DO NOTHING
RETURNING phone_number_id, wamid, id
"""


def insert(rows):
    """Store echoes, each once.

    `rows`: those of message.insert_inbound with the addressee's phone and BSUID.

    Returns {(phone_number_id, wamid): id} of those that are new: join the statuses that came before
    them.
    """
    rows = sorted(rows, key=lambda row: (row[3], row[5]))
    return {row[:2]: row[2] for row in fetch(INSERT, columns(rows))} if rows else {}


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
