"""The roll-up by the hour and by the day: kept by the clock, read to the last message.

Whoever changes messages leaves behind what that adds (hourly_delta, by triggers in schema.sql), and
the clock adds it up. Messages from before these triggers count as they stand until the clock has
added them, too. Whoever reads takes all three together: nothing is missing and nothing counts
twice, also where no clock runs.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from service.accounts.account import OF_CHATBOTS
from service.runtime import deltas
from service.runtime.db import db, execute, fetch
from service.runtime.ids import FIRST_ID
from service.runtime.prepared import Prepared, fill
from service.runtime.rows import fetch_as
from service.runtime.session import LONG, long_time

By = Literal['hour', 'day']
TABLES: dict[By, str] = {'hour': 'hourly', 'day': 'daily'}
COUNTERS = ('received', 'outbound', 'accepted', 'sent', 'delivered', 'read', 'failed')
BUCKETS = 46  # of delays: delay_bucket() in schema.sql
ALL = ''  # the chatbot_id of the rows of all chatbots together
PORTION = 5000  # messages, or changes of them, that are added up in a transaction

COUNTS_OF_MESSAGE = """message_counts(m.direction, m.status, m.error, m.echo, m.created_at,
    m.send_at, m.accepted_at, m.reply_wanted_at) c"""
# A message of a time has an id of about that time. Delays are added up in their places of the
# arrays: with a row for each place, a hundred accounts take three times as long.
READ = """
WITH fresh AS MATERIALIZED (
  SELECT date_bin('1 {by}', at, '2000-01-01 00:00+00') AS at, {counters}, code, send_bucket,
    reply_bucket
  FROM hourly_delta WHERE {of_chatbots} AND at >= %(first)s AND at < %(last)s
  UNION ALL
  SELECT date_bin('1 {by}', c.at, '2000-01-01 00:00+00'), {counters_of_message}, c.code,
    c.send_bucket, c.reply_bucket
  FROM message m, {counts_of_message}
  WHERE {of_chatbots} AND m.id < (SELECT first_id FROM hourly_backfill)
    AND m.id >= least_event_id(%(first)s - interval '1 day')
    AND m.id < least_event_id(%(last)s + interval '1 day')
    AND m.created_at >= %(first)s AND m.created_at < %(last)s),
known AS NOT MATERIALIZED (
  SELECT * FROM {table}
  WHERE chatbot_id = ANY(%(known)s) AND at >= %(first)s AND at < %(last)s)
SELECT 'count' AS kind, at, NULL AS key, ARRAY[{sums}] AS counts
FROM (
  SELECT at, {counters} FROM known UNION ALL SELECT at, {counters} FROM fresh) AS counted
GROUP BY at
UNION ALL
SELECT 'failure', NULL, code, ARRAY[sum(count)]
FROM (
  SELECT code, count FROM {table}_failure
  WHERE chatbot_id = ANY(%(known)s) AND at >= %(first)s AND at < %(last)s
  UNION ALL SELECT code, failed FROM fresh WHERE code IS NOT NULL) AS failures
GROUP BY code HAVING sum(count) > 0
UNION ALL
SELECT kind, NULL, bucket::text, ARRAY[sum(count)::bigint]
FROM (
  SELECT kind, bucket, count
  FROM (SELECT ARRAY[{sums_of_send_times}], ARRAY[{sums_of_reply_times}] FROM known) AS k (s, r),
    LATERAL (VALUES ('send', s), ('reply', r)) AS v (kind, counts),
    unnest(counts) WITH ORDINALITY AS t (count, bucket)
  UNION ALL SELECT 'send', send_bucket, accepted FROM fresh WHERE send_bucket IS NOT NULL
  UNION ALL SELECT 'reply', reply_bucket, accepted FROM fresh WHERE reply_bucket IS NOT NULL
) AS delays
GROUP BY kind, bucket HAVING sum(count) > 0
"""
# Each portion is added to the rows of its chatbots and to those of all together.
FOLD = """
WITH taken AS MATERIALIZED ({take}),
{add_hours},
{add_days}
SELECT chatbot_id, count(*) FROM taken GROUP BY 1
"""
ADD = """
{table}_taken AS (
  SELECT chatbot_id, date_bin('1 {by}', at, '2000-01-01 00:00+00') AS at, {counters}, code,
    send_bucket, reply_bucket
  FROM taken),
{table}_counted AS (
  INSERT INTO {table} AS known (chatbot_id, at, {counters}, send_times, reply_times)
  SELECT coalesce(chatbot_id, ''), at, {sums}, {send_times}, {reply_times}
  FROM {table}_taken GROUP BY GROUPING SETS ((chatbot_id, at), (at)) ORDER BY 1, 2
  ON CONFLICT (chatbot_id, at) DO UPDATE SET {add_counters},
    send_times = add_counts(known.send_times, excluded.send_times),
    reply_times = add_counts(known.reply_times, excluded.reply_times)),
{table}_failures AS (
  INSERT INTO {table}_failure AS known (chatbot_id, at, code, count)
  SELECT coalesce(chatbot_id, ''), at, code, sum(failed)
  FROM {table}_taken WHERE code IS NOT NULL
  GROUP BY GROUPING SETS ((chatbot_id, at, code), (at, code)) ORDER BY 1, 2, 3
  ON CONFLICT (chatbot_id, at, code) DO UPDATE SET count = known.count + excluded.count)
"""
# Against count_messages() in schema.sql: nobody changes what is added just now.
TRY_BACKFILL = fill(
    """
SELECT first_id > '{first_id}' AND pg_try_advisory_xact_lock(hashtextextended('hourly_backfill', 0))
FROM hourly_backfill
""",
    first_id=FIRST_ID,
)
BACKFILL = fill(
    """
WITH portion AS MATERIALIZED (
  SELECT b.first_id AS before, coalesce((
    SELECT id FROM message WHERE id < b.first_id ORDER BY id DESC OFFSET %(limit)s LIMIT 1),
    '{first_id}') AS first_id
  FROM hourly_backfill b WHERE b.first_id > '{first_id}'),
added AS (
  INSERT INTO hourly_delta
  SELECT m.chatbot_id, c.at, {sums}, c.code, c.send_bucket, c.reply_bucket
  FROM portion p, message m, {counts_of_message}
  WHERE m.id >= p.first_id AND m.id < p.before
  GROUP BY m.chatbot_id, c.at, c.code, c.send_bucket, c.reply_bucket)
UPDATE hourly_backfill SET first_id = p.first_id FROM portion p
""",
    first_id=FIRST_ID,
    sums=', '.join(f'sum(c.{name})' for name in COUNTERS),
    counts_of_message=COUNTS_OF_MESSAGE,
)


@dataclass(slots=True)
class Sum:
    """One sum of a range.

    `kind`: `count` (`counts` as COUNTERS, of the hour or day `at`), `failure` (`key`: its code),
    `send` or `reply` (`key`: the bucket of its delay).
    """

    kind: Literal['count', 'failure', 'send', 'reply']
    at: datetime | None
    key: str
    counts: list[int]


def _times(bucket: str) -> str:
    """SQL: how many messages have taken how long, as an array; empty when none has."""
    counts = ', '.join(
        f'coalesce(sum(accepted) FILTER (WHERE {bucket} = {one}), 0)'
        for one in range(1, BUCKETS + 1)
    )
    return f"CASE WHEN count({bucket}) = 0 THEN '{{}}' ELSE ARRAY[{counts}]::integer[] END"


def _sums_of(array: str) -> str:
    """SQL: the sum of each place of an array; NULL where there was none."""
    return ', '.join(f'sum({array}[{place}])' for place in range(1, BUCKETS + 1))


def _filled(text: str, by: By) -> str:
    return fill(
        text,
        by=by,
        table=TABLES[by],
        counters=', '.join(COUNTERS),
        counters_of_message=', '.join(f'c.{name}' for name in COUNTERS),
        counts_of_message=COUNTS_OF_MESSAGE,
        sums=', '.join(f'sum({name})' for name in COUNTERS),
        add_counters=', '.join(f'{name} = known.{name} + excluded.{name}' for name in COUNTERS),
        send_times=_times('send_bucket'),
        reply_times=_times('reply_bucket'),
        sums_of_send_times=_sums_of('send_times'),
        sums_of_reply_times=_sums_of('reply_times'),
        of_chatbots=OF_CHATBOTS,
    )


def add_up(take: str) -> str:
    """SQL that adds the changes of messages which `take` returns to the sums."""
    return fill(FOLD, take=take, add_hours=_filled(ADD, 'hour'), add_days=_filled(ADD, 'day'))


READ_BY: dict[By, str] = {by: LONG + _filled(READ, by) for by in TABLES}
ADD_UP = Prepared(add_up(fill(deltas.TAKE, table='hourly_delta')))


def read(chatbots: list[str] | None, first: datetime, last: datetime, by: By) -> list[Sum]:
    """The sums from `first` on and before `last`, which are whole hours or days.

    `chatbots`: of these alone, None: of all.
    """
    known = [ALL] if chatbots is None else chatbots
    values = {'chatbots': chatbots, 'known': known, 'first': first, 'last': last}
    with long_time():
        return fetch_as(Sum, READ_BY[by], values)


def fold() -> int:
    """Add up what messages have left behind, some of it; returns how many rows that were."""
    return deltas.fold('hourly_delta', ADD_UP, PORTION).total()


def backfill() -> bool:
    """Add some of the messages from before the triggers; whether there were any."""
    with db.atomic():
        return bool(fetch(TRY_BACKFILL)[0][0]) and execute(BACKFILL, {'limit': PORTION}) > 0
