"""Opt-outs: who wants no marketing.

What people said about it is kept in contact_event. From that, a conversation's opted_out_at and
opted_out_by are computed: the latest by Meta's time counts, in whatever order it arrives.
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, Protocol

from service.conversations.contact import ContactEvent
from service.conversations.opt_out_keywords import KeywordMatch, MarketingChoice, match_keyword
from service.graph.outcome import Outcome, make_error
from service.runtime.db import execute, fetch
from service.runtime.rows import execute_bulk

OPTED_OUT_CODE = 131050  # Meta's, for marketing to somebody who wants none
# The error of a message that is cancelled for it.
OPTED_OUT_ERROR = make_error('The person wants no marketing', cause='opted_out')
# In SQL: whether a message `m` that is a template, or becomes one, must not go to its
# conversation `c`.
UNWANTED = 'm.marketing AND c.opted_out_at IS NOT NULL'

LOCK_CONVERSATIONS = """
SELECT n.id, c.id FROM unnest(%(ids)s::uuid[]) AS n (id)
  LEFT JOIN conversation_merged m ON m.id = n.id
  JOIN conversation c ON c.id = coalesce(m.conversation_id, n.id)
ORDER BY c.id FOR NO KEY UPDATE OF c
"""
# The same statement may come twice: then it has the same time.
INSERT_STATEMENTS = """
INSERT INTO contact_event ({columns})
SELECT n.* FROM {rows} WHERE NOT EXISTS (
  SELECT 1 FROM contact_event e
  WHERE e.conversation_id = n.conversation_id AND e.kind = n.kind AND e.at = n.at)
"""
# Opted out since the first STOP after the last START. When both have the same second it is a STOP:
# Meta's times are no more exact. Only a STOP by the API is compared by its exact time.
RECOMPUTE_OPT_OUTS = """
UPDATE conversation c SET updated_at = now(), (opted_out_at, opted_out_by) = (
  SELECT e.at, e.detail ->> 'by' FROM contact_event e
  WHERE e.conversation_id = c.id AND e.kind = 'opt_out' AND e.at >= coalesce(
    (SELECT CASE e.detail ->> 'by' WHEN 'api' THEN max(i.at)
            ELSE date_trunc('second', max(i.at)) END
     FROM contact_event i WHERE i.conversation_id = c.id AND i.kind = 'opt_in'), '-infinity')
  ORDER BY e.at, e.id LIMIT 1)
WHERE c.id = ANY(%s::uuid[]) AND c.group_id IS NULL AND EXISTS (
  SELECT 1 FROM contact_event e WHERE e.conversation_id = c.id AND e.kind IN ('opt_out', 'opt_in'))
"""


class Source(StrEnum):
    """How we know what a person wants: conversation.opted_out_by."""

    KEYWORD = 'keyword'  # their message was a keyword
    USER_PREFERENCES = 'user_preferences'  # they told WhatsApp (docs/meta.md, section 5)
    META = 'meta'  # Meta refused a message with OPTED_OUT_CODE
    API = 'api'  # the platform said so


class KeywordLists(Protocol):
    """An account, as far as its own words are concerned; None: the default ones."""

    @property
    def opt_out_words(self) -> list[str] | None: ...
    @property
    def opt_in_words(self) -> list[str] | None: ...


class InboundMessage(Protocol):
    """What is read of a customer's message (webhooks/item.Item)."""

    @property
    def data(self) -> dict[str, Any]: ...  # Meta's
    @property
    def account(self) -> KeywordLists: ...
    @property
    def conversation_id(self) -> str: ...
    @property
    def at(self) -> datetime: ...


class Refusal(Protocol):
    """What is read of a send that Meta did not accept (sending/escalation.SendFailure)."""

    @property
    def outcome(self) -> Outcome: ...
    @property
    def conversation_id(self) -> str | None: ...
    @property
    def at(self) -> datetime | None: ...


@dataclass(frozen=True, slots=True)
class Statement:
    """A person wants no marketing, or wants it."""

    conversation_id: str
    choice: MarketingChoice
    by: Source
    at: datetime | None  # None: now
    detail: tuple[tuple[str, Any], ...] = ()  # what else is worth keeping: (name, value)

    def event(self, now: datetime) -> ContactEvent:
        """The row of contact_event that keeps it. No time lies in the future."""
        detail = {'by': self.by, **dict(self.detail)}
        return ContactEvent(self.conversation_id, self.choice, detail, min(self.at or now, now))


def record(statements: Iterable[Statement]) -> list[str]:
    """Keep what people said, in the caller's transaction; returns their conversations.

    The caller then cancels the marketing that waits for them (sending/holds.cancel_unwanted).
    """
    statements = list(statements)
    if not statements:
        return []
    current = _lock({one.conversation_id for one in statements})
    now = datetime.now(UTC)
    kept = {}
    for one in reversed(statements):  # of several with one time the first stays
        moved = replace(one, conversation_id=current[one.conversation_id])
        kept[moved.conversation_id, moved.choice, moved.at] = moved
    execute_bulk(INSERT_STATEMENTS, [one.event(now) for one in kept.values()])
    conversations = sorted(set(current.values()))
    recompute(conversations)
    return conversations


def _lock(conversations: Collection[str]) -> dict[str, str]:
    """Lock conversations; {id: the id that it has now}.

    One that was merged while this waited for its lock is missing at first: it is looked up again.
    """
    current = _locked(conversations)
    missing = set(conversations) - current.keys()
    return current | _locked(missing) if missing else current


def _locked(conversations: Collection[str]) -> dict[str, str]:
    return dict(fetch(LOCK_CONVERSATIONS, {'ids': list(conversations)}))


def recompute(conversations: Collection[str]) -> None:
    """Work out since when these, whose rows the caller holds, are opted out: also after a merge."""
    execute(RECOMPUTE_OPT_OUTS, (list(conversations),))


def from_keywords(messages: Iterable[InboundMessage]) -> list[Statement]:
    """The statements of customers whose message is just a STOP or START word; none of groups."""
    statements = []
    for message in messages:
        found = None if message.data.get('group_id') else _keyword(message)
        if found:
            whose, said = message.conversation_id, (('word', found.word),)
            statements.append(Statement(whose, found.choice, Source.KEYWORD, message.at, said))
    return statements


def is_stop(message: InboundMessage) -> bool:
    """Whether a message is nothing but a STOP word."""
    found = _keyword(message)
    return found is not None and found.choice == MarketingChoice.OPT_OUT


def _keyword(message: InboundMessage) -> KeywordMatch | None:
    account = message.account
    return match_keyword(message.data, account.opt_out_words, account.opt_in_words)


def from_refusals(refusals: Iterable[Refusal]) -> list[Statement]:
    """The statements that Meta makes for people, by refusing marketing to them."""
    return [
        Statement(
            one.conversation_id,
            MarketingChoice.OPT_OUT,
            Source.META,
            one.at,
            (('code', OPTED_OUT_CODE),),
        )
        for one in refusals
        if one.conversation_id and one.outcome.code == OPTED_OUT_CODE
    ]
