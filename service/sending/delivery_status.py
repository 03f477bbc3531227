"""Meta's statuses: kept one by one, joined to their message by our id or the wamid, and moving it
forward only.
"""

from dataclasses import dataclass
from datetime import datetime

from service.conversations import service_window
from service.graph.outcome import classify_error, first_error
from service.messages import fact, message
from service.messages.state_machine import RANK, TOLD, UNDELIVERED, moves_up
from service.runtime.db import columns, execute, fetch, fetch_dicts, to_json
from service.runtime.ids import is_id
from service.runtime.untrusted import clean
from service.sending.dispatch import PAIR_DEBT_SECONDS, attempt, next_step
from service.sending.escalation import SendFailure


@dataclass(slots=True)
class DeliveryStatus:
    """One status as Meta sent it, cleaned.

    `timestamp`: Meta's or, without one, that of receipt; `opaque`: biz_opaque_callback_data.
    """

    chatbot_id: str
    phone_number_id: str
    wamid: str
    status: str
    participant: str
    timestamp: datetime
    opaque: str | None
    error: dict | None
    errors: list | None
    pricing: dict | None
    recipient: dict
    message_id: str | None = None

    @property
    def key(self):
        return self.phone_number_id, self.wamid, self.status, self.participant


FIND = """
SELECT id, chatbot_id, conversation_id, phone_number_id, wamid, status, error, accepted_at, attempts, batch_id, tries,
  echo, fallback IS NOT NULL AS has_fallback
FROM message WHERE id IN (
  SELECT m.id FROM message m JOIN unnest(%s::text[], %s::text[]) AS n (phone_number_id, wamid)
    USING (phone_number_id, wamid) WHERE m.direction = 'outbound' AND m.wamid IS NOT NULL
  UNION SELECT id FROM message WHERE id = ANY(%s::uuid[]) AND direction = 'outbound')
ORDER BY id FOR NO KEY UPDATE
"""
INSERT = """
INSERT INTO message_status (chatbot_id, message_id, phone_number_id, wamid, status, participant, timestamp, opaque,
  errors, pricing, recipient)
SELECT * FROM unnest(%s::text[], %s::uuid[], %s::text[], %s::text[], %s::text[], %s::text[], %s::timestamptz[],
  %s::text[], %s::json[], %s::json[], %s::json[])
ON CONFLICT DO NOTHING RETURNING phone_number_id, wamid, status, participant
"""
ADVANCE = f"""
UPDATE message m SET status = n.status, hold_reason = n.hold_reason, wamid = n.wamid, error = n.error,
  tries = m.tries || coalesce(n.tries, '[]'), due_at = now() + n.delay * interval '1 second', updated_at = now(),
  accepted_at = coalesce(m.accepted_at, n.accepted_at, now()),
  attempts = CASE WHEN n.late THEN 0 ELSE m.attempts END, {service_window.use_fallback('n.late')}
FROM unnest(%s::uuid[], %s::text[], %s::text[], %s::text[], %s::json[], %s::timestamptz[], %s::float8[], %s::jsonb[],
  %s::boolean[]) AS n (id, status, hold_reason, wamid, error, accepted_at, delay, tries, late)
WHERE m.id = n.id
"""
# Meta found the burst of a pair used up: it pays back first. A row that somebody holds is claimed
# or freed just now.
PAUSE_PAIR = f"""
UPDATE conversation c SET send_after = greatest(c.send_after, now() + n.delay * interval '1 second'),
  pair_free_at = greatest(c.pair_free_at, now() + ({PAIR_DEBT_SECONDS} + n.delay) * interval '1 second')
FROM (
  SELECT c.id, n.delay FROM conversation c JOIN unnest(%s::uuid[], %s::float8[]) AS n (id, delay) USING (id)
  WHERE c.group_id IS NULL ORDER BY c.id FOR NO KEY UPDATE OF c SKIP LOCKED) n
WHERE c.id = n.id
"""
PRICE = """
UPDATE usage_log u SET category = coalesce(n.category, u.category), pricing = n.pricing
FROM unnest(%s::uuid[], %s::text[], %s::json[]) AS n (id, category, pricing) WHERE u.message_id = n.id
"""
HISTORY = """
SELECT message_id, status, coalesce(timestamp, received_at) AS timestamp, participant, errors, pricing
FROM message_status WHERE message_id = ANY(%s::uuid[]) ORDER BY timestamp, id
"""


def store(statuses):
    """Keep statuses and advance their messages, in the caller's transaction.

    Returns ({key: 'stored' | 'orphan'} of those that are new, SendFailures); a key that is missing was
    known.
    """
    unique = {status.key: status for status in statuses}
    if not unique:
        return {}, []
    targets = _find_messages(unique.values())
    rows = [unique[key] for key in sorted(unique)]
    new = set(_insert(rows))
    news = [(s.message_id, s) for s in rows if s.key in new and s.message_id]
    refusals = advance(news + _adopt(news, targets), targets)
    return {key: 'stored' if unique[key].message_id else 'orphan' for key in new}, refusals


def _find_messages(statuses):
    """Set `message_id` of each status whose message is known; lock those messages and return {id:
    row}.
    """
    opaque = {status.opaque: None for status in statuses if is_id(status.opaque)}
    rows = fetch_dicts(
        FIND, ([s.phone_number_id for s in statuses], [s.wamid for s in statuses], list(opaque))
    )
    by_id = {row['id']: row for row in rows}
    by_wamid = {(row['phone_number_id'], row['wamid']): row['id'] for row in rows if row['wamid']}
    for status in statuses:
        named = by_id.get(status.opaque and status.opaque.lower())
        ours = named and named['chatbot_id'] == status.chatbot_id
        status.message_id = (
            named['id'] if ours else by_wamid.get((status.phone_number_id, status.wamid))
        )
    return by_id


def _adopt(news, targets):
    """The orphans of messages whose wamid these statuses bring: [(message id, DeliveryStatus)]."""
    first = [(id_, s.phone_number_id, s.wamid) for id_, s in news if targets[id_]['wamid'] is None]
    rows = fetch_dicts(ADOPT, columns(sorted(set(first)))) if first else []
    return [(row['message_id'], _from_row(row)) for row in rows]


def _insert(statuses):
    rows = [
        (
            s.chatbot_id,
            s.message_id,
            s.phone_number_id,
            s.wamid,
            s.status,
            s.participant,
            s.timestamp,
            s.opaque,
            to_json(s.errors),
            to_json(s.pricing),
            to_json(s.recipient),
        )
        for s in statuses
    ]
    return fetch(INSERT, columns(rows))


def advance(news, targets):
    """Move messages forward.

    `news`: (message id, DeliveryStatus); `targets`: {id: locked row}. Returns SendFailures.

    Failures come last: what is known to have arrived is not sent again.
    """
    moved, prices, refusals = {}, {}, []
    for message_id, status in sorted(news, key=lambda one: one[1].status == 'failed'):
        row = targets[message_id]
        if status.pricing:
            prices[message_id] = status.pricing
        if _is_over(row, status):
            continue
        is_first = row['wamid'] is None
        row['wamid'] = row['wamid'] or status.wamid
        if _move(row, status, refusals) or is_first:
            moved[message_id] = row
    if moved:
        _write([moved[id_] for id_ in sorted(moved)])
    if prices:
        _write_prices(prices)
    return refusals


def _is_over(row, status):
    """Of an attempt that Meta has called failed: what comes late, or stood beside it, says nothing
    of the next one.
    """
    return any(one.get('wamid') == status.wamid for one in row['tries'])


def _move(row, status, refusals):
    state = _state_after(row, status)
    if not moves_up(row['status'], state):
        return False
    undelivered = row['status'] in UNDELIVERED
    row.update(
        status=state,
        error=status.error if state == 'failed' else None,
        hold_reason=None,
        delay=None,
    )
    row['accepted_at'] = row['accepted_at'] or status.timestamp
    if state == 'failed' and status.error and undelivered and not row['echo']:
        refusals.append(_judge(row, status))
    return True


def _judge(row, status):
    """The error table decides on a `failed` status as on an answer: the message may go again, or
    wait.
    """
    outcome = classify_error(status.error)
    state, hold_reason, delay = next_step(row, outcome)
    one = attempt(row, outcome, status.timestamp) | {'wamid': status.wamid}
    row.update(tries=[*row['tries'], one], new_tries=[*row.get('new_tries', ()), one])
    if state in ('queued', 'held'):  # Meta's next answer brings another wamid
        row.update(status=state, hold_reason=hold_reason, delay=delay, wamid=None)
        row['late'] = service_window.wants_fallback(row['has_fallback'], status.error)
        row['pair_delay'] = delay if outcome.scope == 'pair' else None
    whose = row['chatbot_id'], row['phone_number_id'], outcome, row['batch_id']
    return SendFailure(*whose, conversation_id=row['conversation_id'], at=status.timestamp)


def _state_after(row, status):
    """Whatever Meta says of a message, it has accepted it.

    A failure counts when it is of this send, and of all.
    """
    if status.status == 'failed' and status.wamid == row['wamid'] and not status.participant:
        return 'failed'
    return status.status if status.status in TOLD else 'accepted'


def _write(rows):
    names = (
        'id',
        'status',
        'hold_reason',
        'wamid',
        'error',
        'accepted_at',
        'delay',
        'new_tries',
        'late',
    )
    execute(ADVANCE, columns([tuple(_column(row, name) for name in names) for row in rows]))
    if pauses := {
        row['conversation_id']: row['pair_delay'] for row in rows if row.get('pair_delay')
    }:
        execute(PAUSE_PAIR, (list(pauses), list(pauses.values())))
    message.log_usage([row['id'] for row in rows])


def _column(row, name):
    return to_json(row.get(name)) if name in ('error', 'new_tries') else row.get(name)


def _write_prices(prices):
    rows = [
        (id_, clean(prices[id_].get('category'), 64), to_json(prices[id_]))
        for id_ in sorted(prices)
    ]
    execute(PRICE, columns(rows))


JOIN = """
WITH orphan AS (
  SELECT s.id, m.id AS message_id FROM {messages} m JOIN message_status s USING (phone_number_id, wamid)
  WHERE s.message_id IS NULL AND {which}
  FOR NO KEY UPDATE OF s SKIP LOCKED)
UPDATE message_status s SET message_id = orphan.message_id FROM orphan WHERE s.id = orphan.id
RETURNING s.*
"""
SENT = "m.direction = 'outbound' AND m.wamid IS NOT NULL"
JOIN_THESE = JOIN.format(messages='message', which=f'{SENT} AND m.id = ANY(%s::uuid[])')
JOIN_RECENT = JOIN.format(
    messages='message', which=f"{SENT} AND s.received_at > now() - interval '1 hour'"
)
NAMED_BY_STATUS = (
    '(SELECT * FROM unnest(%s::uuid[], %s::text[], %s::text[]) AS n (id, phone_number_id, wamid))'
)
ADOPT = JOIN.format(messages=NAMED_BY_STATUS, which='true')


def join_orphans(message_ids=None):
    """Statuses that came before their message's wamid was recorded: join them now.

    In the caller's transaction.

    With None those of the last hour are looked through: what fell between two workers'
    transactions. Returns (how many, SendFailures).
    """
    rows = (
        fetch_dicts(JOIN_RECENT)
        if message_ids is None
        else fetch_dicts(JOIN_THESE, (list(message_ids),))
    )
    if not rows:
        return 0, []
    news = [_from_row(row) for row in rows]
    targets = _find_messages(news)
    return len(rows), advance([(s.message_id, s) for s in news if s.message_id in targets], targets)


def _from_row(row):
    errors = row['errors'] or []
    return DeliveryStatus(
        row['chatbot_id'],
        row['phone_number_id'],
        row['wamid'],
        row['status'],
        row['participant'],
        row['timestamp'],
        row['message_id'],
        first_error(errors),
        errors,
        row['pricing'],
        row['recipient'],
        row['message_id'],
    )


def _told_at(entry):
    """Many statuses share a second: within it, the order in which they can only have happened."""
    rank = len(RANK) if 'type' in entry else RANK.get(entry['status'], len(RANK))
    return entry['timestamp'], rank


def of_messages(message_ids):
    """{message id: everything Meta said about it, oldest first by Meta's time}."""
    if not message_ids:
        return {}
    told = [(row.pop('message_id'), _entry(row)) for row in fetch_dicts(HISTORY, (message_ids,))]
    history = {}
    for message_id, entry in sorted(
        told + fact.of_messages(message_ids), key=lambda one: _told_at(one[1])
    ):
        history.setdefault(message_id, []).append(entry)
    return history


def _entry(row):
    entry = {name: row[name] for name in ('status', 'timestamp')}
    return entry | {name: row[name] for name in ('participant', 'errors', 'pricing') if row[name]}
