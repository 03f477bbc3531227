"""Which conversations a caller asks for: the filters of GET /conversations.

Those that many conversations pass are soon found by looking at the newest ones; those that few pass
have an index. So neither makes PostgreSQL read or sort many conversations.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from operator import attrgetter
from typing import Any

from service.conversations.conversation import Conversation
from service.runtime.db import fetch
from service.runtime.ids import LAST_ID
from service.runtime.prepared import fill

NO_INDEX = 9
WALK = 2000  # conversations that are looked at one by one


@dataclass(frozen=True, slots=True)
class Filter:
    """A condition on a conversation `c`, in SQL.

    `index_rank`: the lower, the fewer pass it; NO_INDEX: no index has those that pass.
    `is_ordered`: its index has them in the order of the list.
    """

    sql: str
    parameters: tuple[Any, ...] = ()
    index_rank: int = NO_INDEX
    is_ordered: bool = True


def assigned_to(assignee: str) -> Filter:
    return Filter('c.assignee = %s', (assignee,), 0)


# In SQL, of a conversation `c`: when something was last said; the index conversation_active has it.
# NULL where nobody has spoken.
SAID_AT = 'greatest(c.last_message_at, c.last_outbound_at)'
# The customer's last message is younger than anything that went to them.
WAITS = "c.last_inbound_at > coalesce(c.last_outbound_at, '-infinity')"
# By what is wanted.
PAUSED = {
    True: Filter('c.paused_until > now()', (), 1, is_ordered=False),
    False: Filter('coalesce(c.paused_until <= now(), true)'),
}
UNANSWERED = {
    True: Filter(WAITS, (), 2),
    False: Filter(fill('coalesce(NOT ({waits}), true)', waits=WAITS)),
}


def active_since(at: datetime) -> Filter:
    """Something was said since then, by the customer or to them."""
    return Filter(fill('{said_at} >= %s', said_at=SAID_AT), (at,), 3, is_ordered=False)


# {newest}: of each chatbot apart. An index has those of one in their order, PostgreSQL merges them.
NEWEST = """(SELECT * FROM conversation
  WHERE {condition} AND id < %s ORDER BY id DESC LIMIT {walk})"""
AMONG_NEWEST = """
SELECT c.id FROM (SELECT * FROM ({newest}) c ORDER BY c.id DESC LIMIT {walk}) c
WHERE {filters} ORDER BY c.id DESC LIMIT %s
"""
FIND_END_OF_WALK = 'SELECT c.id FROM ({newest}) c ORDER BY c.id DESC OFFSET {walk} - 1 LIMIT 1'
# {fence}: first all that the index has of a chatbot, then what passes, in order; else side by side.
IN_INDEX = """
SELECT found.id FROM whatsapp_cloud_account a CROSS JOIN LATERAL (
  SELECT c.id FROM (
    SELECT * FROM conversation c WHERE c.chatbot_id = a.chatbot_id AND {indexed} {fence}) c
  WHERE c.id < %s AND {filters}
  ORDER BY c.id DESC LIMIT %s) found
WHERE {account} ORDER BY found.id DESC LIMIT %s
"""


def find(
    chatbots: list[str] | None, filters: Sequence[Filter], cursor: str | None, limit: int
) -> list[Conversation]:
    """At most `limit` conversations that pass all filters, the newest first, behind a cursor.

    Of these chatbots; None: of all.
    """
    newest, place = _newest(chatbots, cursor or LAST_ID)
    account, owners = of_accounts(chatbots)
    passes, parameters = all_of(filters)
    walk = fill(AMONG_NEWEST, newest=newest, filters=passes, walk=WALK)
    found = _ids(walk, [*place, *parameters, limit])
    end = _ids(fill(FIND_END_OF_WALK, newest=newest, walk=WALK), place)
    if end and len(found) < limit:
        missing = limit - len(found)
        first = min(filters, key=attrgetter('index_rank'))
        fence = '' if first.is_ordered else 'OFFSET 0'
        older = fill(IN_INDEX, account=account, filters=passes, indexed=first.sql, fence=fence)
        rest = [*first.parameters, *end, *parameters, missing, *owners, missing]
        found += _ids(older, rest)
    query = Conversation.select().where(Conversation.id.in_(found))
    return list(query.order_by(Conversation.id.desc()))


def _newest(chatbots: list[str] | None, before: str) -> tuple[str, list[str]]:
    """The newest conversations of chatbots before an id, in SQL, with its parameters."""
    if chatbots is None:
        return fill(NEWEST, condition='true', walk=WALK), [before]
    of_one = fill(NEWEST, condition='chatbot_id = %s', walk=WALK)
    values = [value for chatbot_id in chatbots for value in (chatbot_id, before)]
    return ' UNION ALL '.join([of_one] * len(chatbots)), values


def of_accounts(chatbots: list[str] | None) -> tuple[str, list[Any]]:
    """Which accounts `a` have these chatbots, in SQL, with its parameters; None: all have."""
    return ('true', []) if chatbots is None else ('a.chatbot_id = ANY(%s)', [chatbots])


def all_of(filters: Sequence[Filter]) -> tuple[str, list[Any]]:
    """All filters at once, in SQL, with its parameters."""
    passes = ' AND '.join(['true', *(one.sql for one in filters)])
    return passes, [parameter for one in filters for parameter in one.parameters]


def _ids(statement: str, parameters: list[Any]) -> list[str]:
    return [id_ for (id_,) in fetch(statement, parameters)]
