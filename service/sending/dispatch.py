"""Dispatch: messages are claimed by send workers and settled by what Meta said.

Each move is one guarded statement.
"""

import logging

from peewee import DataError, IntegrityError

from service.accounts.account import MAY_SEND
from service.conversations import opt_out, service_window
from service.graph import outage
from service.graph.outcome import LOST, OutcomeKind
from service.messages.state_machine import HoldReason, Status
from service.runtime.config import settings
from service.runtime.db import columns, db, execute, fetch, fetch_dicts, to_json
from service.runtime.queues import retry_delay
from service.runtime.timestamps import to_rfc3339

log = logging.getLogger(__name__)
PAIR_GAP, PAIR_BURST = (
    6,
    45,
)  # one message per 6 s to one person, 45 of them borrowed from the future (section 8)
MOST_TRIES = 100  # that are kept of a message: its first and its latest ones
PAIR_DEBT_SECONDS = PAIR_GAP * (PAIR_BURST - 1)  # seconds that a pair may be in debt

# The doubled condition names the index.
NEXT_DUE = """
SELECT min(due_at) FROM message
WHERE status IN ('scheduled', 'queued', 'sending', 'unknown') AND status IN ('scheduled', 'queued')
"""
SENDABLE = f"""
SELECT a.chatbot_id, a.phone_number_id, a.access_token, a.max_mps, a.waba_id, a.app_secret IS NOT NULL AS own_app,
  away.scope AS away
FROM whatsapp_cloud_account a CROSS JOIN LATERAL (
  SELECT 1 FROM message m WHERE m.chatbot_id = a.chatbot_id AND m.status = 'queued' AND m.due_at <= now()
  ORDER BY m.priority, m.id LIMIT 1) due  -- the order names the index: without it the planner may scan the table
  LEFT JOIN LATERAL ({outage.AWAY}) away ON true
WHERE {MAY_SEND} AND (away.scope IS NULL OR away.probe_at <= now())
"""
DUE = "m.status = 'queued' AND m.due_at <= now() AND (m.expires_at IS NULL OR m.expires_at > now())"
# One message at a time and conversation, in order: `send_after` stands in the conversation's row,
# so that a second worker sees it. The conversation is locked first (`open`), and only then its
# first message: a worker that held a message without its conversation would let another one take
# the next. One whose first message is in somebody's hands, or has moved on since the statement
# began, waits for the next claim. Accounts come in with how many each may send now: the fair share.
# Whose window has closed meanwhile gets the fallback (`late`). Marketing to who wants none is not
# sent but taken back.
CLAIM = f"""
WITH quota AS (SELECT * FROM unnest(%(chatbots)s::text[], %(counts)s::int[]) AS q (chatbot_id, n)),
open AS MATERIALIZED (
  SELECT o.* FROM quota CROSS JOIN LATERAL (
    SELECT m.id AS message_id, m.priority, c.id, c.group_id, c.last_inbound_at, c.opted_out_at
    FROM message m JOIN conversation c ON c.id = m.conversation_id
    WHERE m.chatbot_id = quota.chatbot_id AND {DUE} AND (c.send_after IS NULL OR c.send_after <= now())
      AND (%(only)s::uuid IS NULL OR m.id = %(only)s)
    ORDER BY m.priority, m.id LIMIT quota.n FOR NO KEY UPDATE OF c SKIP LOCKED) o),
head AS (SELECT DISTINCT ON (id) * FROM open ORDER BY id, priority, message_id),
first AS MATERIALIZED (
  SELECT f.* FROM head c CROSS JOIN LATERAL (  -- by its key: a plain join may read all that is due
    SELECT m.id, m.conversation_id, m.fallback IS NOT NULL AND {service_window.CLOSED} AS late,
      {opt_out.UNWANTED} AND (m.type = 'template' OR m.fallback IS NOT NULL AND {service_window.CLOSED}) AS unwanted
    FROM message m WHERE m.id = c.message_id AND m.conversation_id = c.id AND {DUE}
    FOR NO KEY UPDATE SKIP LOCKED) f),
busy AS (
  UPDATE conversation c SET send_after = now() + %(lease)s * interval '1 second',
    pair_free_at = CASE WHEN c.group_id IS NULL THEN greatest(c.pair_free_at, now()) + interval '{PAIR_GAP} s' END
  WHERE c.id = ANY (ARRAY(SELECT conversation_id FROM first WHERE NOT unwanted)))
UPDATE message m SET status = CASE WHEN unwanted THEN 'cancelled' ELSE 'sending' END,
  attempts = CASE WHEN unwanted THEN attempts WHEN late THEN 1 ELSE least(attempts + 1, 32767) END,
  error = CASE WHEN unwanted THEN %(taken_back)s::json ELSE error END, updated_at = now(),
  due_at = CASE WHEN NOT unwanted THEN now() + %(lease)s * interval '1 second' END,
  {service_window.use_fallback('first.late')}
FROM first WHERE m.id = first.id
RETURNING m.id, m.chatbot_id, m.conversation_id, m.phone_number_id, m.type, m.recipient_to, m.recipient, m.content,
  m.context, m.extra, m.attempts, m.expires_at, m.batch_id, m.fallback IS NOT NULL AS has_fallback,
  m.status
"""


def sendable_accounts():
    """Accounts that may send and have something due, as dicts.

    `away`: the scope of an outage whose probe is due.
    """
    return fetch_dicts(SENDABLE)


def claim(quota, lease):
    """Take due messages, {chatbot_id: at most}, for `lease` seconds; the attempt is committed
    before any call.

    Should a row be such that PostgreSQL cannot claim it, the others' accounts go on without its
    own.
    """
    try:
        return _claim(quota, lease)
    except (DataError, IntegrityError) as error:
        if len(quota) == 1:
            log.error(
                'an account cannot be claimed',
                exc_info=error,
                extra={'chatbot_id': next(iter(quota))},
            )
            return []
        return [
            row for chatbot_id, count in quota.items() for row in claim({chatbot_id: count}, lease)
        ]


def _claim(quota, lease, only=None):
    wanted = {'chatbots': list(quota), 'counts': list(quota.values()), 'lease': lease, 'only': only}
    rows = fetch_dicts(CLAIM, wanted | {'taken_back': to_json(opt_out.OPTED_OUT_ERROR)})
    return [row for row in rows if row['status'] == 'sending']


# Of the first message of each conversation the one that was tried least recently, so that none
# stands in the way of all others; if possible none that is not sent again should its answer be lost
# once more.
PROBE = """
SELECT m.chatbot_id, m.id FROM (
  SELECT DISTINCT ON (conversation_id) * FROM message
  WHERE chatbot_id = ANY(%s) AND status = 'queued' AND due_at <= now() AND (expires_at IS NULL OR expires_at > now())
  ORDER BY conversation_id, priority, id) m
JOIN conversation c ON c.id = m.conversation_id
WHERE c.send_after IS NULL OR c.send_after <= now()
ORDER BY m.resends > 0, m.tries -> -1 ->> 'at' NULLS FIRST, m.priority, m.id LIMIT 1
"""


def probe(scope, chatbots, lease):
    """Claim the one message that may try whether Meta is back, if a probe is due; [] or [row].

    `ask_first`: its answer may be lost like those before it, so something harmless should try
    first.
    """
    with db.atomic():
        error = outage.due_probe(scope)
        if error is None:
            return []
        found = fetch(PROBE, (chatbots,))
        rows = _claim({found[0][0]: 1}, lease, found[0][1]) if found else []
        outage.probed(scope, bool(rows))
    return [row | {'ask_first': error.get('cause') in LOST} for row in rows]


# As if it had not been claimed. The conversation first, and only while the message is still ours.
RELEASE_UNSENT = f"""
UPDATE conversation c SET send_after = now() + n.delay * interval '1 second',
  pair_free_at = c.pair_free_at - interval '{PAIR_GAP} s'
FROM (
  SELECT c.id, n.delay
  FROM unnest(%s::uuid[], %s::int[], %s::float8[]) AS n (id, attempts, delay)
    JOIN message m ON m.id = n.id AND m.status = 'sending' AND m.attempts = n.attempts
    JOIN conversation c ON c.id = m.conversation_id
  ORDER BY c.id FOR NO KEY UPDATE OF c) n
WHERE c.id = n.id
"""
REQUEUE_MESSAGES = """
UPDATE message m SET status = 'queued', attempts = m.attempts - 1, due_at = now() + n.delay * interval '1 second',
  updated_at = now()
FROM unnest(%s::uuid[], %s::int[], %s::float8[]) AS n (id, attempts, delay)
WHERE m.id = n.id AND m.status = 'sending' AND m.attempts = n.attempts
"""
# Until when the conversation waits: for the message that is tried again, or until the pair's burst
# allows one more.
RELEASE = f"""
UPDATE conversation c SET send_after = greatest(now() + n.delay * interval '1 second',
  CASE WHEN c.pair_free_at > now() + interval '{PAIR_DEBT_SECONDS} s' THEN c.pair_free_at - interval '{PAIR_DEBT_SECONDS} s' END)
FROM (
  SELECT c.id, n.delay FROM unnest(%s::uuid[], %s::float8[]) AS n (id, delay)
    LEFT JOIN conversation_merged m ON m.id = n.id JOIN conversation c ON c.id = coalesce(m.conversation_id, n.id)
  ORDER BY c.id FOR NO KEY UPDATE OF c) n
WHERE c.id = n.id
"""
ACCEPT = """
WITH accepted AS (
UPDATE message m SET wamid = coalesce(m.wamid, n.wamid), answer_wa_id = n.wa_id, due_at = NULL, updated_at = now(),
  error = CASE m.status WHEN 'failed' THEN m.error END, -- a status was faster than this answer
  accepted_at = coalesce(accepted_at, n.at), hold_reason = NULL,
  status = CASE WHEN m.status IN ('queued', 'sending', 'unknown', 'held') THEN 'accepted' ELSE m.status END
FROM unnest(%s::uuid[], %s::text[], %s::text[], %s::timestamptz[]) AS n (id, wamid, wa_id, at)
WHERE m.id = n.id AND NOT m.tries @> jsonb_build_array(jsonb_build_object('wamid', n.wamid)) -- it has failed by now
RETURNING m.id, m.chatbot_id, m.direction, m.type)
INSERT INTO usage_log (message_id, chatbot_id, direction, type)
SELECT * FROM accepted ON CONFLICT (message_id) DO NOTHING
"""
SETTLE = f"""
UPDATE message m SET status = n.status, hold_reason = n.hold_reason, error = n.error,
  tries = CASE WHEN jsonb_array_length(m.tries) < {MOST_TRIES} THEN m.tries ELSE m.tries - {MOST_TRIES // 2} END
    || n.try,
  due_at = now() + n.delay * interval '1 second', updated_at = now(),
  attempts = CASE WHEN n.late THEN 0 WHEN n.uncounted THEN m.attempts - 1 ELSE m.attempts END,
  {service_window.use_fallback('n.late')}
FROM unnest(%s::uuid[], %s::int[], %s::text[], %s::text[], %s::float8[], %s::json[], %s::jsonb[], %s::boolean[],
  %s::boolean[]) AS n (id, attempts, status, hold_reason, delay, error, try, late, uncounted)
WHERE m.id = n.id AND m.status = 'sending' AND m.attempts = n.attempts
"""


def release_claims(rows, delay=0):
    """Claimed rows whose call was never begun, to be claimed again in `delay` seconds: as if they
    had not been.
    """
    given = columns(
        [(row['id'], row['attempts'], delay) for row in sorted(rows, key=lambda row: row['id'])]
    )
    if given:
        with db.atomic():
            execute(RELEASE_UNSENT, given)
            execute(REQUEUE_MESSAGES, given)


def record(results):
    """Write what became of claimed messages, in one transaction.

    `results`: [(claimed row, graph.Outcome, time)].

    Returns the outage.News; in the caller's transaction, if there is one, which is to begin with
    this.
    """
    results = sorted(results, key=lambda result: result[0]['id'])
    accepted = [result for result in results if result[1].kind == OutcomeKind.ACCEPTED]
    with db.atomic():
        news = outage.note(results)
        others = [
            _step(*result, news) for result in results if result[1].kind != OutcomeKind.ACCEPTED
        ]
        _free_conversations(accepted, others)
        if accepted:
            execute(
                ACCEPT,
                columns([(row['id'], out.wamid, out.wa_id, at) for row, out, at in accepted]),
            )
        if others:
            execute(SETTLE, columns([_settled(*other) for other in others]))
    return news


def _step(row, outcome, at, news):
    """(row, outcome, at, its next step, whether it suffered from an outage)"""
    suffered = outcome.tells_of_meta is False and news.is_away(row['phone_number_id'])
    return row, outcome, at, next_step(row, outcome, suffered), suffered


def next_step(row, outcome, is_away=False):
    """(status, hold_reason, seconds until somebody looks again) after what Meta did not accept.

    `row`: attempts, batch_id and has_fallback of the message; `outcome`: kind, delay, scope and
    error. `is_away`: Meta is, and no number of attempts is too many.
    """
    if service_window.wants_fallback(row['has_fallback'], outcome.error):
        return Status.QUEUED, None, 0
    if outcome.kind == OutcomeKind.RETRY and is_away:
        return Status.QUEUED, None, outcome.delay or 0
    if outcome.kind == OutcomeKind.RETRY:
        delay = retry_delay(row['attempts'])
        return (
            (Status.FAILED, None, None)
            if delay is None
            else (Status.QUEUED, None, max(outcome.delay or 0, delay))
        )
    if outcome.kind == OutcomeKind.UNKNOWN:
        return Status.UNKNOWN, None, settings.UNKNOWN_GRACE_SECONDS
    if outcome.kind == OutcomeKind.HELD:
        return Status.HELD, _hold_reason(row, outcome), None
    return Status(outcome.kind), None, None


def _hold_reason(row, outcome):
    if row['batch_id'] and outcome.scope in ('bulk', 'template'):
        return HoldReason.BATCH
    return HoldReason.TEMPLATE if outcome.scope == 'template' else HoldReason.ACCOUNT


def _free_conversations(accepted, others):
    """Let the next message of each go; behind one that is tried again at once the others wait, in
    order.

    So they do in an outage behind one of which nobody knows: the others will all be sent after it.
    """
    delays = {row['conversation_id']: None for row, _, _ in accepted}
    for row, outcome, _, (status, _, delay), suffered in others:
        delays[row['conversation_id']] = (
            delay if status == 'queued' and outcome.blocks_conversation else None
        )
        if status == 'unknown' and suffered:
            delays[row['conversation_id']] = outage.wait_behind(delay)
    given = list(delays), list(delays.values())
    if execute(RELEASE, given) < len(
        delays
    ):  # one was merged while we waited for it: it has another id by now
        execute(RELEASE, given)


def _settled(row, outcome, at, step, suffered):
    one, late = (
        to_json(attempt(row, outcome, at)),
        service_window.wants_fallback(row['has_fallback'], outcome.error),
    )
    uncounted = suffered and outcome.kind == OutcomeKind.RETRY
    return row['id'], row['attempts'], *step, to_json(outcome.error), one, late, uncounted


def attempt(row, outcome, at):
    """An entry of the message's `tries`."""
    error = outcome.error or {}
    return {
        'attempt': row['attempts'],
        'at': at and to_rfc3339(at),
        'outcome': outcome.kind,
        'code': error.get('code'),
        'title': error.get('title'),
    }
