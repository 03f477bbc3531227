"""Echoes: what the business wrote on its own phone, outbound messages that nobody here has sent (section 5)."""

from service import status
from service.db import columns, fetch
from service.identity import Identity
from service.webhook_events import as_dict, clean, echoes, identifier

FIELD = 'smb_message_echoes'

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


def found_in(changes):
    """The echoes, [(item, account, identity)], in changes, [(item, account)], each of which gets its outcome."""
    found = []
    for change, account in changes:
        written = [(item, account, _addressee(item, account['chatbot_id'])) for item in echoes(change)]
        usable = [one for one in written if not one[0].problem and one[2].known_by()]
        lost = len(written) - len(usable)
        change.settle('stored', f'{lost} of {len(written)} messages could not be used' if lost else None)
        found += usable
    return found


def _addressee(item, chatbot_id):
    data = item.data
    if group := identifier(data.get('group_id')):
        return Identity(chatbot_id, group=group)
    return Identity(chatbot_id, phone=_phone(item), user=_user(item))


def _phone(item):
    return identifier(item.data.get('to')) or identifier(item.contact.get('wa_id'))


def _user(item):
    return identifier(item.data.get('to_user_id')) or identifier(item.contact.get('user_id'))


def insert(rows):
    """Store echoes, each once. `rows`: those of message.insert_inbound with the addressee's phone and BSUID.

    Returns {(phone_number_id, wamid): id} of those that are new; statuses that came before them are theirs now.
    """
    rows = sorted(rows, key=lambda row: (row[3], row[5]))
    stored = {row[:2]: row[2] for row in fetch(INSERT, columns(rows))} if rows else {}
    if stored:
        status.join_orphans(stored.values())
    return stored


def address(item):
    """The columns that an echo has beside those of an inbound message."""
    return identifier(item.data.get('to')), identifier(item.data.get('to_user_id'))


def profile(item):
    """What it tells of the person it went to (conversation.heard_from)."""
    if item.data.get('group_id'):
        return {}
    told = as_dict(item.contact.get('profile'))
    known = {'wa_id': _phone(item), 'user_id': _user(item)}
    known |= {name: clean(told.get(name), 255) for name in ('name', 'username')}
    return {name: value for name, value in known.items() if value}
