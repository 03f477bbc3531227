"""Assigning: which keys a conversation has from a claim on, and which ones others lose by it."""

from datetime import datetime

from service.conversations.identity_claim import PARENT, PHONE, USER, IdentityClaim, Key, in_order
from service.conversations.identity_conditions import takes_over
from service.conversations.identity_journal import IdentityJournal
from service.conversations.identity_match import IdentityMatcher
from service.conversations.identity_resolution import Resolution
from service.conversations.identity_store import IdentityOwner


class IdentityAssigner:
    def __init__(
        self, resolution: Resolution, matcher: IdentityMatcher, journal: IdentityJournal
    ) -> None:
        self.resolution = resolution
        self.matcher = matcher
        self.journal = journal

    def assign(self, claim: IdentityClaim, conversation_id: str) -> None:
        """Give a conversation the keys of a claim, as far as they are theirs."""
        for key in claim.keys:
            self._assign_key(claim, key, conversation_id)
        if claim.is_change and claim.at:
            self._free_previous(claim, conversation_id, claim.at)
        superseded_at = self.resolution.superseded_at(claim)
        if superseded_at and (phone := claim.phone_key()):
            self._end(claim, phone, conversation_id, superseded_at)

    def _assign_key(self, claim: IdentityClaim, key: Key, conversation_id: str) -> None:
        owner = self.resolution.owners.get(key)
        is_theirs = self.resolution.owner(key) == conversation_id
        if key.is_phone and not is_theirs and self.matcher.is_outdated(claim, key):
            return
        if owner is None:
            self._give(claim, key, conversation_id)
        elif is_theirs:
            self._confirm(claim, key, owner, conversation_id)
        elif takes_over(claim, owner):
            loser = self.resolution.current(owner.conversation_id)
            self._remember(key, loser, claim.at, was_seen=owner.seen_at is not None)
            self._take(claim, key, loser)
            self._give(claim, key, conversation_id)
        else:
            self._remember(key, conversation_id, claim.at)

    def _confirm(
        self, claim: IdentityClaim, key: Key, owner: IdentityOwner, conversation_id: str
    ) -> None:
        """Note the later time of a key that is theirs already."""
        if claim.at is None or claim.gives_up(key):
            return
        if owner.seen_at is None or (claim.user and claim.at > owner.seen_at):
            self.resolution.set_owner(key, conversation_id, claim.at)

    def _give(self, claim: IdentityClaim, key: Key, conversation_id: str) -> None:
        self.resolution.set_owner(key, conversation_id, claim.at)
        self.resolution.freed.discard(key)
        if key.kind == USER:
            self.resolution.with_bsuid.add(conversation_id)
        self.journal.note_gain(claim, key, conversation_id)

    def _take(self, claim: IdentityClaim, key: Key, loser: str) -> None:
        self.resolution.touched.add(loser)
        self.journal.note_loss(claim, key, loser)
        del self.resolution.owners[key]
        self.resolution.moved.pop(key, None)

    def _remember(
        self, key: Key, conversation_id: str, until: datetime | None, was_seen: bool = True
    ) -> None:
        """Keep whose a phone or a BSUID was, and until when; of several the last one.

        Somebody who was never seen with a phone, only sent to, does not hide one who was.
        """
        if key.kind == PARENT or until is None:
            return
        previous = self.resolution.owners.get(key.previous_owner)
        if previous is None or (was_seen and previous.until < until):
            self.resolution.set_owner(key.previous_owner, conversation_id, until)

    def _free_previous(self, claim: IdentityClaim, conversation_id: str, at: datetime) -> None:
        """Leave the new phone alone to somebody who changed numbers.

        Their others are nobody's until somebody writes from them.
        """
        for key in in_order(self._phones_of(claim, conversation_id) - _forms_of_phone(claim)):
            self._end(claim, key, conversation_id, at)
        for key in claim.permanent_keys():
            if claim.gives_up(key):
                self._remember(key, conversation_id, at)

    def _phones_of(self, claim: IdentityClaim, conversation_id: str) -> set[Key]:
        phones = {key for key in claim.other_keys() if key.is_phone}
        return phones | {
            key
            for key in self.resolution.owners
            if key.chatbot_id == claim.chatbot_id
            and key.kind == PHONE
            and self.resolution.owner(key) == conversation_id
        }

    def _end(self, claim: IdentityClaim, key: Key, conversation_id: str, at: datetime) -> None:
        """End their time with a phone, which is nobody's now, unless something newer is known."""
        owner = self.resolution.owners.get(key)
        previous = self.resolution.owners.get(key.previous_owner)
        if owner and owner.seen_at and owner.seen_at > at:
            return
        if previous and previous.until >= at:
            return
        if owner:
            self._take(claim, key, self.resolution.current(owner.conversation_id))
            self.resolution.freed.add(key)
        self._remember(key, conversation_id, at)


def _forms_of_phone(claim: IdentityClaim) -> set[Key]:
    key = claim.phone_key()
    return {key, *key.variants()} if key else set()
