"""Erases one person everywhere, as one chatbot knows them, while everything goes on.

In this order, so that nothing that is under way brings anything back:

1. Webhooks that came before now lose the person's parts, also those that wait for a worker. One
   that a worker has in hand is waited for.
2. The rows go in one transaction, which remembers digests of the ids (messages/erased.py): a
   worker, a send or a reply that waits for one of them finds it gone.
3. What came while that went on: webhooks about the messages that are gone; statuses that found
   no message; questions to a responder. Who writes from now on is somebody new.
4. Events and their deliveries; the files, of which the storage may be asked again later.
"""

import logging
from datetime import UTC, datetime, timedelta
from typing import Any

from service.conversations.conversation import Conversation
from service.privacy import erased_events, erased_rows, erased_webhooks, old_files
from service.privacy.erased_rows import Erasure
from service.privacy.person import Person
from service.runtime.db import execute, passes
from service.runtime.ids import id_at

log = logging.getLogger(__name__)
TRIES = 5  # a deadlock, or a lock that is not given, passes
# What callers are told of: a count of each.
TOLD = ('messages', 'media', 'statuses', 'webhooks', 'events', 'identities', 'changes', 'answers')
CLEAN_UP = (
    erased_rows.DELETE_STATUSES,
    erased_rows.DELETE_FACTS,
    erased_rows.DELETE_ROWS['questions'],
)


def erase(conversation_id: str) -> dict[str, int]:
    """Erase the person of a conversation; returns how much of what was erased.

    Zeros when there is nothing of them any more: to erase somebody twice does no harm.
    """
    erased = dict.fromkeys(TOLD, 0)
    conversation = Conversation.find_or_none(conversation_id)
    while conversation is not None and not _erase(conversation, erased):
        # it was merged meanwhile
        conversation = Conversation.find_or_none(conversation_id)
    log.info('contact erased', extra={'conversation_id': conversation_id, **erased})
    return erased


def _erase(conversation: Conversation, erased: dict[str, int]) -> bool:
    """False when the conversation has become part of another one."""
    began = id_at(datetime.now(UTC), timedelta(0))
    person = Person.of(conversation)
    erased['webhooks'] += _patiently(erased_webhooks.erase, person, ())
    erasure: Erasure | None = _patiently(erased_rows.delete, person)
    if erasure is None:
        return False
    messages = {*erasure.message_ids, *erasure.wamids}
    erased['webhooks'] += _patiently(erased_webhooks.erase, person, messages, began)
    values = erased_rows.values(person, erasure)
    for statement in CLEAN_UP:
        _patiently(execute, statement, values)
    erased['events'] += _patiently(
        erased_events.erase, person.chatbot_id, person.conversation_ids, erasure.message_ids
    )
    old_files.delete(erasure.storage_keys)
    for name, count in erasure.counts.items():
        if name in erased:
            erased[name] += count
    return True


def _patiently(step: Any, *given: Any) -> Any:
    """The result of a step, which is done again when what has stopped it passes."""
    for _ in range(TRIES - 1):
        try:
            return step(*given)
        except Exception as error:
            if not passes(error):
                raise
    return step(*given)
