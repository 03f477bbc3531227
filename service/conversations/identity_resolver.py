"""Resolves the claims of people who are new or have changed, under their accounts' locks."""

from collections import defaultdict
from collections.abc import Sequence

from service.conversations import identity_store
from service.conversations.identity_assign import IdentityAssigner
from service.conversations.identity_claim import (
    PARENT,
    PHONE,
    PREVIOUS,
    USER,
    IdentityClaim,
    Key,
    in_order,
)
from service.conversations.identity_journal import IdentityJournal
from service.conversations.identity_match import IdentityMatcher
from service.conversations.identity_resolution import Resolution
from service.conversations.identity_store import IdentityOwner
from service.conversations.merge import MergeNeeded, MergesOfPerson
from service.runtime.ids import new_id


class IdentityResolver:
    """For claims in the order of arrival: run(), then lock `resolution.touched`, then write()."""

    def __init__(self, claims: Sequence[IdentityClaim]) -> None:
        self.claims = claims
        self.resolution = read(claims)
        self.matcher = IdentityMatcher(self.resolution)
        self.journal = IdentityJournal(self.resolution)
        self.assigner = IdentityAssigner(self.resolution, self.matcher, self.journal)

    def run(self) -> dict[IdentityClaim, str | None]:
        """The conversation of each claim; None for one that only updates and leads to nobody.

        Raises MergeNeeded.
        """
        found = {claim: self._resolve(claim) for claim in self.claims}
        resolution = self.resolution
        if resolution.merges:
            raise self._merge_needed(found)
        touched = {resolution.current(id_) for id_ in resolution.touched}
        resolution.touched = touched - resolution.created.keys()
        return {claim: id_ and resolution.current(id_) for claim, id_ in found.items()}

    def _merge_needed(self, found: dict[IdentityClaim, str | None]) -> MergeNeeded:
        current = self.resolution.current
        people: defaultdict[str, MergesOfPerson] = defaultdict(MergesOfPerson)
        for merge in self.resolution.merges:
            people[current(merge.target)].merges.append(merge)
        for claim, id_ in found.items():
            if id_ and current(id_) in people:
                people[current(id_)].claims.append(claim)
        return MergeNeeded(list(people.values()))

    def _resolve(self, claim: IdentityClaim) -> str | None:
        conversation_id = self.matcher.find(claim)
        if conversation_id is None:
            if claim.updates_only and not self.matcher.is_new_owner(claim):
                return None
            conversation_id = new_id()
            self.resolution.created[conversation_id] = claim.chatbot_id
        self.assigner.assign(claim, conversation_id)
        self.journal.describe(claim, conversation_id)
        return conversation_id

    def write(self) -> None:
        self.journal.write()


def read(claims: Sequence[IdentityClaim]) -> Resolution:
    """All that is known of the ids that claims name."""
    keys = {key for claim in claims for key in claim.keys}
    for key in [key for key in keys if key.kind in PREVIOUS]:
        keys |= {key.previous_owner, *key.variants()}
    misfiled = {_as_phone(key): key for key in keys if key.kind in (USER, PARENT)}
    owners = identity_store.find_owners(keys | misfiled.keys())
    refiled = {misfiled[key]: owners.pop(key) for key in in_order(owners.keys() & misfiled.keys())}
    missing = {
        key: IdentityOwner.of(key, owner.conversation_id, owner.seen_at)
        for key, owner in refiled.items()
        if key not in owners
    }
    owners |= missing
    message_ids = sorted({claim.message_id for claim in claims if claim.message_id})
    addressees = identity_store.find_addressees(message_ids)
    found = _conversations(owners, addressees)
    if found and any(claim.is_change for claim in claims):
        owners = identity_store.find_phones(found) | owners
    return Resolution(
        owners=owners,
        with_bsuid=identity_store.find_with_bsuid(found),
        addressees=addressees,
        ids_before=identity_store.find_shown_ids(found),
        touched={owner.conversation_id for owner in refiled.values()},
        moved=missing,
        freed={_as_phone(key) for key in refiled},
    )


def _as_phone(key: Key) -> Key:
    """Where a process of before version 7 stored a BSUID: it took it for a phone."""
    return Key(key.chatbot_id, PHONE, key.value)


def _conversations(
    owners: dict[Key, IdentityOwner], addressees: dict[tuple[str, str], str]
) -> list[str]:
    return sorted({owner.conversation_id for owner in owners.values()} | set(addressees.values()))
