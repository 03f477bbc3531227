"""The rows of a person, deleted in one transaction: their conversation and all that hangs on it.

Of usage_log the rows stay: country, category and price of messages that are gone.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from service.billing import roll_up
from service.conversations.merge import lock_accounts
from service.media.file_references import find_references
from service.media.storage_interface import key_of
from service.messages import erased
from service.privacy.person import Person
from service.runtime.db import db, execute, execute_long, fetch
from service.runtime.prepared import fill
from service.runtime.untrusted import as_dict

LOCK_CONVERSATION = 'SELECT id FROM conversation WHERE id = %(id)s FOR UPDATE'
# What they wrote in groups stands in the group's conversation.
LOCK_MESSAGES = """
SELECT id, wamid, type, direction, content, fallback, tries FROM message WHERE id IN (
  SELECT id FROM message WHERE conversation_id = %(id)s
  UNION ALL
  SELECT m.id FROM conversation c CROSS JOIN LATERAL (
    SELECT id, sender FROM message WHERE conversation_id = c.id AND sender IS NOT NULL OFFSET 0) m
  WHERE c.chatbot_id = %(chatbot_id)s AND c.group_id IS NOT NULL
    AND m.sender::text LIKE ANY (%(quoted)s::text[]))
ORDER BY id FOR UPDATE
"""
LOCK_FILES = """
SELECT id, chatbot_id FROM media WHERE id IN (
  SELECT id FROM media WHERE message_id = ANY(%(ids)s::uuid[])
  UNION SELECT id FROM media WHERE id = ANY(%(uploaded)s::uuid[]))
ORDER BY id FOR UPDATE
"""
FIND_USED_BY_OTHERS = """
SELECT 1 FROM message WHERE chatbot_id = %(chatbot_id)s AND id >= %(media_id)s
  AND content::text LIKE %(pattern)s AND id <> ALL(%(ids)s::uuid[]) LIMIT 1
"""
# For an hour somebody may still write such a file: it is deleted once more.
KEEP_KEYS = """
INSERT INTO file_deletion (storage_key, due_at)
SELECT key, now() + interval '1 hour' FROM unnest(%(keys)s::text[]) AS key ORDER BY key
ON CONFLICT (storage_key) DO UPDATE SET due_at = excluded.due_at
"""
DELETE_FILES = (
    'DELETE FROM media_upload WHERE media_id = ANY(%(media)s::uuid[])',
    'DELETE FROM media WHERE id = ANY(%(media)s::uuid[])',
)
OF_MESSAGES = 'message_id = ANY(%(ids)s::uuid[])'
# Statuses and facts of messages that are not known stand under Meta's id alone. A statement for
# each index that finds some.
DELETE_STATUSES = (
    fill('DELETE FROM message_status WHERE {of}', of=OF_MESSAGES),
    """
DELETE FROM message_status
WHERE phone_number_id = ANY(%(numbers)s) AND wamid = ANY(%(wamids)s)
""",
    """
DELETE FROM message_status
WHERE message_id IS NULL AND chatbot_id = %(chatbot_id)s AND (opaque = ANY(%(ids)s::text[])
  OR recipient::text LIKE ANY (%(quoted)s::text[]) OR participant = ANY(%(people)s))
""",
    """
DELETE FROM message_status s USING message m, conversation c
WHERE s.message_id = m.id AND m.conversation_id = c.id AND c.chatbot_id = %(chatbot_id)s
  AND c.group_id IS NOT NULL AND s.participant = ANY(%(people)s)
""",
)
DELETE_FACTS = (
    fill('DELETE FROM message_fact WHERE {of}', of=OF_MESSAGES),
    """
DELETE FROM message_fact
WHERE phone_number_id = ANY(%(numbers)s) AND wamid = ANY(%(wamids)s)
""",
    """
DELETE FROM message_fact
WHERE message_id IS NULL AND chatbot_id = %(chatbot_id)s AND opaque = ANY(%(ids)s::text[])
""",
)
# What others wrote in groups names whom it answers, and Meta's id of what was said.
FORGET_QUOTES = """
UPDATE message SET context = NULL WHERE id IN (
  SELECT m.id FROM conversation c CROSS JOIN LATERAL (
    SELECT id, context FROM message WHERE conversation_id = c.id AND context IS NOT NULL OFFSET 0) m
  WHERE c.chatbot_id = %(chatbot_id)s AND c.group_id IS NOT NULL
    AND m.context::text LIKE ANY (%(quoting)s::text[])
  ORDER BY m.id FOR NO KEY UPDATE)
"""
DELETE_QUESTIONS = (
    'DELETE FROM reply_request WHERE conversation_id = ANY(%(conversations)s::uuid[])'
)
# In this order; each counts under its name.
DELETE_ROWS: tuple[tuple[str, str], ...] = (
    ('receipts', fill('DELETE FROM read_receipt WHERE {of}', of=OF_MESSAGES)),
    *(('statuses', one) for one in DELETE_STATUSES),
    *(('facts', one) for one in DELETE_FACTS),
    ('words', fill('DELETE FROM message_search WHERE {of}', of=OF_MESSAGES)),
    ('postponed', fill('DELETE FROM retention_postponed WHERE {of}', of=OF_MESSAGES)),
    ('messages', 'DELETE FROM message WHERE id = ANY(%(ids)s::uuid[])'),
    ('quotes', FORGET_QUOTES),
    ('changes', 'DELETE FROM contact_event WHERE conversation_id = %(id)s'),
    ('identities', 'DELETE FROM conversation_identity WHERE conversation_id = %(id)s'),
    ('merged', 'DELETE FROM conversation_merged WHERE conversation_id = %(id)s'),
    ('questions', DELETE_QUESTIONS),
    ('conversations', 'DELETE FROM conversation WHERE id = %(id)s'),
)
# What a transaction that was under way may have left behind.
CLEAN_UP = (*DELETE_STATUSES[:3], *DELETE_FACTS, DELETE_QUESTIONS)
# Answers to sends name the conversation. That of a bulk names nobody but by a rejected row.
DELETE_ANSWERS = """
DELETE FROM idempotency_key WHERE chatbot_id = %(chatbot_id)s
  AND answer::text LIKE ANY (%(found_in)s::text[])
"""


@dataclass(slots=True)
class Erasure:
    """What was deleted. `wamids`: Meta's ids of the messages; `counts`: rows by what they were."""

    message_ids: list[str] = field(default_factory=list)
    wamids: set[str] = field(default_factory=set)
    storage_keys: list[str] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)


def delete(person: Person) -> Erasure | None:
    """Delete a person's rows; None when the conversation is no longer there.

    Locks as everybody does: account, conversation, messages. Whoever waits for these rows finds
    that they are gone.
    """
    with db.atomic():
        lock_accounts([person.chatbot_id])
        if not fetch(LOCK_CONVERSATION, {'id': person.conversation_id}):
            return None
        erasure = Erasure()
        uploaded = _lock_messages(person, erasure)
        roll_up.complete(erasure.message_ids)
        _delete_files(person, erasure, uploaded)
        rows = values(person, erasure)
        for name, statement in DELETE_ROWS:
            erasure.counts[name] += execute(statement, rows)
        erasure.counts['answers'] = execute(DELETE_ANSWERS, rows)
        ids = {*person.conversation_ids, *erasure.message_ids, *erasure.wamids}
        erased.remember(person.chatbot_id, ids)
        return erasure


def values(person: Person, erasure: Erasure) -> dict[str, Any]:
    return {
        'id': person.conversation_id,
        'chatbot_id': person.chatbot_id,
        'conversations': person.conversation_ids,
        'ids': erasure.message_ids,
        'wamids': sorted(erasure.wamids),
        'numbers': sorted(person.numbers),
        'people': sorted(person.ids),
        'quoted': quoted(person.ids),
        'quoting': quoted({*person.ids, *erasure.wamids}),
        'found_in': [f'%{one}%' for one in (*person.conversation_ids, *sorted(person.ids))],
    }


def quoted(ids: Iterable[str]) -> list[str]:
    """Patterns for LIKE: the ids where they are whole texts of JSON."""
    return [f'%"{one}"%' for one in sorted(ids)]


def _lock_messages(person: Person, erasure: Erasure) -> set[str]:
    """Lock the messages and take down their ids; returns the uploaded files that they name."""
    wanted = {
        'id': person.conversation_id,
        'chatbot_id': person.chatbot_id,
        'quoted': quoted(person.ids),
    }
    uploaded: set[str] = set()
    for id_, wamid, kind, direction, content, fallback, tries in fetch(LOCK_MESSAGES, wanted):
        erasure.message_ids.append(id_)
        erasure.wamids |= {wamid} if wamid else set()
        erasure.wamids |= {one['wamid'] for one in tries if as_dict(one).get('wamid')}
        if direction == 'outbound':
            body = {kind: content, 'fallback': fallback}
            uploaded |= {reference.media_id for reference in find_references(body)}
    return uploaded


def _delete_files(person: Person, erasure: Erasure, uploaded: Iterable[str]) -> None:
    """Delete the rows of files: those that came with messages, and those sent to nobody else."""
    theirs = [one for one in sorted(uploaded) if not _is_used_by_others(person, erasure, one)]
    files = fetch(LOCK_FILES, {'ids': erasure.message_ids, 'uploaded': theirs})
    erasure.storage_keys = [key_of(chatbot_id, id_) for id_, chatbot_id in files]
    if not files:
        return
    execute(KEEP_KEYS, {'keys': erasure.storage_keys})
    for statement in DELETE_FILES:
        erasure.counts['media'] = execute(statement, {'media': [id_ for id_, _ in files]})


def _is_used_by_others(person: Person, erasure: Erasure, media_id: str) -> bool:
    """Whether a message to somebody else names an uploaded file."""
    wanted = {
        'chatbot_id': person.chatbot_id,
        'media_id': media_id,
        'pattern': f'%{media_id}%',
        'ids': erasure.message_ids,
    }
    return execute_long(FIND_USED_BY_OTHERS, wanted) > 0
