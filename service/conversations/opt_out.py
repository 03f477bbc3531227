"""Who wants no marketing: what people said of it is kept in contact_event, and the latest of it, by
Meta's time, holds.

A conversation's opted_out_at and opted_out_by are worked out of that, so nothing depends on the
order of arrival.
"""

from dataclasses import dataclass, replace
from datetime import UTC, datetime

from service.conversations.opt_out_keywords import wish
from service.runtime.db import columns, execute, fetch, to_json
from service.runtime.ids import new_id

REFUSED = 131050  # Meta's code for marketing to somebody who wants none
CAUSE = 'opted_out'
TAKEN_BACK = {
    'code': None,
    'title': 'The person wants no marketing',
    'details': None,
    'fbtrace_id': None,
    'cause': CAUSE,
}
# In SQL, of a message `m` that is a template, or becomes one, and its conversation `c`.
UNWANTED = 'm.marketing AND c.opted_out_at IS NOT NULL'

HOLD = """
SELECT n.id, c.id FROM unnest(%s::uuid[]) AS n (id) LEFT JOIN conversation_merged m ON m.id = n.id
  JOIN conversation c ON c.id = coalesce(m.conversation_id, n.id)
ORDER BY c.id FOR NO KEY UPDATE OF c
"""
# A statement that comes again, with the same time, is the one that is there.
SAID = """
INSERT INTO contact_event (id, conversation_id, kind, detail, at)
SELECT n.* FROM unnest(%s::uuid[], %s::uuid[], %s::text[], %s::json[], %s::timestamptz[])
  AS n (id, conversation_id, kind, detail, at)
WHERE NOT EXISTS (
  SELECT 1 FROM contact_event e WHERE e.conversation_id = n.conversation_id AND e.kind = n.kind AND e.at = n.at)
"""
# Since when: the first STOP after the last START. In doubt it is a STOP: Meta's time says the
# second, ours more.
WORK_OUT = """
UPDATE conversation c SET updated_at = now(), (opted_out_at, opted_out_by) = (
  SELECT e.at, e.detail ->> 'by' FROM contact_event e
  WHERE e.conversation_id = c.id AND e.kind = 'opt_out' AND e.at >= coalesce(
    (SELECT CASE e.detail ->> 'by' WHEN 'api' THEN max(i.at) ELSE date_trunc('second', max(i.at)) END
     FROM contact_event i WHERE i.conversation_id = c.id AND i.kind = 'opt_in'), '-infinity')
  ORDER BY e.at, e.id LIMIT 1)
WHERE c.id = ANY(%s::uuid[]) AND c.group_id IS NULL
  AND EXISTS (SELECT 1 FROM contact_event e WHERE e.conversation_id = c.id AND e.kind IN ('opt_out', 'opt_in'))
"""


@dataclass(frozen=True, slots=True)
class Statement:
    """That a person wants no marketing (`opt_out`), or wants it (`opt_in`).

    `by`: see conversation.opted_out_by.
    """

    conversation_id: str
    kind: str
    by: str
    at: datetime | None
    detail: tuple = ()  # (name, value) of what else is worth knowing

    def row(self, now):
        detail = to_json({'by': self.by, **dict(self.detail)})
        return new_id(), self.conversation_id, self.kind, detail, min(self.at or now, now)


def record(statements):
    """Keep what people said, in the caller's transaction.

    Returns their conversations: take back what waits for who wants none
    (sending/holds.cancel_unwanted).
    """
    if not statements:
        return []
    current = _hold({one.conversation_id for one in statements})
    statements = [replace(one, conversation_id=current[one.conversation_id]) for one in statements]
    said = {(one.conversation_id, one.kind, one.at): one for one in reversed(statements)}.values()
    now = datetime.now(UTC)
    execute(SAID, columns([one.row(now) for one in said]))
    conversations = sorted(set(current.values()))
    work_out(conversations)
    return conversations


def _hold(conversations):
    """Lock them; {id: the id that it has now}.

    One that was merged while we waited for it is found by a second look.
    """
    current = dict(fetch(HOLD, (list(conversations),)))
    missing = conversations - current.keys()
    return current | dict(fetch(HOLD, (list(missing),))) if missing else current


def work_out(conversations):
    """Bring these, whose rows the caller holds, in step with what was said of them: also after a
    merge.
    """
    execute(WORK_OUT, (conversations,))


def in_words(messages):
    """The Statements of customers who wrote just a STOP or START word.

    `messages`: a webhook's items of that kind.
    """
    return [
        Statement(item.conversation_id, kind, 'keyword', item.at, (('word', word),))
        for item in messages
        if not item.data.get('group_id')
        for kind, word in filter(None, [_wish(item)])
    ]


def is_stop(item):
    """Whether a message is nothing but a STOP word."""
    said = _wish(item)
    return said is not None and said[0] == 'opt_out'


def _wish(item):
    return wish(item.data, item.account.opt_out_words, item.account.opt_in_words)


def in_refusals(refusals):
    """The Statements that Meta makes for people, by refusing marketing to them
    (escalation.SendFailure).
    """
    return [
        Statement(one.conversation_id, 'opt_out', 'meta', one.at, (('code', REFUSED),))
        for one in refusals
        if one.outcome.error and one.outcome.error.get('code') == REFUSED and one.conversation_id
    ]
