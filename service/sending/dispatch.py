"""Dispatch: send workers claim messages that are due, and give back those they did not send."""

import logging
import math
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from peewee import DataError, IntegrityError

from service.accounts.account import MAY_SEND
from service.conversations import opt_out, pause, service_window
from service.graph import outage
from service.media.meta_upload import FileToSend
from service.messages.state_machine import Status
from service.runtime.db import db, to_json
from service.runtime.prepared import Prepared, fill
from service.runtime.rows import Integer, Uuid, execute_bulk, fetch_as, fetch_bulk_as
from service.sending.outbox import Priority

log = logging.getLogger(__name__)
# Meta's limit of one person (section 8): one in 6 seconds, or 45 at once, paid back afterwards.
PAIR_GAP_SECONDS = 6
PAIR_BURST = 45
PAIR_DEBT_SECONDS = PAIR_GAP_SECONDS * (PAIR_BURST - 1)


@dataclass(slots=True)
class SendableAccount:
    """An account that may send and has something due.

    `own_app`: whether it has a Meta app of its own; `away`: the scope of an outage that it suffers
    from and whose probe is due.
    """

    chatbot_id: str
    phone_number_id: str
    access_token: str  # encrypted
    max_mps: int | None
    waba_id: str | None
    own_app: bool
    away: str | None


@dataclass(slots=True)
class Quota:
    """How many messages a claim may take of an account."""

    chatbot_id: str
    n: Integer


@dataclass(slots=True)
class ClaimedMessage:
    """A message that this process may send while its lease lasts.

    The fields with a default are filled in by the process, the others come from the row.
    """

    id: Uuid
    chatbot_id: str
    conversation_id: Uuid
    phone_number_id: str
    type: str
    recipient_to: str | None
    recipient: str | None
    content: Any
    context: dict[str, Any] | None
    extra: dict[str, Any] | None
    attempts: Integer
    expires_at: datetime | None
    lease_ends: datetime  # tells this claim of the message from all others
    batch_id: Uuid | None
    has_fallback: bool
    status: str
    priority: Integer
    wants_answer: bool  # somebody waits for what Meta says (sending/awaited_answer.py)
    ask_first: bool = False  # a harmless call goes first: see outage_probe.py
    access_token: str | None = None  # encrypted
    claimed_at: float = 0  # monotonic seconds, like the next one
    begin_by: float = math.inf
    files: dict[str, FileToSend | None] = field(default_factory=dict)  # meta_upload.attach_files

    @property
    def is_late(self) -> bool:
        """Whether it might be anybody's before Meta answers a call that begins now."""
        return time.monotonic() > self.begin_by


@dataclass(slots=True)
class ReleasedClaim:
    """A claimed message that was not sent, to be claimed again in `delay` seconds."""

    id: Uuid
    lease_ends: datetime
    delay: float


# The first condition names the index; the second is one that the planner expects most to meet.
NEXT_DUE = """
SELECT min(due_at) FROM message
WHERE waiting IN ('scheduled', 'queued', 'sending', 'unknown')
  AND waiting NOT IN ('sending', 'unknown')
"""
# From one account that has something queued to the next: of the others there may be thousands.
# The order by priority names the index: without it the planner may scan the table. OFFSET 0 keeps
# the index of due times out of it.
FIND_SENDABLE_ACCOUNTS = Prepared(
    """
WITH RECURSIVE waiting (chatbot_id) AS (
  (SELECT chatbot_id FROM message WHERE waiting = 'queued' ORDER BY chatbot_id LIMIT 1)
  UNION ALL
  SELECT (
    SELECT m.chatbot_id FROM message m WHERE m.waiting = 'queued' AND m.chatbot_id > w.chatbot_id
    ORDER BY m.chatbot_id LIMIT 1)
  FROM waiting w WHERE w.chatbot_id IS NOT NULL)
SELECT a.chatbot_id, a.phone_number_id, a.access_token, a.max_mps, a.waba_id,
  a.app_secret IS NOT NULL AS own_app, away.scope AS away
FROM waiting JOIN whatsapp_cloud_account a USING (chatbot_id) CROSS JOIN LATERAL (
  SELECT 1 FROM (
    SELECT due_at FROM message WHERE chatbot_id = a.chatbot_id AND waiting = 'queued'
      AND NOT deferred ORDER BY priority, id OFFSET 0) m
  WHERE m.due_at <= now() LIMIT 1) due
  LEFT JOIN LATERAL ({scope_away}) away ON true
WHERE {may_send} AND (away.scope IS NULL OR away.probe_at <= now())
""",
    scope_away=outage.SCOPE_AWAY,
    may_send=MAY_SEND,
)
SPARE = 4  # messages of an account that a claim looks at beyond what may be sent
MAY_GO_NOW = 'm.due_at <= now() AND (m.expires_at IS NULL OR m.expires_at > now())'
# One message at a time and conversation, in order: `send_after` stands in the conversation's row,
# so that a second worker sees it. Each conversation's first message is found without a lock
# (`head`); then the conversation is locked, once (`open`), and only then its message (`first`): a
# worker that held a message without its conversation would let another worker take the next one,
# and a lock that is tried for each message may be free again at the second. SPARE more are looked
# at, so that conversations that somebody else holds do not keep the others waiting. If somebody
# else holds the first message, or it has moved on since the statement began, the conversation waits
# for the next claim. `quota` says how many each account may send now: the fair share. If the window
# has closed meanwhile, the fallback is sent (`use_fallback`). Marketing to a person who wants none,
# and what the bot says while a person has the conversation, is cancelled (`refusal`: the error).
# What came back to a batch that was stopped meanwhile is left to the sweep: held, or cancelled.
# Whatever the statistics say, messages are read in the order of their index until there are enough
# (OFFSET 0 keeps the other conditions out), and `first` by the message's key (|| '' keeps out the
# indexes of all that is queued), its batch by either of two keys (chatbot_id is in one of them).
CLAIM = fill(
    """
WITH quota AS (SELECT * FROM {rows}),
due AS MATERIALIZED (
  SELECT d.*, quota.n FROM quota CROSS JOIN LATERAL (
    SELECT m.id AS message_id, m.priority, quota.chatbot_id, m.conversation_id
    FROM (
      SELECT id, conversation_id, priority, due_at, expires_at FROM message
      WHERE chatbot_id = quota.chatbot_id AND waiting = 'queued' AND NOT deferred{only}
      ORDER BY priority, id OFFSET 0) m
      JOIN conversation c ON c.id = m.conversation_id
    WHERE {may_go_now} AND (c.send_after IS NULL OR c.send_after <= now())
    ORDER BY m.priority, m.id LIMIT quota.n + {spare}) d),
head AS (
  SELECT DISTINCT ON (conversation_id) * FROM due ORDER BY conversation_id, priority, message_id),
open AS MATERIALIZED (
  SELECT c.*, head.message_id, head.n, row_number() OVER (
    PARTITION BY head.chatbot_id ORDER BY head.priority, head.message_id) AS place
  FROM head CROSS JOIN LATERAL (
    SELECT id, group_id, last_inbound_at, opted_out_at, paused_until, paused_by FROM conversation
    WHERE id = head.conversation_id AND (send_after IS NULL OR send_after <= now())
    FOR NO KEY UPDATE SKIP LOCKED) c),
first AS MATERIALIZED (
  SELECT f.* FROM open c CROSS JOIN LATERAL (
    SELECT m.id, m.conversation_id,
      m.fallback IS NOT NULL AND {closed} AS use_fallback,
      CASE WHEN {unwanted} AND (m.type = 'template' OR m.fallback IS NOT NULL AND {closed})
          THEN %(opted_out)s::json
        WHEN m.priority = {reply} AND {taken_over} THEN %(paused)s::json END AS refusal
    FROM message m WHERE m.id = c.message_id AND m.conversation_id = c.id
      AND m.waiting || '' = 'queued' AND {may_go_now} AND (m.batch_id IS NULL OR 'running' =
        (SELECT b.status FROM batch b WHERE b.id = m.batch_id AND b.chatbot_id = m.chatbot_id))
    FOR NO KEY UPDATE SKIP LOCKED) f WHERE c.place <= c.n),
busy AS (
  UPDATE conversation c SET send_after = now() + %(lease)s * interval '1 second',
    pair_free_at = CASE WHEN c.group_id IS NULL
      THEN greatest(c.pair_free_at, now()) + interval '{pair_gap_seconds} s' END
  WHERE c.id = ANY (ARRAY(SELECT conversation_id FROM first WHERE refusal IS NULL)))
UPDATE message m SET status = CASE WHEN refusal IS NULL THEN 'sending' ELSE 'cancelled' END,
  attempts = CASE WHEN refusal IS NOT NULL THEN attempts WHEN use_fallback THEN 1
    ELSE least(attempts + 1, 32767) END,
  error = coalesce(refusal, error), updated_at = now(),
  due_at = CASE WHEN refusal IS NULL THEN now() + %(lease)s * interval '1 second' END,
  {use_fallback}
FROM first WHERE m.id = first.id
RETURNING m.id, m.chatbot_id, m.conversation_id, m.phone_number_id, m.type, m.recipient_to,
  m.recipient, m.content, m.context, m.extra, m.attempts, m.expires_at, m.due_at AS lease_ends,
  m.batch_id, m.status, m.priority, m.fallback IS NOT NULL AS has_fallback,
  m.meta_answer IS NOT NULL AS wants_answer
""",
    may_go_now=MAY_GO_NOW,
    closed=service_window.CLOSED,
    unwanted=opt_out.UNWANTED,
    reply=int(Priority.REPLY),
    taken_over=pause.IS_TAKEN_OVER,
    pair_gap_seconds=PAIR_GAP_SECONDS,
    spare=SPARE,
    use_fallback=service_window.use_fallback('first.use_fallback'),
)
CLAIM_MESSAGES = Prepared.for_rows(Quota)(CLAIM, only='')
CLAIM_ONE = fill(CLAIM, only=' AND id = %(only)s')


def sendable_accounts() -> list[SendableAccount]:
    """The accounts that may send and have something due."""
    return fetch_as(SendableAccount, FIND_SENDABLE_ACCOUNTS)


def claim(quota: Mapping[str, int], lease: float) -> list[ClaimedMessage]:
    """Take due messages, at most so many of each {chatbot_id}, for `lease` seconds.

    The attempt is committed before any call. If PostgreSQL cannot claim a row, its account gets
    nothing, and the other accounts go on.
    """
    quotas = [Quota(chatbot_id, count) for chatbot_id, count in quota.items()]
    try:
        return _claim(quotas, lease)
    except (DataError, IntegrityError):
        with db.atomic():  # all or none: what nobody hears of would wait for the end of its lease
            return [message for one in quotas for message in _claim_alone(one, lease)]


def _claim_alone(quota: Quota, lease: float) -> list[ClaimedMessage]:
    try:
        with db.atomic():
            return _claim([quota], lease)
    except (DataError, IntegrityError) as error:
        told = {'chatbot_id': quota.chatbot_id}
        log.error('an account cannot be claimed', exc_info=error, extra=told)
        return []


def claim_one(chatbot_id: str, message_id: str, lease: float) -> list[ClaimedMessage]:
    """Take this one message of an account, if it may go now."""
    return _claim([Quota(chatbot_id, 1)], lease, message_id)


def _claim(quotas: list[Quota], lease: float, only: str | None = None) -> list[ClaimedMessage]:
    statement = CLAIM_ONE if only else CLAIM_MESSAGES
    opted_out = to_json(opt_out.OPTED_OUT_ERROR)
    paused = to_json(pause.PAUSED_ERROR)
    values = {'lease': lease, 'only': only, 'opted_out': opted_out, 'paused': paused}
    claimed = fetch_bulk_as(ClaimedMessage, statement, quotas, **values)
    return [message for message in claimed if message.status == Status.SENDING]


# The conversation first, and only while the message is still ours: where it waits for longer than
# our lease, another message is under way since that ended. (|| '' as above.)
RELEASE_UNSENT_CONVERSATIONS = Prepared.for_rows(ReleasedClaim)(
    """
UPDATE conversation c SET pair_free_at = c.pair_free_at - interval '{pair_gap_seconds} s',
  send_after = CASE WHEN c.send_after > n.lease_ends THEN c.send_after
    ELSE now() + n.delay * interval '1 second' END
FROM (
  SELECT c.id, n.delay, n.lease_ends FROM {rows}
    JOIN message m ON m.id = n.id AND m.waiting || '' = 'sending' AND m.due_at = n.lease_ends
    JOIN conversation c ON c.id = m.conversation_id
  ORDER BY c.id FOR NO KEY UPDATE OF c) n
WHERE c.id = n.id
""",
    pair_gap_seconds=PAIR_GAP_SECONDS,
)
REQUEUE_MESSAGES = Prepared.for_rows(ReleasedClaim)("""
UPDATE message m SET status = 'queued', attempts = m.attempts - 1, updated_at = now(),
  due_at = now() + n.delay * interval '1 second'
FROM {rows} WHERE m.id = n.id AND m.waiting || '' = 'sending' AND m.due_at = n.lease_ends
""")


def release_claims(messages: Iterable[ClaimedMessage], delay: float = 0) -> None:
    """Make messages whose call was never begun due again in `delay` seconds.

    Afterwards they are as if nobody had claimed them.
    """
    in_order = sorted(messages, key=lambda message: message.id)
    released = [ReleasedClaim(message.id, message.lease_ends, delay) for message in in_order]
    if released:
        with db.atomic():
            execute_bulk(RELEASE_UNSENT_CONVERSATIONS, released)
            execute_bulk(REQUEUE_MESSAGES, released)
