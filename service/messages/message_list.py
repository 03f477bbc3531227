"""Which messages a caller asks for: the filters of GET /messages, and what changed since a time."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, TypeAlias

from peewee import JOIN, SQL, ModelSelect, Tuple, Value, fn

from service.accounts.account import Account
from service.content.person_id import PersonId, read
from service.content.phone_numbers import candidates
from service.messages.message import Message
from service.messages.state_machine import WAITING
from service.runtime.db import fetch, fetch_dicts
from service.runtime.ids import FIRST_ID, id_at

MessageQuery: TypeAlias = 'ModelSelect[Message]'
ID_CLOCK_SKEW = timedelta(
    days=1
)  # between the clock that made an id and the database's, generously
# By the kind of an id, the kinds of conversation_identity that it may be stored as.
STORED_KINDS = {
    'phone': ['phone', 'former'],
    'user': ['user', 'replaced'],
    'parent': ['parent'],
    'group': ['group'],
}

# The index begins with our number, so each number is asked in turn: they are few, and a further
# index costs each send.
FIND_BY_WAMID = """
WITH RECURSIVE number (id) AS (
  (SELECT phone_number_id FROM message m WHERE {which} ORDER BY phone_number_id LIMIT 1)
  UNION ALL
  SELECT (SELECT m.phone_number_id FROM message m WHERE {which} AND m.phone_number_id > number.id
          ORDER BY m.phone_number_id LIMIT 1)
  FROM number WHERE number.id IS NOT NULL)
SELECT m.id
FROM number JOIN message m ON m.phone_number_id = number.id AND m.wamid = %(wamid)s AND {which}
"""
BOTH_DIRECTIONS = [
    FIND_BY_WAMID.format(which="m.direction = 'inbound'"),
    FIND_BY_WAMID.format(which="m.direction = 'outbound' AND m.wamid IS NOT NULL"),
]
FIND_CONVERSATIONS = """
SELECT DISTINCT conversation_id FROM conversation_identity
WHERE chatbot_id IN (
    SELECT chatbot_id FROM whatsapp_cloud_account
    WHERE chatbot_id = coalesce(%(chatbot)s, chatbot_id))
  AND kind = ANY(%(kinds)s) AND value = ANY(%(values)s)
"""
# Each conversation's by its index, from the newest on.
FIND_LAST = """
SELECT (SELECT m.id FROM message m
  WHERE m.conversation_id = c.id AND m.type NOT IN ('reaction', 'edit', 'revoke')
  ORDER BY m.conversation_id DESC, m.id DESC LIMIT 1)
FROM conversation c WHERE c.id = ANY(%s::uuid[])
"""


def of_chatbots(query: MessageQuery, chatbots: list[str] | None) -> MessageQuery:
    """Those of these chatbots; None: of all."""
    return query if chatbots is None else query.where(Message.chatbot_id.in_(chatbots))


def with_status(query: MessageQuery, status: str) -> MessageQuery:
    """Those in a state. Of what may still leave an index has the few, or many, that do."""
    query = query.where(Message.status == status)
    return query.where(SQL('waiting') == status) if status in WAITING else query


def with_wamid(query: MessageQuery, wamid: str) -> MessageQuery:
    ids = []
    for statement in BOTH_DIRECTIONS:
        ids += [id_ for (id_,) in fetch(statement, {'wamid': wamid})]
    return query.where(Message.id.in_(ids))


def sent_to(query: MessageQuery, chatbot_id: str | None, value: str) -> MessageQuery:
    """Those that went to a phone (however it is written), to a BSUID or to a group."""
    named = read(value) or PersonId('group', value)
    values = [named.value]
    to: Any = Message.recipient_to
    if named.kind == 'phone':
        values = candidates(named.value)
        to = fn.regexp_replace(Message.recipient_to, '[^0-9]', '', 'g')
    wanted = {'chatbot': chatbot_id, 'kinds': STORED_KINDS[named.kind], 'values': values}
    conversations = [id_ for (id_,) in fetch(FIND_CONVERSATIONS, wanted)]
    return query.where(
        (Message.direction == 'outbound')
        & Message.conversation_id.in_(conversations)
        & (to.in_(values) | Message.recipient.in_(values))
    )


def created(query: MessageQuery, after: datetime | None, before: datetime | None) -> MessageQuery:
    """Those that were stored after one time and before another.

    Ids rise with time, so their index finds the place.
    """
    if after:
        query = query.where(Message.created_at > after, Message.id >= first_id(after))
    if before:
        query = query.where(Message.created_at < before, Message.id <= last_id(before))
    return query


def first_id(after: datetime) -> str:
    """No message that was stored after this time has an earlier id."""
    return id_at(after, -ID_CLOCK_SKEW)


def last_id(before: datetime) -> str:
    """No message that was stored before this time has this id, or a later one."""
    return id_at(before, ID_CLOCK_SKEW)


@dataclass(frozen=True, slots=True)
class Cursor:
    """Where a list in the order of changes goes on: after this row."""

    updated_at: datetime
    id: str = FIRST_ID


# A transaction that is under way writes rows with the time of its beginning. Younger rows wait for
# it: else the cursor would have passed its rows before they are there. After the pause
# pg_stat_activity shows every transaction that began before `now`.
READ_CLOCK = 'SELECT clock_timestamp(), pg_sleep(0.02)'
FIND_OLDEST_TRANSACTION = """
SELECT min(xact_start) FROM pg_stat_activity
WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend'
  AND (backend_xid IS NOT NULL OR application_name = current_setting('application_name'))
"""


def complete_until() -> datetime:
    """The time before which no change can come any more."""
    now: datetime = fetch(READ_CLOCK)[0][0]
    oldest: datetime | None = fetch(FIND_OLDEST_TRANSACTION)[0][0]
    return min(now, oldest) if oldest else now


# Messages that nobody has changed since there is a `changed_minute` have none (-infinity).
FIRST_MINUTE = """
SELECT CASE WHEN applied_at + interval '5 min' < %(since)s
  THEN date_bin('1 minute', %(since)s, '2000-01-01 00:00+00') ELSE '-infinity' END::text
FROM schema_version WHERE version = 8
"""


def changed(
    query: MessageQuery, chatbots: list[str] | None, behind: Cursor, limit: int
) -> list[Message]:
    """At most `limit` messages of a query in the order of their changes, after a cursor.

    Of these chatbots; None: of all. The messages of each are found by its own index, minute by
    minute.
    """
    minute = SQL('changed_minute')
    ((first_minute,),) = fetch(FIRST_MINUTE, {'since': behind.updated_at})
    of_one = (
        query.select(Message.id, Message.updated_at)
        .where(Message.chatbot_id == Account.chatbot_id, Message.updated_at < complete_until())
        .where(Tuple(Message.updated_at, Message.id) > (behind.updated_at, behind.id))
        .where(minute >= Value(first_minute).cast('timestamptz'))
        .order_by(minute, Message.updated_at, Message.id)
        .limit(limit)
        .alias('changed')
    )
    wanted = of_one.c.id.is_null(False)
    if chatbots is not None:
        wanted &= Account.chatbot_id.in_(chatbots)
    ids = (
        Account.select(of_one.c.id)
        .join(of_one, JOIN.LEFT_LATERAL, on=True)
        .where(wanted)
        .order_by(of_one.c.updated_at, of_one.c.id)
        .limit(limit)
    )
    return list(
        Message.select().where(Message.id.in_(ids)).order_by(Message.updated_at, Message.id)
    )


def last_of(conversations: Sequence[str]) -> list[Message]:
    """The last message of each of these conversations, but for what is about another message."""
    ids = [id_ for (id_,) in fetch(FIND_LAST, (list(conversations),)) if id_]
    return list(Message.select().where(Message.id.in_(ids)))


# Of these an index has the few that wait.
COUNT_WAITING = """
SELECT template_name AS name, template_language AS language, batch_id,
  count(*) FILTER (WHERE waiting = 'queued') AS queued,
  count(*) FILTER (WHERE waiting = 'held') AS held
FROM message
WHERE template_name = ANY(%(names)s) AND template_name IS NOT NULL
  AND waiting IN ('queued', 'held') AND chatbot_id IN (
    SELECT chatbot_id FROM whatsapp_cloud_account
    WHERE waba_id = %(waba_id)s
      AND (%(chatbots)s::text[] IS NULL OR chatbot_id = ANY(%(chatbots)s)))
GROUP BY 1, 2, 3 ORDER BY 1, 2, 3
"""


def waiting_for_templates(
    waba_id: str, names: list[str], chatbots: list[str] | None
) -> list[dict[str, Any]]:
    """How many messages that are made from these templates wait, by template and batch.

    Of these chatbots of the WABA; None: of all.
    """
    values = {'waba_id': waba_id, 'names': names, 'chatbots': chatbots}
    return fetch_dicts(COUNT_WAITING, values)
