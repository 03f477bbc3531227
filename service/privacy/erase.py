"""Erases one person everywhere, as one chatbot knows them, while everything goes on.

In this order, so that nothing that is under way brings anything back:

1. Webhooks that came before now lose the person's parts, also those that wait for a worker. One
   that a worker has in hand is waited for.
2. The rows go in one transaction, which remembers digests of the ids (messages/erased.py): a
   worker, a send or a reply that waits for one of them finds it gone.
3. What came while that went on: webhooks about the messages that are gone; statuses that found
   no message; questions to a responder. Who writes from now on is somebody new.
4. Events and their deliveries; the files, as far as the storage deletes them within some seconds.
   All of them have rows (file_deletion), by which the clock asks it again later.
"""

import logging
from datetime import UTC, datetime, timedelta
from typing import Any

from service.conversations.conversation import Conversation
from service.media import file_deletion
from service.messages import erased
from service.privacy import erased_events, erased_rows, erased_webhooks
from service.privacy.erased_rows import Erasure
from service.privacy.person import Person
from service.runtime.db import execute, passes
from service.runtime.ids import id_at

log = logging.getLogger(__name__)
CLOCKS = timedelta(minutes=10)  # the clocks of two machines differ by less
FILE_SECONDS = 3  # for a person's files; the clock deletes those that are left
TRIES = 5  # a deadlock, or a lock that is not given, passes
# What callers are told of: a count of each.
TOLD = ('messages', 'media', 'statuses', 'webhooks', 'events', 'identities', 'changes', 'answers')


def erase(conversation_id: str) -> dict[str, int]:
    """Erase the person of a conversation; returns how much of what was erased.

    Zeros when there is nothing of them any more: to erase somebody twice does no harm, and ends
    what a process that died has begun.
    """
    told = dict.fromkeys(TOLD, 0)
    conversation = Conversation.find_or_none(conversation_id)
    if conversation is None:
        owner = erased.owner(conversation_id)
        told['events'] = erased_events.erase(owner, [conversation_id], []) if owner else 0
    while conversation is not None and not _erase(conversation, told):
        # it was merged meanwhile
        conversation = Conversation.find_or_none(conversation_id)
    log.info('contact erased', extra={'conversation_id': conversation_id, **told})
    return told


def _erase(conversation: Conversation, told: dict[str, int]) -> bool:
    """False when the conversation has become part of another one."""
    began = id_at(datetime.now(UTC), -CLOCKS)
    person = Person.of(conversation)
    told['webhooks'] += _patiently(erased_webhooks.erase, person, ())
    erasure: Erasure | None = _patiently(erased_rows.delete, person)
    if erasure is None:
        return False
    messages = {*erasure.message_ids, *erasure.wamids}
    told['webhooks'] += _patiently(erased_webhooks.erase, person, messages, began)
    values = erased_rows.values(person, erasure)
    for statement in erased_rows.CLEAN_UP:
        _patiently(execute, statement, values)
    told['events'] += _patiently(
        erased_events.erase, person.chatbot_id, person.conversation_ids, erasure.message_ids
    )
    file_deletion.delete(erasure.storage_keys, FILE_SECONDS)
    for name, count in erasure.counts.items():
        if name in told:
            told[name] += count
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
