"""The inbox: conversations in the order in which something was last said, and people by name.

Only those in which something was said have a place in that order.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import Any

from service.conversations import contact
from service.conversations.conversation import Conversation
from service.conversations.conversation_list import SAID_AT, Filter, all_of, of_accounts
from service.runtime.db import fetch
from service.runtime.ids import LAST_ID
from service.runtime.prepared import fill

WALK = 2000  # of each chatbot, conversations that are looked at one by one for a filter
NAME_WALK = 20_000  # the same for a name, of which there is no index
NEWEST_TIME = 'infinity'
AMONG_LATEST = fill(
    """
SELECT c.id FROM whatsapp_cloud_account a CROSS JOIN LATERAL (
  SELECT c.*, {said_at} AS said_at FROM conversation c
  WHERE c.chatbot_id = a.chatbot_id AND {said_at} <= %s AND ({said_at}, c.id) < (%s, %s)
  ORDER BY {said_at} DESC, c.id DESC LIMIT %s) c
WHERE {account} AND {filters} ORDER BY c.said_at DESC, c.id DESC LIMIT %s
""",
    said_at=SAID_AT,
)
# OFFSET 0: first all that the filter's index has of a chatbot, then what passes, in order.
IN_INDEX = fill(
    """
SELECT c.id FROM whatsapp_cloud_account a CROSS JOIN LATERAL (
  SELECT c.*, {said_at} AS said_at FROM conversation c
  WHERE c.chatbot_id = a.chatbot_id AND {indexed} OFFSET 0) c
WHERE {account} AND (c.said_at, c.id) < (%s, %s) AND {filters}
ORDER BY c.said_at DESC, c.id DESC LIMIT %s
""",
    said_at=SAID_AT,
)
HAS_NAME = "strpos(lower(concat_ws(' ', c.name, '@' || c.username, c.wa_id, c.user_id)), %s) > 0"


@dataclass(frozen=True, slots=True)
class Place:
    """Where a page begins: behind the conversation of this id, in which was said something then."""

    said_at: Any = NEWEST_TIME  # a time, or NEWEST_TIME
    id: str = LAST_ID


def latest(
    chatbots: list[str] | None, filters: Sequence[Filter], behind: Place, limit: int
) -> list[Conversation]:
    """At most `limit` conversations that pass all filters, the last spoken in first.

    Of these chatbots; None: of all. Each filter has an index (conversation_list.Filter).
    """
    found = _among_latest(chatbots, filters, behind, WALK if filters else limit, limit)
    if filters and len(found) < limit:  # few pass: their index knows them all
        account, owners = of_accounts(chatbots)
        passes, parameters = all_of(filters)
        first = min(filters, key=attrgetter('index_rank'))
        statement = fill(IN_INDEX, account=account, indexed=first.sql, filters=passes)
        place = [behind.said_at, behind.id]
        found = _ids(statement, [*first.parameters, *owners, *place, *parameters, limit])
    return _in_order(found)


def named(chatbots: list[str] | None, text: str, limit: int) -> list[Conversation]:
    """At most `limit` people with this in their name, username or number, the latest first.

    A whole number or BSUID is found among all, a part among the NAME_WALK latest of a chatbot.
    """
    is_number = text.lstrip('+').replace(' ', '').replace('-', '').isdigit()
    wanted = ''.join(filter(str.isdigit, text)) if is_number else text.lower()
    known = [one for one in map(Conversation.find_or_none, contact.find_ids(None, text)) if one]
    ids = [one.id for one in known if chatbots is None or one.chatbot_id in chatbots]
    has_name = [Filter(HAS_NAME, (wanted,))]
    ids += _among_latest(chatbots, has_name, Place(), NAME_WALK, limit)
    return _in_order(list(dict.fromkeys(ids))[:limit])


def _among_latest(
    chatbots: list[str] | None, filters: Sequence[Filter], behind: Place, walk: int, limit: int
) -> list[str]:
    account, owners = of_accounts(chatbots)
    passes, parameters = all_of(filters)
    statement = fill(AMONG_LATEST, account=account, filters=passes)
    place = [behind.said_at, behind.said_at, behind.id, walk]
    return _ids(statement, [*place, *owners, *parameters, limit])


def _ids(statement: str, parameters: list[Any]) -> list[str]:
    return [id_ for (id_,) in fetch(statement, parameters)]


def _in_order(ids: list[str]) -> list[Conversation]:
    rows = {one.id: one for one in Conversation.select().where(Conversation.id.in_(ids))}
    return [rows[id_] for id_ in ids if id_ in rows]
