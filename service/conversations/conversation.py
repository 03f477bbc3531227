"""Conversations: what is known of each, and who waits for a reply."""

import json
from datetime import UTC, datetime

from peewee import DateTimeField, SmallIntegerField, TextField

from service.conversations import service_window
from service.runtime.db import columns, execute, fetch, fetch_dicts
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


NEXT_REPLY_DUE = """
SELECT min(greatest(c.reply_due_at, c.reply_lease_until, c.paused_until)) FROM conversation c
  JOIN whatsapp_cloud_account a USING (chatbot_id)
WHERE c.reply_due_at IS NOT NULL AND a.active
"""
# Who waits longest comes first, as long as the account's share of the threads is not used up. Of
# those that wait, a window is looked at: who has no share left is not in it.
WAITS = """c.reply_due_at <= now() AND a.active
    AND (c.reply_lease_until IS NULL OR c.reply_lease_until < now())
    AND (c.paused_until IS NULL OR c.paused_until < now())"""
CLAIM_REPLIES = f"""
WITH share AS (SELECT * FROM unnest(%(chatbots)s::text[], %(shares)s::int[]) AS s (chatbot_id, n)),
waiting AS MATERIALIZED (
  SELECT c.id, c.chatbot_id, c.reply_due_at FROM conversation c JOIN whatsapp_cloud_account a USING (chatbot_id)
  WHERE {WAITS} AND c.chatbot_id <> ALL(ARRAY(SELECT chatbot_id FROM share WHERE n = 0))
    AND (%(share)s > 0 OR c.chatbot_id = ANY(ARRAY(SELECT chatbot_id FROM share)))
  ORDER BY c.reply_due_at LIMIT 200),
chosen AS MATERIALIZED (
  SELECT w.id, w.reply_due_at FROM (
    SELECT *, row_number() OVER (PARTITION BY chatbot_id ORDER BY reply_due_at, id) AS place FROM waiting) w
    LEFT JOIN share USING (chatbot_id)
  WHERE w.place <= coalesce(share.n, %(share)s) ORDER BY w.reply_due_at LIMIT %(limit)s)
UPDATE conversation c SET reply_claim = %(claim)s, reply_attempts = least(reply_attempts + 1, 32767),
  reply_lease_until = now() + %(lease)s * interval '1 second'
FROM (
  SELECT c.id, a.read_receipts FROM chosen JOIN conversation c USING (id)
    JOIN whatsapp_cloud_account a USING (chatbot_id)
  WHERE {WAITS} ORDER BY c.id FOR NO KEY UPDATE OF c SKIP LOCKED) due
WHERE c.id = due.id
RETURNING c.id, c.chatbot_id, c.reply_due_at, c.reply_claim, c.reply_attempts, c.last_inbound_at, due.read_receipts
"""


RENEW = """
UPDATE conversation SET reply_lease_until = now() + %s * interval '1 second' WHERE id IN (
  SELECT id FROM conversation WHERE id = ANY(%s::uuid[]) AND reply_claim IS NOT NULL
  ORDER BY id FOR NO KEY UPDATE SKIP LOCKED)
"""


def claim_replies(limit, lease, shares, share):
    """Conversations whose customer waits for a reply, leased for `lease` seconds.

    `shares`: {chatbot_id: at most so many of its own}; `share`: of each other chatbot.
    """
    values = {'chatbots': list(shares), 'shares': list(shares.values()), 'share': share}
    return fetch_dicts(CLAIM_REPLIES, values | {'limit': limit, 'claim': new_id(), 'lease': lease})


def renew_leases(conversation_ids, lease):
    """They are still being asked about, by this process."""
    execute(RENEW, (lease, conversation_ids))


def reply_done(claimed):
    """The reply is queued (call it in that transaction).

    False when the claim is no longer ours: then queue nothing.

    Somebody who wrote while the responder was thinking moved reply_due_at, and is asked about
    again.
    """
    return bool(
        execute(
            'UPDATE conversation SET reply_claim = NULL, reply_lease_until = NULL, reply_error = NULL, reply_attempts = 0, '
            'reply_due_at = CASE reply_due_at WHEN %s THEN NULL ELSE reply_due_at END, updated_at = now() '
            'WHERE id = %s AND reply_claim = %s',
            (claimed['reply_due_at'], claimed['id'], claimed['reply_claim']),
        )
    )


def reply_failed(claimed, delay, error, is_counted=True):
    """The responder gave nothing: ask again `delay` seconds from now or, with None, give up and
    show the error.
    """
    execute(
        'UPDATE conversation SET reply_claim = NULL, reply_lease_until = NULL, reply_error = %s, updated_at = now(), '
        'reply_attempts = greatest(0, reply_attempts - %s), '
        "reply_due_at = CASE reply_due_at WHEN %s THEN now() + %s * interval '1 second' ELSE reply_due_at END "
        'WHERE id = %s AND reply_claim = %s',
        (
            json.dumps(error),
            int(not is_counted),
            claimed['reply_due_at'],
            delay,
            claimed['id'],
            claimed['reply_claim'],
        ),
    )
