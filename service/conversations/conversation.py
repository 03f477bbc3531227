"""Conversations: one for each person or group that a chatbot talks with, and what is known of it."""

from datetime import UTC, datetime

from peewee import DateTimeField, SmallIntegerField, TextField

from service.conversations import service_window
from service.runtime.db import columns, execute, fetch
from service.runtime.ids import new_id
from service.runtime.model import JSON, Row


class Conversation(Row):
    NOUN = 'conversation'

    id = TextField(primary_key=True)
    chatbot_id = TextField()
    wa_id = TextField(null=True)
    user_id = TextField(null=True)
    parent_user_id = TextField(null=True)
    group_id = TextField(null=True)
    username = TextField(null=True)
    name = TextField(null=True)
    last_inbound_at = DateTimeField(null=True)
    last_message_at = DateTimeField(null=True)
    opted_out_at = DateTimeField(null=True)
    opted_out_by = TextField(null=True)
    paused_until = DateTimeField(null=True)
    reply_due_at = DateTimeField(null=True)
    reply_attempts = SmallIntegerField()
    reply_error = JSON(null=True)
    created_at = DateTimeField()
    updated_at = DateTimeField()

    SHOWN = (
        'id',
        'chatbot_id',
        'wa_id',
        'user_id',
        'parent_user_id',
        'group_id',
        'username',
        'name',
        'last_inbound_at',
        'last_message_at',
        'paused_until',
        'reply_due_at',
        'reply_attempts',
        'reply_error',
        'created_at',
        'updated_at',
    )

    @classmethod
    def find(cls, row_id):
        """Also by the id of one that turned out to be the same person's."""
        return cls.get_or_none(cls.id == row_id) or super().find(current_id(row_id))

    def to_dict(self):
        closes_at = service_window.closes_at(self.last_inbound_at)
        is_open = closes_at > datetime.now(UTC) if closes_at and not self.group_id else None
        shown = {name: getattr(self, name) for name in self.SHOWN}
        return shown | {'window_expires_at': closes_at, 'window_open': is_open}


def current_id(conversation_id):
    """The id of the conversation that this one was merged into; its own when it was not."""
    rows = fetch(
        'SELECT conversation_id FROM conversation_merged WHERE id = %s', (conversation_id,)
    )
    return rows[0][0] if rows else conversation_id


def _latest(name, value=None):
    """An id or a name that is shown: the latest by Meta's time; what comes late only fills what is
    missing.
    """
    value = value or f'n.{name}'
    is_news = 'n.known_at >= c.known_at OR c.known_at IS NULL AND n.known_at IS NOT NULL'
    return f'{name} = CASE WHEN {is_news} THEN coalesce({value}, c.{name}) ELSE coalesce(c.{name}, {value}) END'


# As long as the phone leads here: it may have a new owner.
PHONE = """(SELECT value FROM conversation_identity
  WHERE conversation_id = c.id AND chatbot_id = c.chatbot_id AND kind = 'phone' AND value = n.wa_id)"""
# Unless another one has taken its place.
USER = """(SELECT n.user_id WHERE NOT EXISTS (SELECT 1 FROM conversation_identity
  WHERE chatbot_id = c.chatbot_id AND kind = 'replaced' AND value = n.user_id))"""
IDS = f"""
  {_latest('wa_id', PHONE)}, {_latest('user_id', USER)}, {_latest('parent_user_id')},
  known_at = greatest(c.known_at, n.known_at), updated_at = now()
"""
KNOWN = f"""
UPDATE conversation c SET {IDS}
FROM unnest(%s::uuid[], %s::timestamptz[], %s::text[], %s::text[], %s::text[])
  AS n (id, known_at, wa_id, user_id, parent_user_id)
WHERE c.id = n.id
"""
HEARD = f"""
UPDATE conversation c SET
  last_inbound_at = greatest(c.last_inbound_at, CASE WHEN n.wrote_at > now() THEN now() ELSE n.wrote_at END),
  last_message_at = greatest(c.last_message_at, n.said_at), {_latest('username')}, {_latest('name')}, {IDS},
  reply_due_at = coalesce(clock_timestamp() + n.reply_after * interval '1 second', c.reply_due_at),
  reply_attempts = CASE WHEN n.reply_after IS NULL THEN c.reply_attempts ELSE 0 END
FROM unnest(%s::uuid[], %s::timestamptz[], %s::timestamptz[], %s::timestamptz[], %s::text[], %s::text[], %s::text[],
  %s::text[], %s::text[], %s::float8[])
  AS n (id, known_at, said_at, wrote_at, wa_id, user_id, parent_user_id, username, name, reply_after)
WHERE c.id = n.id
"""
NEWS = (
    'known_at',
    'said_at',
    'wrote_at',
    'wa_id',
    'user_id',
    'parent_user_id',
    'username',
    'name',
    'reply_after',
)
# What a status told: its conversation comes after the message here, so a row that somebody holds is
# left alone.
NAMED = f"""
UPDATE conversation c SET {_latest('username')}, {_latest('name')}
FROM (
  SELECT n.* FROM conversation c
    JOIN unnest(%s::uuid[], %s::timestamptz[], %s::text[], %s::text[]) AS n (id, known_at, username, name) USING (id)
  WHERE n.username <> c.username OR n.name <> c.name
    OR c.username IS NULL AND n.username IS NOT NULL OR c.name IS NULL AND n.name IS NOT NULL
  ORDER BY c.id FOR NO KEY UPDATE OF c SKIP LOCKED) n
WHERE c.id = n.id
"""


def heard_from(news):
    """Update conversations, whose rows the caller holds (identity.resolve), from their messages.

    `news`: {conversation_id: {NEWS}}; what is missing keeps its value. `known_at`: Meta's time;
    `said_at`: the same or, without one, the time of receipt; `wrote_at`: that of what opens the
    24-hour window; `reply_after`: the quiet seconds until a reply is asked for (missing: none is).
    """
    if news:
        execute(
            HEARD, columns([(id_, *(row.get(name) for name in NEWS)) for id_, row in news.items()])
        )


def named(rows):
    """The names that statuses show: [(conversation_id, Meta's time, username, name)], one for each
    conversation.
    """
    if rows:
        execute(NAMED, columns(rows))
