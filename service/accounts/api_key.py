"""API keys: what a key may do, and which chatbots it sees."""

from dataclasses import dataclass

SCOPES = ('send', 'read', 'manage')  # that a key may have
ROOT = 'root'  # what only the keys of API_KEYS may do


@dataclass(frozen=True, slots=True)
class Key:
    """A key that came with a request.

    `id`: of its row, None for one of API_KEYS, which sees and may do everything; `chatbot_ids`:
    None for all.
    """

    id: str | None
    chatbot_ids: frozenset[str] | None
    scopes: frozenset[str]

    def sees(self, chatbot_id: str | None) -> bool:
        """Whether it sees what belongs to a chatbot; None is what belongs to none, or to all."""
        return self.chatbot_ids is None or chatbot_id in self.chatbot_ids


ROOT_KEY = Key(None, None, frozenset((*SCOPES, ROOT)))
