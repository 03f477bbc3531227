"""Texts that are too old: messages are emptied, their skeleton stays.

What stays of a message: its ids, direction, type, states, times, prices, template and the caller's
client_reference. What goes: what it says, whom it names, and what was said of it.
"""

from collections.abc import Sequence
from typing import Any

from service.billing import roll_up
from service.messages import erased
from service.privacy.rules import PORTION, Progress, Rule
from service.runtime.db import db, execute, fetch
from service.runtime.prepared import fill

LATE_DAYS = erased.KEPT_DAYS  # for so long Meta may tell of a message
FIND_OLD = """
SELECT id, waiting IS NOT NULL FROM message
WHERE chatbot_id = %(chatbot_id)s AND id > %(last_id)s AND id < %(first_kept)s
ORDER BY id LIMIT %(limit)s FOR NO KEY UPDATE
"""
FIND_POSTPONED = """
SELECT m.id FROM retention_postponed p JOIN message m ON m.id = p.message_id
WHERE m.waiting IS NULL ORDER BY m.id LIMIT %(limit)s FOR NO KEY UPDATE OF m SKIP LOCKED
"""
POSTPONE = """
INSERT INTO retention_postponed (message_id) SELECT unnest(%(ids)s::uuid[]) ON CONFLICT DO NOTHING
"""
END_POSTPONED = """
DELETE FROM retention_postponed p WHERE message_id = ANY(%(ids)s::uuid[])
  OR NOT EXISTS (SELECT FROM message m WHERE m.id = p.message_id)
"""
OF_MESSAGES = 'message_id = ANY(%(ids)s::uuid[])'
# A status of a member of a group is one of a key, in which the member stands.
EMPTY_STATUSES = (
    fill(
        """
UPDATE message_status SET recipient = NULL,
  participant = CASE participant WHEN '' THEN '' ELSE 'removed-' || id END
WHERE {of_messages} AND (recipient IS NOT NULL OR participant NOT IN ('', 'removed-' || id))
""",
        of_messages=OF_MESSAGES,
    ),
    fill(
        """
UPDATE message_fact SET payment = NULL WHERE {of_messages} AND payment IS NOT NULL
""",
        of_messages=OF_MESSAGES,
    ),
)
EMPTY = (
    """
UPDATE message SET content = '{}', context = NULL, extra = NULL, sender = NULL,
  recipient_to = NULL, recipient = NULL, answer_wa_id = NULL, fallback = NULL, replaced = NULL,
  meta_answer = NULL, biz_opaque_callback_data = NULL
WHERE id = ANY(%(ids)s::uuid[])
""",
    fill('DELETE FROM message_search WHERE {of_messages}', of_messages=OF_MESSAGES),
    *EMPTY_STATUSES,
    fill('UPDATE media SET filename = NULL WHERE {of_messages}', of_messages=OF_MESSAGES),
)


def empty(ids: Sequence[str]) -> None:
    """Empty messages whose rows the caller has locked."""
    if not ids:
        return
    roll_up.complete(ids)
    for statement in EMPTY:
        execute(statement, {'ids': list(ids)})


def empty_some(rule: Rule) -> int:
    """Empty some messages of an account; returns how many were looked at."""
    with db.atomic():
        found = _go_on('messages', FIND_OLD, rule, rule.text_days)
        empty([id_ for id_, is_waiting in found if not is_waiting])
        waiting = [id_ for id_, is_waiting in found if is_waiting]
        if waiting:
            execute(POSTPONE, {'ids': waiting})
        return len(found)


def empty_late(rule: Rule) -> int:
    """Empty statuses that came after their messages were emptied; of how many was looked at."""
    with db.atomic():
        days = rule.text_days and rule.text_days + LATE_DAYS
        found = _go_on('late statuses', FIND_OLD, rule, days)
        for statement in EMPTY_STATUSES if found else ():
            execute(statement, {'ids': [id_ for id_, _ in found]})
        return len(found)


def _go_on(kind: str, statement: str, rule: Rule, days: int | None) -> list[tuple[Any, ...]]:
    """The next rows that a statement finds to be so old; the first of their columns is the id."""
    progress = Progress(kind, rule.chatbot_id)
    last_id = None if days is None else progress.lock()
    if days is None or last_id is None:
        return []
    found = fetch(statement, rule.older(days) | {'last_id': last_id})
    if found:
        progress.move(found[-1][0])
    return found


def empty_postponed() -> int:
    """Empty some messages that waited to be sent when their time came, and wait no more."""
    with db.atomic():
        ids = [id_ for (id_,) in fetch(FIND_POSTPONED, {'limit': PORTION})]
        if ids:
            empty(ids)
            execute(END_POSTPONED, {'ids': ids})
        return len(ids)


FIND_OLD_CHANGES = """
SELECT e.id FROM contact_event e JOIN conversation c ON c.id = e.conversation_id
WHERE e.id > %(last_id)s AND e.id < %(first_kept)s AND c.chatbot_id = %(chatbot_id)s
ORDER BY e.id LIMIT %(limit)s
"""
EMPTY_CHANGES = 'UPDATE contact_event SET detail = NULL WHERE id = ANY(%(ids)s::uuid[])'


def empty_changes(rule: Rule) -> int:
    """Empty some entries of what changed of people: that something did stays, not what."""
    with db.atomic():
        found = _go_on('contact events', FIND_OLD_CHANGES, rule, rule.text_days)
        if found:
            execute(EMPTY_CHANGES, {'ids': [id_ for (id_,) in found]})
        return len(found)


# Of messages that never became known.
DELETE_ORPHANS = (
    """
DELETE FROM message_status WHERE id IN (
  SELECT id FROM message_status
  WHERE message_id IS NULL AND received_at < %(until)s AND chatbot_id = %(chatbot_id)s
  ORDER BY received_at LIMIT %(limit)s FOR UPDATE SKIP LOCKED)
""",
    """
DELETE FROM message_fact WHERE id IN (
  SELECT id FROM message_fact
  WHERE message_id IS NULL AND received_at < %(until)s AND chatbot_id = %(chatbot_id)s
  ORDER BY received_at LIMIT %(limit)s FOR UPDATE SKIP LOCKED)
""",
)


def delete_orphans(rule: Rule) -> int:
    """Delete some old statuses of messages that are not known; returns how many."""
    if rule.text_days is None:
        return 0
    values = rule.older(rule.text_days)
    return sum(execute(statement, values) for statement in DELETE_ORPHANS)
