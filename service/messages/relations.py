"""What messages have to do with each other: replies, reactions, edits, revokes; and templates with
their text.

All of it is found when messages are read, in three queries a page, so the order in which things
came does not matter.
"""

from service.content.person_id import in_place
from service.content.plain_text import DELETED, read
from service.runtime.db import fetch, fetch_dicts
from service.runtime.untrusted import as_dict, clean, identifier, text_at
from service.templates.rendering import render

# Each half by its own index.
REPLIED_TO = """
WITH n AS (SELECT * FROM unnest(%s::text[], %s::text[]) AS n (phone_number_id, wamid))
SELECT m.chatbot_id, m.phone_number_id, m.wamid, m.id FROM n JOIN message m USING (phone_number_id, wamid)
WHERE m.direction = 'inbound'
UNION ALL
SELECT m.chatbot_id, m.phone_number_id, m.wamid, m.id FROM n JOIN message m USING (phone_number_id, wamid)
WHERE m.direction = 'outbound' AND m.wamid IS NOT NULL
"""
# Ours count once Meta has accepted them.
REFERRING = """
SELECT m.id, m.conversation_id, m.phone_number_id, m.refers_to, m.direction, m.type, m.content, m.sender,
  coalesce(m.timestamp, m.accepted_at, m.created_at) AS at
FROM unnest(%s::text[], %s::text[]) AS n (phone_number_id, refers_to) JOIN message m USING (phone_number_id, refers_to)
WHERE m.refers_to IS NOT NULL AND m.status IN ('received', 'accepted', 'sent', 'delivered', 'read', 'played')
"""
DEFINITIONS = """
SELECT a.chatbot_id, t.name, t.language, t.components
FROM unnest(%s::text[], %s::text[], %s::text[]) AS n (chatbot_id, name, language)
  JOIN whatsapp_cloud_account a USING (chatbot_id)
  JOIN template t ON t.waba_id = a.waba_id AND t.name = n.name AND t.language = n.language
"""


def serialize(messages):
    """Messages as callers see them, but for what other tables know of them."""
    replied_to, referring, definitions = (
        _replied_to(messages),
        _referring(messages),
        _definitions(messages),
    )
    rows = []
    for message in messages:
        row = message.to_dict() | {
            'reply_to': replied_to.get(_address(message, _context_id(message)))
        }
        row['text'] = _rendered(message, definitions) or row['text']
        rows.append(row | _folded(message, row, referring.get(_place(message), [])))
    return rows


def _definitions(messages):
    """{(chatbot, name, language): components} of the templates that messages are made from."""
    wanted = {_template(one) for one in messages if one.type == 'template'}
    rows = fetch(DEFINITIONS, _columns(wanted)) if wanted else []
    return {row[:3]: row[3] for row in rows}


def _template(message):
    name, language = text_at(message.content, 'name'), text_at(message.content, 'language', 'code')
    return message.chatbot_id, clean(name) or '', clean(language) or ''


def _rendered(message, definitions):
    return (
        render(definitions.get(_template(message)), message.content)
        if message.type == 'template'
        else ''
    )


def _replied_to(messages):
    """{address: id of ours} of the messages that these reply to."""
    wanted = {(one.phone_number_id, replied) for one in messages if (replied := _context_id(one))}
    rows = fetch(REPLIED_TO, _columns(wanted)) if wanted else []
    return {row[:3]: row[3] for row in rows}


def _context_id(message):
    """Meta says `id`, we say `message_id`."""
    context = as_dict(message.context)
    return clean(context.get('message_id')) or clean(context.get('id'))


def _address(message, wamid):
    return message.chatbot_id, message.phone_number_id, wamid


def _referring(messages):
    """{place: the reactions, edits and revokes of the message there}, the oldest first by Meta's
    time.
    """
    wanted = {(one.phone_number_id, one.wamid) for one in messages if one.wamid}
    rows = fetch_dicts(REFERRING, _columns(wanted)) if wanted else []
    found = {}
    for row in sorted(rows, key=lambda row: (row['at'], row['id'])):
        found.setdefault(
            (row['conversation_id'], row['phone_number_id'], row['refers_to']), []
        ).append(row)
    return found


def _place(message):
    return message.conversation_id, message.phone_number_id, message.wamid


def _columns(wanted):
    return [list(column) for column in zip(*wanted, strict=True)]


def _folded(message, row, referring):
    """What became of a message, by those that refer to it."""
    if not referring:
        return {}
    edits = [
        one
        for one in referring
        if one['type'] == 'edit' and _may_edit(one, message) and _version(one)
    ]
    revokes = [
        one
        for one in referring
        if one['type'] == 'revoke' and one['direction'] == message.direction
    ]
    folded = {'reactions': _reactions(referring)}
    if edits or revokes:
        first = {'content': row['content'], 'type': row['type'], 'timestamp': message.said_at}
        folded['revisions'] = [first, *map(_version, edits)]
    if edits:
        latest = folded['revisions'][-1]
        folded |= {
            'type': latest['type'],
            'content': latest['content'],
            'edited_at': latest['timestamp'],
        }
        folded['text'] = read(latest['type'], latest['content'])
    if revokes:
        folded |= {'content': {}, 'text': DELETED, 'revoked_at': revokes[0]['at']}
    return folded


def _may_edit(edit, message):
    """Whoever wrote it: the same side, and in a group the same person."""
    if edit['direction'] != message.direction:
        return False
    theirs, his = as_dict(edit['sender']), as_dict(message.sender)
    return not his.get('group_id') or _person(theirs) == _person(his)


def _person(sender):
    named_by = in_place(sender)
    return identifier(named_by['from_user_id']) or identifier(named_by['from'])


def _version(edit):
    """What an edit made of its message; None when it does not say."""
    message = as_dict(as_dict(edit['content']).get('message'))
    kind = clean(message.get('type'), 64)
    return (
        {'content': message[kind], 'type': kind, 'timestamp': edit['at']}
        if message.get(kind)
        else None
    )


def _reactions(referring):
    """The latest of each person, without those that were taken back."""
    latest = {}
    for one in referring:
        if one['type'] == 'reaction':
            sender = as_dict(one['sender'])
            person = (
                _person(sender) if sender.get('group_id') else None
            )  # else there is one on each side
            latest[one['direction'], person] = _reaction(one, sender)
    return [
        one for one in sorted(latest.values(), key=lambda one: one['timestamp']) if one['emoji']
    ]


def _reaction(row, sender):
    emoji = as_dict(row['content']).get('emoji')
    return {
        'emoji': emoji if isinstance(emoji, str) else None,
        **in_place(sender),
        'direction': row['direction'],
        'message_id': row['id'],
        'timestamp': row['at'],
    }
