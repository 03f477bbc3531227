"""Answers that the platform's own service gives later, by POST /send with `in_reply_to`."""

import logging
from dataclasses import dataclass
from datetime import datetime, timedelta

from service.accounts.account import Account
from service.conversations import reply_outcome
from service.conversations.reply_outcome import COUNT_TURN, IS_LOOP, IS_QUICK, LOOP
from service.messages.message import ANSWERED_TYPES, REDELIVERY
from service.runtime.db import execute, fetch
from service.runtime.errors import Conflict, Invalid
from service.runtime.prepared import Prepared, fill
from service.runtime.rows import fetch_as
from service.runtime.timestamps import to_rfc3339
from service.sending.outbox import Priority
from service.sending.personalisation import Body

log = logging.getLogger(__name__)

# Nobody writes to it, pauses it or records an answer until the send is committed.
LOCK_CONVERSATION = Prepared("""
SELECT id FROM conversation WHERE id = %s FOR NO KEY UPDATE
""")
# The customer's message, and what became of it since. Its age counts as that of a wanted reply, or
# since somebody has asked for the reply.
# `|| ''`: no index of the inbound ones is asked, whatever the tables held when this was planned.
FIND_ANSWERED = Prepared(
    """
SELECT greatest(c.reply_wanted_at, CASE
    WHEN m.timestamp BETWEEN m.created_at - interval '{redelivery_days} days' AND m.created_at
    THEN m.timestamp ELSE m.created_at END) AS wanted_at,
  now() AS now, CASE WHEN c.paused_until > now() THEN c.paused_until END AS paused_until,
  (SELECT n.id FROM message n
   WHERE n.conversation_id = %(conversation_id)s AND n.id > m.id
     AND n.direction || '' = 'inbound' AND n.type = ANY(%(types)s)
   ORDER BY n.id LIMIT 1) AS overtaken_by
FROM message m JOIN conversation c ON c.id = m.conversation_id
WHERE m.id = %(id)s AND m.conversation_id = %(conversation_id)s AND m.direction || '' = 'inbound'
""",
    redelivery_days=REDELIVERY.days,
)
# What is being asked finds its claim gone, and is not sent. A reply that was still wanted is a
# turn; one that the service took upon itself with 202 was counted then.
END_WANTED_REPLY = Prepared(
    """
UPDATE conversation c SET answered_at = now(), fell_back_at = NULL,
  reply_due_at = NULL, reply_claim = NULL, reply_lease_until = NULL, reply_error = NULL,
  reply_attempts = 0, updated_at = now(),
  {count_turn}
FROM (
  SELECT *, is_turn AND {loop} AS is_loop
  FROM (
    SELECT c.id, c.quick_turns, c.reply_due_at IS NOT NULL AS is_turn, {quick} AS is_quick
    FROM conversation c WHERE c.id = %s) n) n
WHERE c.id = n.id
RETURNING n.is_loop
""",
    count_turn=fill(COUNT_TURN, is_turn='n.is_turn'),
    quick=IS_QUICK,
    loop=IS_LOOP,
)


@dataclass(frozen=True, slots=True)
class AnsweredMessage:
    """A customer's message that is answered later."""

    wanted_at: datetime
    now: datetime
    paused_until: datetime | None
    overtaken_by: str | None  # a newer message of the customer that wants a reply


@dataclass(frozen=True, slots=True)
class WantedAnswer:
    """How an answer is to be sent. `until`: when it comes too late, None when it is forced."""

    priority: Priority
    until: datetime | None

    def earliest(self, expires_at: datetime | None) -> datetime | None:
        """Until when it may be sent that has an `expires_at` of its own."""
        return min(filter(None, (self.until, expires_at)), default=None)


def require_wanted(account: Account, conversation_id: str, body: Body) -> WantedAnswer:
    """Let an answer end the reply that is wanted; how it is to be sent.

    In the transaction that stores it. Raises Invalid when it answers no message of this customer,
    Conflict when it is overtaken, too late, or the conversation is paused, unless it is forced.
    """
    execute(LOCK_CONVERSATION, (conversation_id,))
    answered = _find(conversation_id, body['in_reply_to'])
    until = None
    if not body.get('force'):
        until = _refuse_unwanted(account, answered)
    if not answered.overtaken_by:
        _end_wanted_reply(account, conversation_id)
    if until is None:  # a pause holds replies back, now or later: what is forced is none
        return WantedAnswer(Priority.SINGLE, None)
    return WantedAnswer(Priority.REPLY, until)


def _find(conversation_id: str, message_id: str) -> AnsweredMessage:
    values = {
        'id': message_id,
        'conversation_id': conversation_id,
        'types': sorted(ANSWERED_TYPES),
    }
    found = fetch_as(AnsweredMessage, FIND_ANSWERED, values)
    if not found:
        problem = 'This customer has written no message of this id.'
        raise Invalid('The message that is answered cannot be found.', {'in_reply_to': [problem]})
    return found[0]


def _end_wanted_reply(account: Account, conversation_id: str) -> None:
    """No reply is wanted any more; two machines that answer each other are paused."""
    ((is_loop,),) = fetch(END_WANTED_REPLY, (conversation_id,))
    if is_loop:
        fields = {'conversation_id': conversation_id, 'chatbot_id': account.chatbot_id}
        reply_outcome.pause_loops([conversation_id])
        log.warning('conversation paused', extra=fields | {'by': 'loop_guard', 'reason': LOOP})


def _refuse_unwanted(account: Account, answered: AnsweredMessage) -> datetime:
    """Raises Conflict, or returns until when an answer is wanted."""
    if answered.paused_until:
        until = to_rfc3339(answered.paused_until)
        sentence = f'The conversation is paused until {until}; "force": true sends all the same.'
        raise Conflict(sentence, code='conversation_paused', paused_until=until)
    if answered.overtaken_by:
        raise Conflict(
            'The customer has written again since that message; "force": true sends all the same.',
            code='reply_overtaken',
            overtaken_by=answered.overtaken_by,
        )
    most = account.reply_ttl_seconds
    wanted_until = answered.wanted_at + timedelta(seconds=most)
    if answered.now > wanted_until:
        raise Conflict(
            f'The customer wrote more than {most} s ago; "force": true sends all the same.',
            code='reply_too_late',
        )
    return wanted_until
