"""Messages, both ways: stored, listed, claimed by send workers and settled. Each move is one guarded statement."""

import json
import time

from peewee import DateTimeField, Model, SmallIntegerField, TextField

from service.account import JSON
from service.config import settings
from service.db import db, execute, fetch, fetch_dicts, new_id
from service.errors import NotFound
from service.queues import retry_delay

AMPLE = 5000  # messages; more than the web processes take in for one chatbot in a second
REPLY, SINGLE, BULK = 0, 1, 2  # priorities: who waits for whom when the rate is short


class Message(Model):
    id = TextField(primary_key=True)
    chatbot_id = TextField()
    conversation_id = TextField()
    direction = TextField()
    phone_number_id = TextField()
    type = TextField()
    status = TextField()
    wamid = TextField(null=True)
    recipient_to = TextField(null=True)
    recipient = TextField(null=True)
    sender = JSON(null=True)
    content = JSON()
    context = JSON(null=True)
    extra = JSON(null=True)
    client_reference = TextField(null=True)
    answer_wa_id = TextField(null=True)
    attempts = SmallIntegerField(default=0)
    error = JSON(null=True)
    timestamp = DateTimeField(null=True)
    accepted_at = DateTimeField(null=True)
    created_at = DateTimeField()
    updated_at = DateTimeField()

    class Meta:
        database = db

    @classmethod
    def find(cls, message_id):
        message = cls.get_or_none(cls.id == message_id)
        if message is None:
            raise NotFound('There is no such message.')
        return message

    SHOWN = ('id', 'chatbot_id', 'conversation_id', 'direction', 'type', 'status', 'wamid', 'content', 'context', 'client_reference',
             'attempts', 'error', 'timestamp', 'created_at', 'updated_at')  # fmt: skip

    def to_dict(self):
        """Without its statuses: those come from another table."""
        row = {name: getattr(self, name) for name in self.SHOWN}
        sender = self.sender or {}
        row |= {'to': self.recipient_to, 'recipient': self.recipient, 'wa_id': self.answer_wa_id}
        return row | {name: sender.get(name) for name in ('from', 'from_user_id', 'group_id')}

    def history(self, told):
        """All its statuses: ours, what Meta `told`, and where it rests if Meta did not say that."""
        if self.direction == 'inbound':
            return [{'status': 'received', 'timestamp': self.created_at}]
        own = [{'status': 'queued', 'timestamp': self.created_at}]
        if self.accepted_at:
            own.append({'status': 'accepted', 'timestamp': self.accepted_at})
        history = own + told
        if all(entry['status'] != self.status for entry in history):
            history.append({'status': self.status, 'timestamp': self.updated_at})
        return history


def insert_outbound(account, conversation_id, message, priority, client_reference=None):
    """Queue a validated message (service.payloads) and return it as a Message. The caller wakes the send queue after its commit."""
    kind = message.get('type') or 'text'
    held = account.send_state == 'held' or not account.active
    extra = {name: message[name] for name in EXTRA if name in message}
    rows = fetch_dicts(
        'INSERT INTO message (id, chatbot_id, conversation_id, direction, phone_number_id, type, status, recipient_to, recipient, '
        'content, context, extra, client_reference, priority, due_at) '
        "VALUES (%s, %s, %s, 'outbound', %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, CASE WHEN %s THEN NULL ELSE now() END) "
        'RETURNING *',
        (
            new_id(), account.chatbot_id, conversation_id, account.phone_number_id, kind, 'held' if held else 'queued',
            message.get('to'), message.get('recipient'), json.dumps(message[kind]), _json(message.get('context')),
            _json(extra), client_reference, priority, held,
        ),
    )  # fmt: skip
    return Message(**rows[0])


def _json(value):
    return json.dumps(value) if value else None


_waiting = {}  # chatbot_id: (monotonic time, how many waited)


def is_full(chatbot_id):
    """Whether MAX_QUEUED messages of a chatbot wait already; counted anew unless there was ample room within a second."""
    at, waiting = _waiting.get(chatbot_id, (0, 0))
    if time.monotonic() - at > 1 or waiting + AMPLE > settings.MAX_QUEUED:
        waiting = fetch(
            "SELECT count(*) FROM (SELECT 1 FROM message WHERE chatbot_id = %s AND status = 'queued' UNION ALL "
            "SELECT 1 FROM message WHERE chatbot_id = %s AND status = 'held' LIMIT %s) waiting",
            (chatbot_id, chatbot_id, settings.MAX_QUEUED),
        )[0][0]
        _waiting[chatbot_id] = (time.monotonic(), waiting)
    return waiting >= settings.MAX_QUEUED


INSERT_INBOUND = """
INSERT INTO message (id, chatbot_id, conversation_id, direction, status, phone_number_id, type, wamid, sender, content, context,
  extra, timestamp)
SELECT id, chatbot_id, conversation_id, 'inbound', 'received', phone_number_id, type, wamid, sender, content, context, extra, timestamp
FROM unnest(%s::uuid[], %s::text[], %s::uuid[], %s::text[], %s::text[], %s::text[], %s::json[], %s::json[], %s::json[], %s::json[],
  %s::timestamptz[]) AS n (id, chatbot_id, conversation_id, phone_number_id, type, wamid, sender, content, context, extra, timestamp)
ON CONFLICT (phone_number_id, wamid) WHERE direction = 'inbound' DO NOTHING
RETURNING phone_number_id, wamid, id
"""


def insert_inbound(rows):
    """Store customers' messages, each (phone_number_id, wamid) once. `rows`: tuples in the order below.

    Returns {(phone_number_id, wamid): id} of those that are new.
    """
    if not rows:
        return {}
    rows = sorted(rows, key=lambda row: (row[3], row[5]))  # everybody inserts in one order: no circle of waiting
    stored = fetch(INSERT_INBOUND, [list(column) for column in zip(*rows, strict=True)])
    return {row[:2]: row[2] for row in stored}


EXTRA = ('recipient_type', 'recipient_identity_key_hash', 'messaging_account_id')

# One message at a time and conversation, in order: `send_after` stands in the conversation's row, so that a second
# worker that waited for the row's lock sees it. Accounts come in with how many each may send now: the fair share.
CLAIM = """
WITH quota AS (SELECT * FROM unnest(%s::text[], %s::int[]) AS q (chatbot_id, n)),
due AS MATERIALIZED (
  SELECT m.* FROM quota CROSS JOIN LATERAL (
    SELECT m.id, m.conversation_id, m.priority FROM message m JOIN conversation c ON c.id = m.conversation_id
    WHERE m.chatbot_id = quota.chatbot_id AND m.status = 'queued' AND m.due_at <= now()
      AND (c.send_after IS NULL OR c.send_after <= now())
    ORDER BY m.priority, m.id LIMIT quota.n FOR NO KEY UPDATE OF m, c SKIP LOCKED) m),
first AS (SELECT DISTINCT ON (conversation_id) id, conversation_id FROM due ORDER BY conversation_id, priority, id),
busy AS (
  UPDATE conversation c SET send_after = now() + %s * interval '1 second' FROM first WHERE c.id = first.conversation_id)
UPDATE message m SET status = 'sending', attempts = attempts + 1, due_at = now() + %s * interval '1 second', updated_at = now()
FROM first WHERE m.id = first.id
RETURNING m.id, m.chatbot_id, m.conversation_id, m.phone_number_id, m.type, m.recipient_to, m.recipient, m.content, m.context,
  m.extra, m.attempts, m.due_at
"""


def sendable_accounts():
    """Accounts that may send and have something due: (chatbot_id, phone_number_id, access_token, max_mps)."""
    return fetch(
        'SELECT a.chatbot_id, a.phone_number_id, a.access_token, a.max_mps FROM whatsapp_cloud_account a '
        "WHERE a.active AND a.send_state = 'ok' AND EXISTS (SELECT 1 FROM message m WHERE m.chatbot_id = a.chatbot_id "
        "AND m.status = 'queued' AND m.due_at <= now())"
    )


def claim(quota, lease):
    """Take due messages, {chatbot_id: at most}, for `lease` seconds. The attempt is committed before any call is made."""
    return fetch_dicts(CLAIM, (list(quota), list(quota.values()), lease, lease))


ACCEPT = """
UPDATE message m SET wamid = coalesce(m.wamid, n.wamid), answer_wa_id = n.wa_id, error = NULL, due_at = NULL, updated_at = now(),
  accepted_at = coalesce(accepted_at, n.at),
  status = CASE WHEN m.status IN ('queued', 'sending', 'unknown', 'held') THEN 'accepted' ELSE m.status END
FROM unnest(%s::uuid[], %s::text[], %s::text[], %s::timestamptz[]) AS n (id, wamid, wa_id, at) WHERE m.id = n.id
RETURNING m.id
"""
SETTLE = """
UPDATE message m SET status = n.status, error = n.error, updated_at = now(),
  due_at = now() + n.delay * interval '1 second'
FROM unnest(%s::uuid[], %s::text[], %s::json[], %s::float8[], %s::int[]) AS n (id, status, error, delay, attempts)
WHERE m.id = n.id AND m.status = 'sending' AND m.attempts = n.attempts
RETURNING m.id
"""
RELEASE = """
UPDATE conversation c SET send_after = now() + n.delay * interval '1 second'
FROM unnest(%s::uuid[], %s::float8[]) AS n (id, delay) WHERE c.id = n.id
"""


def record(results):
    """Write what became of claimed messages, in one transaction. `results`: (claimed row, graph.Outcome, monotonic end)."""
    accepted = [(row, outcome, at) for row, outcome, at in results if outcome.kind == 'accepted']
    others = [(row, outcome, _next_step(row, outcome)) for row, outcome, _ in results if outcome.kind != 'accepted']
    delays = {row['conversation_id']: None for row, _, _ in accepted}
    delays |= {row['conversation_id']: delay if status == 'queued' else None for row, _, (status, delay) in others}
    with db.atomic():
        conversations = sorted(delays)
        execute('SELECT 1 FROM conversation WHERE id = ANY(%s::uuid[]) ORDER BY id FOR NO KEY UPDATE', (conversations,))
        execute(RELEASE, (conversations, [delays[key] for key in conversations]))
        if accepted:
            _accept(accepted)
        if others:
            others.sort(key=lambda other: other[0]['id'])
            columns = [
                (row['id'], status, _json(outcome.error), delay, row['attempts'])
                for row, outcome, (status, delay) in others
            ]
            execute(SETTLE, [list(column) for column in zip(*columns, strict=True)])


def _next_step(row, outcome):
    """(status, seconds until somebody looks again) after a call that Meta did not accept."""
    if outcome.kind == 'retry':
        delay = retry_delay(row['attempts'])
        return ('failed', None) if delay is None else ('queued', max(outcome.delay or 0, delay))
    if outcome.kind == 'unknown':
        return 'unknown', settings.UNKNOWN_GRACE_SECONDS
    return outcome.kind, None


def _accept(accepted):
    accepted.sort(key=lambda one: one[0]['id'])
    ids = [row['id'] for row, _, _ in accepted]
    wamids, wa_ids = [outcome.wamid for _, outcome, _ in accepted], [outcome.wa_id for _, outcome, _ in accepted]
    execute(ACCEPT, (ids, wamids, wa_ids, [at for _, _, at in accepted]))
    log_usage(ids)


def log_usage(message_ids):
    """Note messages for billing: received, or accepted by Meta; each once."""
    execute(
        'INSERT INTO usage_log (message_id, chatbot_id, direction, type) SELECT id, chatbot_id, direction, type FROM message '
        'WHERE id = ANY(%s::uuid[]) ORDER BY id ON CONFLICT (message_id) DO NOTHING',
        (message_ids,),
    )


def expire_leases():
    """A worker died in mid-call: whether its messages left nobody knows. They become unknown; returns how many."""
    error = json.dumps(
        {'code': None, 'title': 'The worker stopped during the call', 'details': None, 'fbtrace_id': None}
    )
    return execute(
        "UPDATE message SET status = 'unknown', error = %s, due_at = now() + %s * interval '1 second', updated_at = now() "
        "WHERE id IN (SELECT id FROM message WHERE status = 'sending' AND due_at <= now() ORDER BY id LIMIT 1000 "
        'FOR NO KEY UPDATE SKIP LOCKED)',
        (error, settings.UNKNOWN_GRACE_SECONDS),
    )


DECIDE = """
UPDATE message m SET updated_at = now(),
  status = CASE WHEN d.resend THEN 'queued' ELSE 'failed' END,
  due_at = CASE WHEN d.resend THEN now() END,
  resends = resends + CASE WHEN d.resend THEN 1 ELSE 0 END,
  attempts = CASE WHEN d.resend THEN 0 ELSE attempts END
FROM (SELECT m.id, a.on_unknown = 'resend' AND m.resends = 0 AS resend FROM message m JOIN whatsapp_cloud_account a USING (chatbot_id)
      WHERE m.status = 'unknown' AND m.due_at <= now() ORDER BY m.id LIMIT 1000 FOR NO KEY UPDATE OF m SKIP LOCKED) d
WHERE m.id = d.id
RETURNING d.resend
"""


def decide_unknown():
    """No status came within the grace: the account's on_unknown decides, `resend` once at most. Returns (resent, failed)."""
    decisions = [resend for (resend,) in fetch(DECIDE)]
    return sum(decisions), len(decisions) - sum(decisions)
