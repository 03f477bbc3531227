"""Pure: when a claim means the owner of a phone, the owner before it, or takes it from them.

All compare Meta's times, which are whole seconds: what happens within one second has rules here.
"""

from service.conversations.identity_claim import IdentityClaim, Key
from service.conversations.identity_store import IdentityOwner


def takes_over(claim: IdentityClaim, owner: IdentityOwner) -> bool:
    """Whether a claim is newer than what is known of an owner; in the same second it is."""
    return claim.at is not None and (owner.seen_at is None or claim.at >= owner.seen_at)


def is_about_previous(claim: IdentityClaim, previous: IdentityOwner, owner: str | None) -> bool:
    """Whether a claim speaks of the time before the phone changed hands.

    In the same second it does when it tells of that very change, or when nobody has the phone now.
    """
    if claim.at is None or claim.at > previous.until:
        return False
    if claim.at == previous.until:
        return claim.is_change or not (claim.permanent_keys() or owner)
    return True


def is_before_handover(claim: IdentityClaim, previous: IdentityOwner, has_owner: bool) -> bool:
    """Whether a claim gives no right to a phone that changed hands: it is older, or may be.

    Without a BSUID, and no change, it means whoever has the phone at its time.
    """
    if claim.permanent_keys() or claim.is_change:
        return claim.at is None or claim.at <= previous.until
    if claim.at is None:
        return False
    return claim.at < previous.until or (claim.at == previous.until and not has_owner)


def fits_change(claim: IdentityClaim, key: Key, owner: IdentityOwner) -> bool:
    """Whether a change of number fits the owner of one of its phones.

    The old number was theirs before the change, the new one is since.
    """
    if key.value == claim.phone:
        return bool(owner.seen_at and claim.at and owner.seen_at >= claim.at)
    return not owner.seen_at or not claim.at or owner.seen_at <= claim.at
