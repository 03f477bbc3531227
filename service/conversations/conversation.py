"""Conversations: one for each person or group that a chatbot talks with."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Self

from peewee import DateTimeField, SmallIntegerField, TextField

from service.conversations import service_window
from service.runtime.db import fetch
from service.runtime.model import JSON, Model
from service.runtime.prepared import Prepared, fill
from service.runtime.rows import Integer, Uuid, execute_bulk

FIND_MERGED_INTO = 'SELECT conversation_id FROM conversation_merged WHERE id = %s'


class Conversation(Model):
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
    last_outbound_at = DateTimeField(null=True)
    paused_until = DateTimeField(null=True)
    paused_by = TextField(null=True)
    assignee = TextField(null=True)
    reply_due_at = DateTimeField(null=True)
    reply_wanted_at = DateTimeField(null=True)
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
        'last_outbound_at',
        'paused_until',
        'paused_by',
        'assignee',
        'reply_due_at',
        'reply_attempts',
        'reply_error',
        'created_at',
        'updated_at',
    )

    @classmethod
    def find(cls, row_id: str) -> Self:
        """The conversation, also by the id of one that was merged into it. Raises NotFound."""
        return cls.find_or_none(row_id) or super().find(row_id)

    @classmethod
    def find_or_none(cls, row_id: str) -> Self | None:
        """The same; None when there is none."""
        found: Self | None = cls.get_or_none(cls.id == row_id)
        return found or cls.get_or_none(cls.id == current_id(row_id))

    def to_dict(self) -> dict[str, Any]:
        """The conversation as callers of the API see it."""
        closes_at = service_window.closes_at(self.last_inbound_at)
        is_open = closes_at > datetime.now(UTC) if closes_at and not self.group_id else None
        shown = {name: getattr(self, name) for name in self.SHOWN}
        return shown | {'window_expires_at': closes_at, 'window_open': is_open}


def current_id(conversation_id: str) -> str:
    """The id of the conversation that this one was merged into; its own when it was not."""
    rows = fetch(FIND_MERGED_INTO, (conversation_id,))
    return rows[0][0] if rows else conversation_id


def _newer(name: str, value: str | None = None) -> str:
    """An assignment: the value with the later time of Meta's; an older one only fills a gap."""
    value = value or f'n.{name}'
    is_newer = 'n.known_at >= c.known_at OR c.known_at IS NULL AND n.known_at IS NOT NULL'
    return f"""{name} = CASE WHEN {is_newer} THEN coalesce({value}, c.{name})
    ELSE coalesce(c.{name}, {value}) END"""


# Only while the phone leads to this conversation: it may have a new owner.
OWN_PHONE = """(SELECT value FROM conversation_identity WHERE conversation_id = c.id
    AND chatbot_id = c.chatbot_id AND kind = 'phone' AND value = n.wa_id)"""
# Only while no other BSUID has replaced it.
CURRENT_USER = """(SELECT n.user_id WHERE NOT EXISTS (SELECT 1 FROM conversation_identity
    WHERE chatbot_id = c.chatbot_id AND kind = 'replaced' AND value = n.user_id))"""
SET_IDS = f"""
  {_newer('wa_id', OWN_PHONE)},
  {_newer('user_id', CURRENT_USER)},
  {_newer('parent_user_id')},
  known_at = greatest(c.known_at, n.known_at), updated_at = now()
"""
SET_NAMES = f"""
  {_newer('username')},
  {_newer('name')}
"""
UPDATE_IDS = fill(
    """
UPDATE conversation c SET {ids} FROM {rows} WHERE c.id = n.id
""",
    ids=SET_IDS,
)
# A status locks its message first, everybody else the conversation: so that the two never wait for
# each other, a conversation that somebody else holds is left out.
UPDATE_PROFILE_NAMES = fill(
    """
UPDATE conversation c SET {names}
FROM (
  SELECT n.* FROM conversation c JOIN {rows} USING (id)
  WHERE n.username <> c.username OR n.name <> c.name
    OR c.username IS NULL AND n.username IS NOT NULL OR c.name IS NULL AND n.name IS NOT NULL
  ORDER BY c.id FOR NO KEY UPDATE OF c SKIP LOCKED) n
WHERE c.id = n.id
""",
    names=SET_NAMES,
)


@dataclass(slots=True)
class ShownIds:
    """The ids that are shown of a conversation, as evidence of a time has them; None: no news."""

    id: Uuid
    known_at: datetime | None  # Meta's time
    wa_id: str | None
    user_id: str | None
    parent_user_id: str | None


@dataclass(slots=True)
class Activity:
    """What new messages tell about their conversation; None: no news."""

    id: Uuid
    known_at: datetime | None = None  # Meta's time of the latest
    said_at: datetime | None = None  # the same or, when Meta gives none, the time of receipt
    wrote_at: datetime | None = None  # of the latest that opens the 24-hour window
    outbound_at: datetime | None = None  # of the latest that went to the customer
    wa_id: str | None = None
    user_id: str | None = None
    parent_user_id: str | None = None
    username: str | None = None
    name: str | None = None
    reply_after: float | None = None  # quiet seconds until a reply is due; None: none is wanted
    wanted_at: datetime | None = None  # when the customer wrote what a reply is wanted to
    max_turns: Integer | None = None  # replies that they may get in a day


@dataclass(slots=True)
class ProfileNames:
    """The names of a person that a status shows; None: no news."""

    id: Uuid
    known_at: datetime | None  # Meta's time
    username: str | None
    name: str | None


def update_ids(ids: Sequence[ShownIds]) -> None:
    """Show these ids of conversations; the caller holds their rows."""
    execute_bulk(UPDATE_IDS, ids)


# In SQL: the day that turns are counted of.
TODAY = "(now() AT TIME ZONE 'UTC')::date"
# In SQL, of a conversation `c`: what makes a customer's message wait for nobody.
IS_PAUSED = 'coalesce(c.paused_until > now(), false)'
IS_LIMITED = fill('(c.turns_on IS NOT DISTINCT FROM {today} AND c.turns >= {limit})', today=TODAY)
LIMITED = 'max_turns_a_day replies were sent today (UTC)'
# Meta's times are whole seconds. A message that comes after what went out in the same second has
# been written after it, too: the customer waits.
RECORD_INBOUND = Prepared.for_rows(Activity)(
    """
UPDATE conversation c SET
  last_inbound_at = greatest(c.last_inbound_at,
    CASE WHEN n.wrote_at > now() THEN now() ELSE n.wrote_at END),
  last_message_at = greatest(c.last_message_at, n.said_at),
  last_outbound_at = greatest(
    CASE WHEN c.last_outbound_at >= n.wrote_at
        AND c.last_outbound_at < n.wrote_at + interval '1 second'
      THEN n.wrote_at - interval '1 microsecond' ELSE c.last_outbound_at END, n.outbound_at),
  reply_due_at = CASE WHEN {wanted} THEN clock_timestamp() + n.reply_after * interval '1 second'
                 ELSE c.reply_due_at END,
  reply_wanted_at = CASE WHEN NOT {wanted} THEN c.reply_wanted_at
                    WHEN c.reply_due_at IS NULL THEN n.wanted_at
                    ELSE greatest(c.reply_wanted_at, n.wanted_at) END,
  reply_attempts = CASE WHEN {wanted} THEN 0 ELSE c.reply_attempts END,
  reply_error = CASE WHEN n.reply_after IS NOT NULL AND NOT {paused} AND {limited}
                THEN json_build_object('title', '{title}', 'attempts', 0, 'final', true)
                ELSE c.reply_error END,
  {names}, {ids}
FROM {rows} WHERE c.id = n.id
""",
    wanted='(n.reply_after IS NOT NULL AND NOT {paused} AND NOT {limited})',
    paused=IS_PAUSED,
    limited=fill(IS_LIMITED, limit='n.max_turns'),
    title=LIMITED,
    names=SET_NAMES,
    ids=SET_IDS,
)


def record_inbound(activities: Sequence[Activity]) -> None:
    """Keep what messages tell about their conversations; the caller holds their rows."""
    execute_bulk(RECORD_INBOUND, activities)


def update_profile_names(names: Sequence[ProfileNames]) -> None:
    """Keep the names that statuses show, one row for each conversation."""
    execute_bulk(UPDATE_PROFILE_NAMES, names)
