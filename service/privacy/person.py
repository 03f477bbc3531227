"""A person who is erased or exported: every id that leads, or led, to one conversation."""

from dataclasses import dataclass, field

from service.content.phone_numbers import candidates
from service.conversations.conversation import Conversation
from service.runtime.db import fetch

# A phone that was theirs once may be another customer's by now.
FIND_IDS = """
SELECT DISTINCT i.kind IN ('phone', 'former') AS is_phone, i.value FROM conversation_identity i
WHERE i.conversation_id = %(id)s AND i.kind <> 'group' AND NOT EXISTS (
  SELECT FROM conversation_identity o
  WHERE i.kind = 'former' AND o.chatbot_id = i.chatbot_id AND o.kind = 'phone'
    AND o.value = i.value AND o.conversation_id <> i.conversation_id)
"""
FIND_MERGED = 'SELECT id FROM conversation_merged WHERE conversation_id = %s'
FIND_NUMBERS = """
SELECT phone_number_id, waba_id, app_secret IS NOT NULL FROM whatsapp_cloud_account
WHERE chatbot_id = %(chatbot_id)s
UNION SELECT DISTINCT phone_number_id, NULL, false FROM message WHERE conversation_id = %(id)s
"""


def conversation_ids(conversation_id: str) -> list[str]:
    """The id of a conversation, and those of all that were merged into it."""
    return [conversation_id, *(id_ for (id_,) in fetch(FIND_MERGED, (conversation_id,)))]


@dataclass(slots=True)
class Person:
    """One person, as one chatbot knows them.

    `ids`: phones in digits, BSUIDs and parent BSUIDs; `conversation_ids`: those of conversations
    that were merged, too; `numbers`: ids of the business's numbers that they wrote to; `waba_ids`:
    of the account.
    """

    conversation_id: str
    chatbot_id: str
    ids: set[str] = field(default_factory=set)
    conversation_ids: list[str] = field(default_factory=list)
    numbers: set[str] = field(default_factory=set)
    waba_ids: set[str] = field(default_factory=set)

    @classmethod
    def of(cls, conversation: Conversation) -> 'Person':
        person = cls(conversation.id, conversation.chatbot_id)
        shown = (conversation.wa_id, conversation.user_id, conversation.parent_user_id)
        phones = {conversation.wa_id} if conversation.wa_id else set()
        person.ids = {one for one in shown if one}
        for is_phone, value in fetch(FIND_IDS, {'id': conversation.id}):
            person.ids.add(value)
            phones |= {value} if is_phone else set()
        for phone in phones:
            person.ids |= set(candidates(phone))
        person.conversation_ids = conversation_ids(conversation.id)
        wanted = {'chatbot_id': conversation.chatbot_id, 'id': conversation.id}
        for number, waba_id, _ in fetch(FIND_NUMBERS, wanted):
            person.numbers.add(number)
            person.waba_ids |= {waba_id} if waba_id else set()
        return person

    def is_of_account(self, number: str | None, waba_id: str | None) -> bool:
        """Whether what Meta tells is about a number of theirs, or about the whole account."""
        return number in self.numbers if number else waba_id in self.waba_ids
