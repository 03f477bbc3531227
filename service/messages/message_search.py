"""GET /messages?q=: messages by the words of their text, the newest first.

A word that is in many messages is soon found by looking at the newest ones, one by one; the index
would give all of them at once. A word that is in few is found by the index, which has the messages
of 50 days and one chatbot apart (search_vector.py): the periods are asked from the newest to the
oldest, more of them at a time as long as little is found. So neither a frequent nor a rare word
makes PostgreSQL read or sort many messages.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from peewee import SQL

from service.content.search_words import formerly_wanted_words, wanted_words
from service.messages.message import Message
from service.messages.message_list import MessageQuery
from service.messages.search_vector import PLACE, owner, period
from service.runtime.db import fetch
from service.runtime.ids import FIRST_ID, LAST_ID
from service.runtime.prepared import fill
from service.runtime.session import BY_BITMAP

WALK = 2000  # messages that are looked at one by one
CONVERSATION_WALK = 20_000  # of one conversation, of which the index has no part of its own
MAX_PARTS = 500  # of the index that one statement asks

# {newest}, {oldest}: messages of a scope between two ids, of each of its chatbots apart. An index
# has those of one in their order, and PostgreSQL merges the orders.
MESSAGES = """(SELECT id, chatbot_id FROM message
  WHERE {condition} AND id >= %s AND id < %s ORDER BY {order})"""
NEWEST = 'id DESC LIMIT {walk}'
OLDEST = 'id LIMIT 1'
FIND_END_OF_WALK = 'SELECT id FROM ({newest}) m ORDER BY id DESC OFFSET {walk} - 1 LIMIT 1'
FIND_OLDEST = 'SELECT id FROM ({oldest}) m ORDER BY id LIMIT 1'
FIND_CHATBOTS = 'SELECT chatbot_id FROM whatsapp_cloud_account'
FIND_CHATBOT = 'SELECT chatbot_id FROM conversation WHERE id = %s'
HAS_WORDS = fill("s.search @@ replace(%s, '~', {place})::tsquery", place=PLACE)
# OFFSET 0, here and below: each message is a look-up, in this order.
AMONG_NEWEST = fill(
    """
SELECT m.id FROM (
  SELECT id, chatbot_id FROM ({newest}) m ORDER BY id DESC LIMIT {walk}) m
CROSS JOIN LATERAL (SELECT search FROM message_search WHERE message_id = m.id OFFSET 0) s
WHERE {has_words} ORDER BY m.id DESC
""",
    has_words=HAS_WORDS,
)
# Each part is asked alone: of an OR of them PostgreSQL would check each message against all.
IN_INDEX = """
SELECT s.message_id AS id FROM unnest(CAST(%s AS tsquery[])) AS part (words)
CROSS JOIN LATERAL (
  SELECT message_id FROM message_search WHERE search @@ part.words OFFSET 0) s
WHERE s.message_id >= %s AND s.message_id < %s
ORDER BY s.message_id DESC
"""
FILTER = """
SELECT m.id FROM ({found}) found CROSS JOIN LATERAL ({filtered} OFFSET 0) m
ORDER BY found.id DESC LIMIT %s
"""
AMONG_FEW = fill(
    """
SELECT m.id FROM ({filtered} OFFSET 0) m
CROSS JOIN LATERAL (SELECT search FROM message_search WHERE message_id = m.id OFFSET 0) s
WHERE m.id < %s AND {has_words}
ORDER BY m.id DESC LIMIT %s
""",
    has_words=HAS_WORDS,
)


@dataclass(frozen=True, slots=True)
class Scope:
    """Where is searched: what the indexes of messages begin with, and between which ids.

    `chatbots`: None for all; `is_narrow`: an index has the few messages that the other filters let
    through; `after`: the first id of the time that is asked for; `before`: the one behind the last.
    """

    chatbots: list[str] | None = None
    conversation_id: str | None = None
    is_narrow: bool = False
    after: str = FIRST_ID
    before: str = LAST_ID

    def messages(self, before: str, order: str) -> tuple[str, list[str]]:
        """Its messages before an id, in SQL, with its parameters. `order`: NEWEST or OLDEST."""
        column, owners = 'chatbot_id = %s', self.chatbots
        if self.conversation_id:
            column, owners = 'conversation_id = %s', [self.conversation_id]
        if owners is None:
            return fill(MESSAGES, condition='true', order=order), [self.after, before]
        of_one = fill(MESSAGES, condition=column, order=order)
        values = [value for owner in owners for value in (owner, self.after, before)]
        return ' UNION ALL '.join([of_one] * len(owners)), values


@dataclass(frozen=True, slots=True)
class Look:
    """A statement that gives ids, the newest first. `settings`: what goes before it."""

    sql: str
    parameters: list[Any]
    settings: str = ''


def find(
    query: MessageQuery, text: str, scope: Scope, cursor: str | None, limit: int
) -> list[Message]:
    """At most `limit` messages of a query that have the words of a text, behind a cursor.

    Of the last word the beginning is enough. Without any word nothing is found.
    """
    wanted = wanted_words(text)
    words = _condition(wanted)
    if (formerly := formerly_wanted_words(text)) != wanted:  # of messages of earlier versions
        words = f'({words}) | ({_condition(formerly)})'
    before = min(cursor or LAST_ID, scope.before)
    found: list[str] = []
    if wanted and scope.is_narrow:
        found = _among_few(query, words, before, limit)
    elif wanted:
        for look in _looks(words, scope, before):
            found += _filtered(query, look, limit - len(found))
            if len(found) == limit:
                break
    return list(Message.select().where(Message.id.in_(found)).order_by(Message.id.desc()))


def _condition(wanted: list[str]) -> str:
    """The tsquery of words, without the place of any of them."""
    return ' & '.join([f"'~{word}'" for word in wanted]) + ':*'


def _looks(words: str, scope: Scope, before: str) -> Iterator[Look]:
    """What finds messages, each look older ones than those before it."""
    walk = CONVERSATION_WALK if scope.conversation_id else WALK
    newest, place = scope.messages(before, fill(NEWEST, walk=walk))
    yield Look(fill(AMONG_NEWEST, newest=newest, walk=walk), [*place, words])
    for (lowest,) in fetch(fill(FIND_END_OF_WALK, newest=newest, walk=walk), place):
        ((oldest,),) = fetch(fill(FIND_OLDEST, oldest=scope.messages(before, OLDEST)[0]), place)
        for places in _places(_chatbots(scope), lowest, oldest):
            parts = [words.replace('~', place) for place in places]
            yield Look(IN_INDEX, [parts, scope.after, lowest], BY_BITMAP)


def _chatbots(scope: Scope) -> list[str]:
    if scope.chatbots is not None:
        return scope.chatbots
    found = fetch(FIND_CHATBOT, (scope.conversation_id,)) if scope.conversation_id else []
    return [chatbot_id for (chatbot_id,) in found or fetch(FIND_CHATBOTS)]


def _places(chatbots: list[str], newest: str, oldest: str) -> Iterator[list[str]]:
    """The parts of the index that are asked: the newest periods first, more of them each time."""
    owners = {owner(one) for one in chatbots}
    periods = [f'{n:03x}' for n in range(int(period(newest), 16), int(period(oldest), 16) - 1, -1)]
    count = 1
    while periods:
        asked, periods = periods[:count], periods[count:]
        yield [one + whose for one in asked for whose in owners]
        count = max(1, min(2 * count, MAX_PARTS // len(owners)))


def _among_few(query: MessageQuery, words: str, before: str, limit: int) -> list[str]:
    filtered, values = query.select(Message.id, Message.chatbot_id).sql()
    statement = fill(AMONG_FEW, filtered=filtered)
    return [id_ for (id_,) in fetch(statement, [*values, before, words, limit])]


def _filtered(query: MessageQuery, look: Look, limit: int) -> list[str]:
    """The ids of a look that the query lets through."""
    filtered, values = query.select(Message.id).where(Message.id == SQL('found.id')).sql()
    statement = look.settings + fill(FILTER, found=look.sql, filtered=filtered)
    return [id_ for (id_,) in fetch(statement, [*look.parameters, *values, limit])]
