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
    said_at = 'greatest(c.last_message_at, c.last_outbound_at) >= %s'
    return Filter(said_at, (at,), 3, is_ordered=False)


AMONG_NEWEST = """
SELECT c.id FROM (
  SELECT * FROM conversation c WHERE {scope} AND c.id < %s ORDER BY c.id DESC LIMIT {walk}) c
WHERE {filters} ORDER BY c.id DESC LIMIT %s
"""
FIND_END_OF_WALK = """
SELECT c.id FROM conversation c WHERE {scope} AND c.id < %s
ORDER BY c.id DESC OFFSET {walk} - 1 LIMIT 1
"""
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
    chatbot_id: str | None, filters: Sequence[Filter], cursor: str | None, limit: int
) -> list[Conversation]:
    """At most `limit` conversations that pass all filters, the newest first, behind a cursor."""
    scope, account = ('c.chatbot_id = %s', 'a.chatbot_id = %s') if chatbot_id else ('true', 'true')
    values = [chatbot_id] if chatbot_id else []
    passes = ' AND '.join(['true', *(one.sql for one in filters)])
    parameters = [parameter for one in filters for parameter in one.parameters]
    place = [*values, cursor or LAST_ID]
    newest = fill(AMONG_NEWEST, scope=scope, filters=passes, walk=WALK)
    found = _ids(newest, [*place, *parameters, limit])
    end = _ids(fill(FIND_END_OF_WALK, scope=scope, walk=WALK), place)
    if end and len(found) < limit:
        missing = limit - len(found)
        first = min(filters, key=attrgetter('index_rank'))
        fence = '' if first.is_ordered else 'OFFSET 0'
        older = fill(IN_INDEX, account=account, filters=passes, indexed=first.sql, fence=fence)
        rest = [*first.parameters, *end, *parameters, missing, *values, missing]
        found += _ids(older, rest)
    query = Conversation.select().where(Conversation.id.in_(found))
    return list(query.order_by(Conversation.id.desc()))


def _ids(statement: str, parameters: list[Any]) -> list[str]:
    return [id_ for (id_,) in fetch(statement, parameters)]
