"""The outbox: messages are queued, claimed by send workers and settled. Each move is one guarded statement."""

import json
import time

from service.config import settings
from service.db import columns, db, execute, fetch, fetch_dicts, new_id, to_json
from service.message import Message
from service.queues import retry_delay

REPLY, SINGLE, BULK = 0, 1, 2  # priorities: who goes first when the rate is short
AMPLE = 5000  # messages; more than the web processes take in for one chatbot in a second
EXTRA = ('recipient_type', 'recipient_identity_key_hash', 'messaging_account_id')  # handed on as they are (section 6.1)

INSERT = """
INSERT INTO message (id, chatbot_id, conversation_id, direction, phone_number_id, type, status, recipient_to, recipient,
  content, context, extra, client_reference, priority, due_at)
VALUES (%s, %s, %s, 'outbound', %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, CASE WHEN %s THEN now() END)
RETURNING *
"""


def queue(account, conversation_id, message, priority, client_reference=None):
    """Store a validated message (service.payloads) and return its Message. Wake the send queue after the commit."""
    kind = message.get('type') or 'text'
    free = account.active and account.send_state == 'ok'
    extra = {name: message[name] for name in EXTRA if name in message}
    values = (
        new_id(), account.chatbot_id, conversation_id, account.phone_number_id, kind, 'queued' if free else 'held',
        message.get('to'), message.get('recipient'), json.dumps(message[kind]), to_json(message.get('context')),
        to_json(extra or None), client_reference, priority, free,
    )  # fmt: skip
    return Message(**fetch_dicts(INSERT, values)[0])


COUNT_WAITING = """
SELECT count(*) FROM (
  SELECT 1 FROM message WHERE chatbot_id = %s AND status = 'queued' UNION ALL
  SELECT 1 FROM message WHERE chatbot_id = %s AND status = 'held' LIMIT %s) waiting
"""
_waiting = {}  # chatbot_id: (monotonic time, how many waited)


def is_full(chatbot_id):
    """Whether MAX_QUEUED messages of a chatbot wait; counted anew unless there was ample room within a second."""
    at, waiting = _waiting.get(chatbot_id, (0, 0))
    if time.monotonic() - at > 1 or waiting + AMPLE > settings.MAX_QUEUED:
        waiting = fetch(COUNT_WAITING, (chatbot_id, chatbot_id, settings.MAX_QUEUED))[0][0]
        _waiting[chatbot_id] = (time.monotonic(), waiting)
    return waiting >= settings.MAX_QUEUED


SENDABLE = """
SELECT a.chatbot_id, a.phone_number_id, a.access_token, a.max_mps FROM whatsapp_cloud_account a
WHERE a.active AND a.send_state = 'ok' AND EXISTS (
  SELECT 1 FROM message m WHERE m.chatbot_id = a.chatbot_id AND m.status = 'queued' AND m.due_at <= now())
"""
# One message at a time and conversation, in order: `send_after` stands in the conversation's row, so that a second
# worker that waited for the row's lock sees it. Accounts come in with how many each may send now: the fair share.
CLAIM = """
WITH quota AS (SELECT * FROM unnest(%(chatbots)s::text[], %(counts)s::int[]) AS q (chatbot_id, n)),
due AS MATERIALIZED (
  SELECT m.* FROM quota CROSS JOIN LATERAL (
    SELECT m.id, m.conversation_id, m.priority FROM message m JOIN conversation c ON c.id = m.conversation_id
    WHERE m.chatbot_id = quota.chatbot_id AND m.status = 'queued' AND m.due_at <= now()
      AND (c.send_after IS NULL OR c.send_after <= now())
    ORDER BY m.priority, m.id LIMIT quota.n FOR NO KEY UPDATE OF m, c SKIP LOCKED) m),
first AS (SELECT DISTINCT ON (conversation_id) id, conversation_id FROM due ORDER BY conversation_id, priority, id),
busy AS (
  UPDATE conversation c SET send_after = now() + %(lease)s * interval '1 second'
  FROM first WHERE c.id = first.conversation_id)
UPDATE message m SET status = 'sending', attempts = attempts + 1, updated_at = now(),
  due_at = now() + %(lease)s * interval '1 second'
FROM first WHERE m.id = first.id
RETURNING m.id, m.chatbot_id, m.conversation_id, m.phone_number_id, m.type, m.recipient_to, m.recipient, m.content,
  m.context, m.extra, m.attempts
"""


def sendable_accounts():
    """Accounts that may send and have something due: (chatbot_id, phone_number_id, access_token, max_mps)."""
    return fetch(SENDABLE)


def claim(quota, lease):
    """Take due messages, {chatbot_id: at most}, for `lease` seconds; the attempt is committed before any call."""
    return fetch_dicts(CLAIM, {'chatbots': list(quota), 'counts': list(quota.values()), 'lease': lease})


GIVE_BACK = """
UPDATE message m SET status = 'queued', attempts = m.attempts - 1, due_at = now(), updated_at = now()
FROM unnest(%s::uuid[], %s::int[]) AS n (id, attempts)
WHERE m.id = n.id AND m.status = 'sending' AND m.attempts = n.attempts
"""
RELEASE = """
UPDATE conversation c SET send_after = now() + n.delay * interval '1 second'
FROM (
  SELECT c.id, n.delay FROM conversation c JOIN unnest(%s::uuid[], %s::float8[]) AS n (id, delay) USING (id)
  ORDER BY c.id FOR NO KEY UPDATE OF c) n
WHERE c.id = n.id
"""
ACCEPT = """
WITH accepted AS (
UPDATE message m SET wamid = coalesce(m.wamid, n.wamid), answer_wa_id = n.wa_id, due_at = NULL, updated_at = now(),
  error = CASE m.status WHEN 'failed' THEN m.error END, -- a status was faster than this answer
  accepted_at = coalesce(accepted_at, n.at),
  status = CASE WHEN m.status IN ('queued', 'sending', 'unknown', 'held') THEN 'accepted' ELSE m.status END
FROM unnest(%s::uuid[], %s::text[], %s::text[], %s::timestamptz[]) AS n (id, wamid, wa_id, at) WHERE m.id = n.id
RETURNING m.id, m.chatbot_id, m.direction, m.type)
INSERT INTO usage_log (message_id, chatbot_id, direction, type)
SELECT * FROM accepted ON CONFLICT (message_id) DO NOTHING
"""
SETTLE = """
UPDATE message m SET status = n.status, error = n.error, updated_at = now(),
  due_at = now() + n.delay * interval '1 second'
FROM unnest(%s::uuid[], %s::text[], %s::json[], %s::float8[], %s::int[]) AS n (id, status, error, delay, attempts)
WHERE m.id = n.id AND m.status = 'sending' AND m.attempts = n.attempts
"""


def give_back(rows):
    """Claimed rows whose call was never begun: as if they had not been claimed."""
    rows = sorted(rows, key=lambda row: row['id'])
    with db.atomic():
        execute(RELEASE, ([row['conversation_id'] for row in rows], [None] * len(rows)))
        execute(GIVE_BACK, ([row['id'] for row in rows], [row['attempts'] for row in rows]))


def record(results):
    """Write what became of claimed messages, in one transaction. `results`: [(claimed row, graph.Outcome, time)]."""
    accepted = [(row, outcome, at) for row, outcome, at in results if outcome.kind == 'accepted']
    others = [(row, outcome, *_next_step(row, outcome)) for row, outcome, _ in results if outcome.kind != 'accepted']
    with db.atomic():
        _free_conversations(accepted, others)
        if accepted:
            _accept(accepted)
        if others:
            _settle(others)


def _next_step(row, outcome):
    """(status, seconds until somebody looks again) after a call that Meta did not accept."""
    if outcome.kind == 'retry':
        delay = retry_delay(row['attempts'])
        return ('failed', None) if delay is None else ('queued', max(outcome.delay or 0, delay))
    if outcome.kind == 'unknown':
        return 'unknown', settings.UNKNOWN_GRACE_SECONDS
    return outcome.kind, None


def _free_conversations(accepted, others):
    """Let the next message of each go; behind one that is tried again the others wait, in order."""
    delays = {row['conversation_id']: None for row, _, _ in accepted}
    delays |= {row['conversation_id']: delay if status == 'queued' else None for row, _, status, delay in others}
    execute(RELEASE, (list(delays), list(delays.values())))


def _accept(accepted):
    accepted.sort(key=lambda one: one[0]['id'])
    execute(ACCEPT, columns([(row['id'], outcome.wamid, outcome.wa_id, at) for row, outcome, at in accepted]))


def _settle(others):
    others.sort(key=lambda one: one[0]['id'])
    rows = [(row['id'], state, to_json(outcome.error), delay, row['attempts']) for row, outcome, state, delay in others]
    execute(SETTLE, columns(rows))


EXPIRE = """
UPDATE message SET status = 'unknown', error = %s, due_at = now() + %s * interval '1 second', updated_at = now()
WHERE id IN (
  SELECT id FROM message WHERE status = 'sending' AND due_at <= now() ORDER BY id LIMIT 1000
  FOR NO KEY UPDATE SKIP LOCKED)
"""
DECIDE = """
UPDATE message m SET updated_at = now(),
  status = CASE WHEN d.resend THEN 'queued' ELSE 'failed' END,
  due_at = CASE WHEN d.resend THEN now() END,
  resends = resends + CASE WHEN d.resend THEN 1 ELSE 0 END
FROM (
  SELECT m.id, a.on_unknown = 'resend' AND m.resends = 0 AS resend
  FROM message m JOIN whatsapp_cloud_account a USING (chatbot_id)
  WHERE m.status = 'unknown' AND m.due_at <= now() ORDER BY m.id LIMIT 1000 FOR NO KEY UPDATE OF m SKIP LOCKED) d
WHERE m.id = d.id
RETURNING d.resend
"""


def expire_leases():
    """A worker died in mid-call: whether its messages left nobody knows. They become unknown; returns how many."""
    error = {'code': None, 'title': 'The worker stopped during the call', 'details': None, 'fbtrace_id': None}
    return execute(EXPIRE, (json.dumps(error), settings.UNKNOWN_GRACE_SECONDS))


def decide_unknown():
    """No status came within the grace: the account's on_unknown decides. Returns (resent, failed)."""
    decisions = [resend for (resend,) in fetch(DECIDE)]
    return sum(decisions), len(decisions) - sum(decisions)
