"""The clock's part of the sums: what waits in usage_delta becomes usage_day.

Both are read together (usage.py), so nobody has to wait for this.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from peewee import OperationalError

from service.content.calling_codes import country_of
from service.runtime import deltas
from service.runtime.db import LOCK_NOT_AVAILABLE, db, execute, fetch, sqlstate
from service.runtime.prepared import Prepared, fill
from service.runtime.rows import Uuid, execute_bulk

PORTION = 10_000  # deltas
OLD_PORTION = 2000  # messages of before version 13
PORTIONS = 10  # of these, in one go
FOLD_DELTAS = Prepared(
    """
WITH taken AS ({take}),
folded AS (
  INSERT INTO usage_day AS d
    (chatbot_id, day, direction, category, country, pricing_type, count, delivered)
  SELECT chatbot_id, day, direction, category, country, pricing_type, sum(count), sum(delivered)
  FROM taken GROUP BY 1, 2, 3, 4, 5, 6
  ON CONFLICT (chatbot_id, day, direction, category, country, pricing_type)
    DO UPDATE SET count = d.count + excluded.count, delivered = d.delivered + excluded.delivered),
tokens AS (
  INSERT INTO usage_tokens_day AS d (chatbot_id, day, model, prompt_tokens, completion_tokens)
  SELECT chatbot_id, day, model, sum(prompt_tokens), sum(completion_tokens) FROM taken
  WHERE prompt_tokens IS NOT NULL OR completion_tokens IS NOT NULL GROUP BY 1, 2, 3
  ON CONFLICT (chatbot_id, day, model) DO UPDATE SET
    prompt_tokens = coalesce(d.prompt_tokens + excluded.prompt_tokens, d.prompt_tokens,
      excluded.prompt_tokens),
    completion_tokens = coalesce(d.completion_tokens + excluded.completion_tokens,
      d.completion_tokens, excluded.completion_tokens))
SELECT chatbot_id, count(*) FROM taken GROUP BY 1
""",
    take=fill(deltas.TAKE, table='usage_delta'),
)


def fold() -> set[str]:
    """Move what waits into the sums of its days; returns whose it was."""
    return {*deltas.fold('usage_delta', FOLD_DELTAS, PORTION)}


@dataclass(slots=True)
class OldMessage:
    """A message that no trigger has counted: its country, and whether it was delivered."""

    id: Uuid
    country: str | None
    delivered: bool


# A transaction that began before may still write messages of that time.
FIND_BACKLOG = """
SELECT chatbot_id, counted_until, least(since, (
  SELECT u.at FROM usage_log u
  WHERE u.chatbot_id = b.chatbot_id AND u.at > b.counted_until AND u.at < b.since
  ORDER BY u.at OFFSET %(portion)s LIMIT 1)) AS until
FROM usage_backlog b WHERE since < now() - %(minutes)s * interval '1 minute'
ORDER BY chatbot_id LIMIT 1 FOR UPDATE
"""
SETTLED_MINUTES = 10  # no transaction takes so long
OLD_MESSAGES = """
SELECT m.id, CASE m.direction WHEN 'inbound' THEN text_in(m.sender, 'from')
    ELSE coalesce(m.answer_wa_id, m.recipient_to) END,
  text_in(m.extra, 'recipient_type') IS NOT DISTINCT FROM 'group',
  u.delivered OR m.direction = 'outbound' AND m.status IN ('delivered', 'read', 'played')
FROM usage_log u JOIN message m ON m.id = u.message_id
"""
# Whoever changes one of them just now is not waited for: this is tried again.
FIND_OLD_MESSAGES = fill(
    """
{old_messages}
WHERE u.chatbot_id = %(chatbot_id)s AND u.at >= %(counted_until)s::timestamptz
  AND u.at < %(until)s::timestamptz
ORDER BY m.id FOR NO KEY UPDATE OF u NOWAIT
""",
    old_messages=OLD_MESSAGES,
)
FIND_SOME_OLD_MESSAGES = fill(
    """
{old_messages}
WHERE EXISTS (SELECT FROM usage_backlog) AND u.message_id = ANY(%(ids)s::uuid[]) AND EXISTS (
  SELECT FROM usage_backlog b
  WHERE b.chatbot_id = u.chatbot_id AND u.at >= b.counted_until AND u.at < b.since)
ORDER BY m.id FOR NO KEY UPDATE OF u
""",
    old_messages=OLD_MESSAGES,
)
COMPLETE_OLD_MESSAGES = """
UPDATE usage_log u SET country = coalesce(u.country, n.country), delivered = n.delivered
FROM {rows} WHERE u.message_id = n.id
"""
COUNT_OLD_MESSAGES = """
INSERT INTO usage_delta
SELECT chatbot_id, (at AT TIME ZONE 'UTC')::date, direction, coalesce(category, ''),
  coalesce(country, ''), pricing_type(pricing), coalesce(model, ''), count(*),
  count(*) FILTER (WHERE delivered), sum(prompt_tokens), sum(completion_tokens)
FROM usage_log
WHERE chatbot_id = %(chatbot_id)s AND at >= %(counted_until)s::timestamptz
  AND at < %(until)s::timestamptz
GROUP BY 1, 2, 3, 4, 5, 6, 7
"""
MOVE_BACKLOG = """
UPDATE usage_backlog SET counted_until = %(until)s WHERE chatbot_id = %(chatbot_id)s
"""
END_BACKLOG = 'DELETE FROM usage_backlog WHERE counted_until >= since'


def count_old() -> int:
    """Count messages of before version 13, some portions of them; returns how many."""
    count = 0
    for _ in range(PORTIONS):
        counted = _count_old_portion()
        if counted is None:
            break
        count += counted
    return count


def _count_old_portion() -> int | None:
    """None when there is nothing to do now."""
    try:
        with db.atomic():
            if not deltas.is_mine('usage_backlog'):
                return None
            limits = {'portion': OLD_PORTION, 'minutes': SETTLED_MINUTES}
            found = fetch(FIND_BACKLOG, limits)
            if not found:
                return None
            return _count_between(*found[0])
    except OperationalError as error:
        if sqlstate(error) != LOCK_NOT_AVAILABLE:
            raise
        return None


def _count_between(chatbot_id: str, counted_until: datetime, until: datetime) -> int:
    values: dict[str, object] = {
        'chatbot_id': chatbot_id,
        'counted_until': counted_until,
        'until': until,
    }
    count = _complete(FIND_OLD_MESSAGES, values)
    execute(COUNT_OLD_MESSAGES, values)
    execute(MOVE_BACKLOG, values)
    execute(END_BACKLOG)
    return count


def complete(message_ids: Sequence[str]) -> None:
    """Note country and delivery of messages that are about to be deleted or emptied.

    Of those of before version 13 that are not counted yet; in the caller's transaction, which has
    locked them.
    """
    _complete(FIND_SOME_OLD_MESSAGES, {'ids': list(message_ids)})


def _complete(statement: str, values: dict[str, object]) -> int:
    old = [
        OldMessage(id_, None if is_group else country_of(phone), delivered)
        for id_, phone, is_group, delivered in fetch(statement, values)
    ]
    execute_bulk(COMPLETE_OLD_MESSAGES, old)
    return len(old)
