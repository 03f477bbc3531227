"""Matching: which conversation a claim is about. It reads, and unites what proves to be one."""

from service.conversations.identity_claim import IdentityClaim, Key
from service.conversations.identity_conditions import (
    fits_change,
    is_about_previous,
    is_before_handover,
    takes_over,
)
from service.conversations.identity_resolution import Resolution


class IdentityMatcher:
    def __init__(self, resolution: Resolution) -> None:
        self.resolution = resolution

    def find(self, claim: IdentityClaim) -> str | None:
        """The conversation of a claim, None when it leads to nobody that is known."""
        found = None
        for key in claim.permanent_keys():
            owner = self.resolution.owner(key)
            if found and owner:
                found = self.resolution.unite(claim, found, owner, is_certain=True)
            found = found or owner
        for key in claim.transferable_keys():
            owner = self.conversation_of(claim, key, found)
            found = self._combine(claim, found, owner, key)
        return found or self._combine(claim, None, self._addressee(claim))

    def conversation_of(self, claim: IdentityClaim, key: Key, found: str | None) -> str | None:
        """The conversation that one key of a claim means; None when it is unknown or ambiguous.

        `found`: the conversation that the claim's other keys lead to so far.
        """
        owner = self.resolution.owner(key)
        if not key.is_phone or (owner and owner == found):
            return owner
        previous = self.resolution.owners.get(key.previous_owner)
        if previous and is_about_previous(claim, previous, owner):
            return self.resolution.current(previous.conversation_id)
        if previous and claim.permanent_keys() and claim.at is None:
            return None  # without a time it may mean any of the phone's owners
        for form in [key] if owner else key.variants():
            if self._may_mean(claim, key, form):
                return self.resolution.owner(form)
        return None

    def is_new_owner(self, claim: IdentityClaim) -> bool:
        """Whether its phone was somebody else's until now: who has it is a person of their own."""
        key = claim.phone_key()
        owner = self.resolution.owners.get(key) if key else None
        if not key or not owner or not claim.permanent_keys():
            return False
        return takes_over(claim, owner) and not self.is_outdated(claim, key)

    def is_outdated(self, claim: IdentityClaim, key: Key) -> bool:
        """Whether the phone is no longer theirs by what is known, or may no longer be."""
        if claim.gives_up(key) or self.resolution.superseded_at(claim):
            return True
        previous = self.resolution.owners.get(key.previous_owner)
        return previous is not None and is_before_handover(
            claim, previous, has_owner=key in self.resolution.owners
        )

    def _may_mean(self, claim: IdentityClaim, key: Key, form: Key) -> bool:
        owner = self.resolution.owners.get(form)
        if owner is None:
            return False
        superseded_at = self.resolution.superseded_at(claim)
        if superseded_at and not (owner.seen_at and owner.seen_at <= superseded_at):
            return False
        return not claim.is_change or fits_change(claim, key, owner)

    def _combine(
        self, claim: IdentityClaim, found: str | None, owner: str | None, key: Key | None = None
    ) -> str | None:
        """The conversation found so far and the one that another key leads to, as one.

        Somebody without a BSUID is the same person; somebody with another BSUID is not.
        """
        if owner is None or owner == found:
            return found
        with_bsuid = self.resolution.with_bsuid
        has_bsuid = bool(claim.permanent_keys())
        if found is None:
            is_other = has_bsuid and owner in with_bsuid and not claim.is_known_by_old(key)
            return None if is_other else owner
        if owner not in with_bsuid:
            return self.resolution.unite(claim, owner, found)
        if found not in with_bsuid and not has_bsuid:
            return self.resolution.unite(claim, found, owner)
        return found

    def _addressee(self, claim: IdentityClaim) -> str | None:
        """Whom the message of ours went to that a status speaks of."""
        if claim.message_id is None:
            return None
        sent_to = self.resolution.addressees.get((claim.chatbot_id, claim.message_id))
        return self.resolution.current(sent_to) if sent_to else None
