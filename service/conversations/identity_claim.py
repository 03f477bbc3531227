"""Pure: the keys by which people are known, and what a message or a status claims of somebody."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from operator import attrgetter
from typing import Any

from service.content.person_id import PersonId, named
from service.content.phone_numbers import candidates

# Kinds of keys, as the table conversation_identity has them.
USER = 'user'  # a BSUID
PARENT = 'parent'  # a parent BSUID
PHONE = 'phone'
GROUP = 'group'
PREVIOUS_PHONE = 'former'  # who had a phone before, and until when
SUPERSEDED = 'replaced'  # whose BSUID it was, and since when another one stands in its place
PREVIOUS = {PHONE: PREVIOUS_PHONE, USER: SUPERSEDED}


@dataclass(frozen=True, slots=True)
class Key:
    """One id of a person or a group, as one chatbot knows it."""

    chatbot_id: str
    kind: str
    value: str

    def __hash__(self) -> int:
        return hash(self.value)  # on the hot path: values differ enough, all three would cost more

    @property
    def is_phone(self) -> bool:
        return self.kind == PHONE

    @property
    def previous_owner(self) -> 'Key':
        """The key under which its last owner stands: of a phone or a BSUID, KeyError of others."""
        return Key(self.chatbot_id, PREVIOUS[self.kind], self.value)

    def variants(self) -> list['Key']:
        """Other ways to write the same phone (content/phone_numbers.py), only to look people up."""
        if not self.is_phone:
            return []
        return [Key(self.chatbot_id, PHONE, form) for form in candidates(self.value)[1:]]


def in_order(keys: Iterable[Key]) -> list[Key]:
    """Keys in the order in which everybody reads and writes them."""
    return sorted(keys, key=attrgetter('chatbot_id', 'kind', 'value'))


@dataclass(frozen=True, slots=True)
class IdentityClaim:
    """Whom a message came from or goes to, as far as it says: a group, or the ids of a person."""

    chatbot_id: str
    phone: str | None = None
    user: str | None = None
    group: str | None = None
    parent: str | None = None
    at: datetime | None = None  # Meta's time; without one it takes no phone from anybody
    why: str = 'message'  # what said so, for the history
    other_ids: tuple[PersonId, ...] = ()  # also theirs; of a change: what they had before it
    is_change: bool = False  # it tells that their ids have changed
    updates_only: bool = False  # known people become better known, nobody is new by it
    message_id: str | None = None  # of ours that it speaks of, when it only updates
    lock: bool = False  # it only updates, but more is going to be written of them: lock their row

    keys: tuple[Key, ...] = field(init=False, compare=False)  # all that it names, the surest first

    def __post_init__(self) -> None:
        object.__setattr__(self, 'keys', tuple(self._name_keys()))

    def _name_keys(self) -> Iterator[Key]:
        own = ((USER, self.user), (PARENT, self.parent), (PHONE, self.phone))
        for kind, value in ((GROUP, self.group),) if self.group else own:
            if value:
                yield Key(self.chatbot_id, kind, value)
        if self.other_ids and not self.group:
            yield from self.other_keys()

    def other_keys(self) -> list[Key]:
        return [Key(self.chatbot_id, one.kind, one.value) for one in self.other_ids]

    def phone_key(self) -> Key | None:
        return Key(self.chatbot_id, PHONE, self.phone) if self.phone else None

    def permanent_keys(self) -> list[Key]:
        """What leads to one person, or group, for ever."""
        return [key for key in self.keys if key.kind in (USER, GROUP)]

    def transferable_keys(self) -> list[Key]:
        """What comes and goes; of a change, what they had before comes first."""
        keys = [key for key in self.keys if key.kind in (PARENT, PHONE)]
        earlier = self.other_keys() if self.is_change else []
        return sorted(keys, key=lambda key: key not in earlier) if earlier else keys

    def gives_up(self, key: Key | None) -> bool:
        """Whether it says that they had this key before, and no longer have it."""
        return self.is_change and key in self.other_keys()

    def is_known_by_old(self, key: Key | None) -> bool:
        """Whether a change names its person by this old key alone, without the old BSUID."""
        return self.gives_up(key) and all(one.kind != USER for one in self.other_ids)


def addressee(chatbot_id: str, message: Mapping[str, Any]) -> IdentityClaim:
    """Whom a validated message (content/message_schema.py) goes to."""
    if message.get('recipient_type') == 'group':
        return IdentityClaim(chatbot_id, group=message['to'], why='send')
    to = message.get('to') or message['recipient']
    return IdentityClaim(chatbot_id, **named(to), why='send')
