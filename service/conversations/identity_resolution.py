"""What claims make of the known ids: read by matching, changed by assigning, told by the journal.

A BSUID leads to one person for ever. A phone, or a parent BSUID, comes and goes (docs/meta.md): a
claim that names another BSUID takes it along when it is newer, by Meta's time, than the latest
claim that named the owner. Who had a phone before is kept (Key.previous_owner), so that a claim
that comes late, or twice, neither takes it back nor finds the wrong person.
"""

from dataclasses import dataclass, field
from datetime import datetime

from service.conversations.identity_claim import SUPERSEDED, IdentityClaim, Key
from service.conversations.identity_store import IdentityOwner
from service.conversations.merge import Merge


@dataclass(slots=True)
class Description:
    """The ids that claims show of a conversation: {kind: value}, and Meta's time of the latest."""

    ids: dict[str, str] = field(default_factory=dict)
    at: datetime | None = None


@dataclass(slots=True)
class IdChange:
    """A line of a person's history: an id that came, went or took the place of another."""

    conversation_id: str
    what: str
    why: str
    at: datetime | None
    before: str | None = None
    after: str | None = None


@dataclass(slots=True)
class Resolution:
    """The ids that claims name, who owns them by now, and what is to be written."""

    owners: dict[Key, IdentityOwner]
    with_bsuid: set[str]  # conversations that have a BSUID
    addressees: dict[tuple[str, str], str]  # {(chatbot_id, message id): conversation}
    ids_before: dict[str, dict[str, str | None]]  # {conversation: {kind: value}} that was shown

    created: dict[str, str] = field(default_factory=dict)  # {conversation: chatbot_id}
    touched: set[str] = field(default_factory=set)  # stored conversations that change
    moved: dict[Key, IdentityOwner] = field(default_factory=dict)  # keys with a new owner or time
    freed: set[Key] = field(default_factory=set)  # keys that nobody has any more
    merges: list[Merge] = field(default_factory=list)  # of stored conversations
    merged_into: dict[str, str] = field(default_factory=dict)  # the same, and of new ones
    shown: dict[str, Description] = field(default_factory=dict)  # {conversation: ids}
    events: dict[tuple[object, ...], IdChange] = field(default_factory=dict)

    def current(self, conversation_id: str) -> str:
        """The conversation that this one was merged into, as far as is known; else itself."""
        while conversation_id in self.merged_into:
            conversation_id = self.merged_into[conversation_id]
        return conversation_id

    def owner(self, key: Key) -> str | None:
        """The conversation that has a key by now."""
        owner = self.owners.get(key)
        return self.current(owner.conversation_id) if owner else None

    def superseded_at(self, claim: IdentityClaim) -> datetime | None:
        """Since when another BSUID stands in the place of a claim's; None when none does.

        What such a claim says of phones is no longer true.
        """
        if not claim.user:
            return None
        end = self.owners.get(Key(claim.chatbot_id, SUPERSEDED, claim.user))
        return end.until if end else None

    def set_owner(self, key: Key, conversation_id: str, at: datetime | None) -> None:
        """Give a key an owner, or a later time; of a previous owner `at` is until when."""
        self.owners[key] = self.moved[key] = IdentityOwner.of(key, conversation_id, at)
        self.touched.add(conversation_id)

    def unite(self, claim: IdentityClaim, gone: str, kept: str, is_certain: bool = False) -> str:
        """Make two conversations one, and return it.

        A new one becomes part of the other at once. Of two that are stored a merge is queued, and
        this transaction will be undone. When a permanent key links them (`is_certain`) the older
        is kept.
        """
        if gone == kept:
            return kept
        if gone not in self.created and (kept in self.created or (is_certain and gone < kept)):
            gone, kept = kept, gone
        if gone in self.created:
            del self.created[gone]
        else:
            self.merges.append(Merge(claim.chatbot_id, gone, kept, is_certain, claim.why))
        if gone in self.with_bsuid:
            self.with_bsuid.add(kept)
        self._combine_descriptions(gone, kept)
        self.merged_into[gone] = kept
        return kept

    def _combine_descriptions(self, gone: str, kept: str) -> None:
        theirs = self.shown.pop(gone, None)
        if theirs and kept in self.shown:
            self.shown[kept].ids = theirs.ids | self.shown[kept].ids
        elif theirs:
            self.shown[kept] = theirs
