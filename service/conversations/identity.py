"""Who is who: the ids that Meta shows of a person, or of a group, lead to one conversation each."""

from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from functools import partial
from typing import cast

from service.conversations import locked_people
from service.conversations.identity_claim import PREVIOUS_PHONE, IdentityClaim, Key, in_order
from service.conversations.identity_resolver import IdentityResolver
from service.conversations.identity_store import (
    IdentityOwner,
    find_owners,
    update_seen_at,
)
from service.conversations.locked_people import PATIENCE, PeopleLocked
from service.conversations.merge import IdentityConflict, lock_accounts
from service.runtime.db import db, execute
from service.runtime.prepared import Prepared
from service.runtime.session import lock_waits

KEEP_CONVERSATIONS = Prepared("""
SELECT 1 FROM conversation WHERE id = ANY(%s::uuid[]) ORDER BY id FOR KEY SHARE
""")
LOCK_CONVERSATIONS = Prepared("""
SELECT 1 FROM conversation WHERE id = ANY(%s::uuid[]) ORDER BY id FOR NO KEY UPDATE
""")
# The newest time that a key was seen is written once a day: any moment within the time that a phone
# is somebody's is enough to tell it from what came before and after.
DAY = timedelta(days=1)

Owners = dict[Key, IdentityOwner]
Found = dict[IdentityClaim, str | None]


def resolve(claims: Iterable[IdentityClaim], hold: bool = False) -> dict[IdentityClaim, str]:
    """Find the conversation of each claim, or create it. Call it first in a transaction, and once.

    Known people cost one SELECT. For new or changed ones the accounts are locked, in order. With
    `hold` the rows of all conversations are locked as well, in order: everybody locks accounts,
    then conversations, then messages, so that nobody waits for another in a circle. A claim that
    only updates and leads to nobody is left out. Raises IdentityConflict (with `hold`), and
    PeopleLocked when somebody holds what it waits for.
    """
    claims = list(dict.fromkeys(claims))
    is_alone = not hold and len(claims) == 1  # nobody to wait for while a row is held
    keys = {key for claim in claims for key in _keys_to_find(claim)}
    owners = find_owners(keys, keep=is_alone)
    found = {claim: _find_known(claim, owners) for claim in claims}
    unresolved = _find_unresolved(found, owners)
    _lock_accounts(unresolved)
    resolver = IdentityResolver(unresolved)
    found |= resolver.run()
    if not _lock(found, resolver, hold, is_alone):
        if hold:
            raise IdentityConflict('a conversation was merged')
        return resolve(claims)
    resolver.write()
    if hold:
        _note_seen(claims, owners)
    return _without_strangers(found)


def _without_strangers(found: Found) -> dict[IdentityClaim, str]:
    if None in found.values():
        found = {claim: known for claim, known in found.items() if known}
    return cast(dict[IdentityClaim, str], found)


def link(
    claims: Iterable[IdentityClaim], resolve_conflict: Callable[[IdentityConflict], None]
) -> None:
    """Store what claims tell of known people, in transactions of its own.

    `resolve_conflict`: sending/holds.resolve_conflict. Raises PeopleLocked when it is done, if it
    has left out people for whose locks it would have had to wait.
    """
    left = list(claims)
    refusal: PeopleLocked | None = None
    with lock_waits(PATIENCE):
        while left:
            try:
                with db.atomic():
                    resolve(left, hold=True)
                break
            except IdentityConflict as conflict:
                resolve_conflict(conflict)
            except PeopleLocked as error:
                refusal = error
                locked = error.claims() or left
                left = [claim for claim in left if claim not in locked]
    if refusal:
        raise refusal


def _lock_accounts(unresolved: Iterable[IdentityClaim]) -> None:
    accounts: dict[str, list[IdentityClaim]] = {}
    for claim in unresolved:
        accounts.setdefault(claim.chatbot_id, []).append(claim)
    for chatbot_id, claims in sorted(accounts.items()):
        with locked_people.blame(partial(iter, claims)):
            lock_accounts([chatbot_id])


def _lock(found: Found, resolver: IdentityResolver, hold: bool, is_alone: bool) -> bool:
    """Lock conversations in the order that everybody keeps.

    False when one is gone: it was merged since it was found.
    """
    resolution = resolver.resolution
    people = {
        conversation_id
        for claim, conversation_id in found.items()
        if conversation_id and (claim.lock or not claim.updates_only)
    }
    people -= resolution.created.keys()
    wanted = resolution.touched if is_alone else people | resolution.touched
    if not wanted:
        return True
    lock = LOCK_CONVERSATIONS if hold or resolution.touched else KEEP_CONVERSATIONS
    whose = partial(locked_people.in_conversations, found, wanted, resolver.claims)
    with locked_people.blame(whose):
        return execute(lock, (sorted(wanted),)) == len(wanted)


def _keys_to_find(claim: IdentityClaim) -> tuple[Key, ...]:
    if claim.phone and claim.at and not claim.user:
        return (*claim.keys, Key(claim.chatbot_id, PREVIOUS_PHONE, claim.phone))
    return claim.keys


def _find_known(claim: IdentityClaim, owners: Owners) -> str | None:
    """The conversation that all keys of a claim lead to; None when it has to be resolved."""
    if claim.is_change or _is_before_handover(claim, owners):
        return None
    its_owners = [owners.get(key) for key in claim.keys]
    if _is_first_sight(claim, its_owners):
        return None
    found = {owner.conversation_id if owner else None for owner in its_owners}
    return found.pop() if len(found) == 1 else None


def _is_before_handover(claim: IdentityClaim, owners: Owners) -> bool:
    """Whether a phone without a BSUID speaks of the time before the phone changed hands."""
    if not claim.phone or claim.user or claim.at is None:
        return False
    previous = owners.get(Key(claim.chatbot_id, PREVIOUS_PHONE, claim.phone))
    return previous is not None and claim.at < previous.until


def _is_first_sight(claim: IdentityClaim, its_owners: Iterable[IdentityOwner | None]) -> bool:
    """Whether a status shows ids together that were never seen: that is written down."""
    if not (claim.updates_only and claim.user and claim.at):
        return False
    return any(owner and owner.seen_at is None for owner in its_owners)


def _find_unresolved(found: Found, owners: Owners) -> list[IdentityClaim]:
    """Claims of who is new or has changed, and others of the same people, in order of arrival."""
    unknown = {
        claim
        for claim, conversation_id in found.items()
        if not conversation_id and _matters(claim, owners)
    }
    concerned = {
        owners[key].conversation_id for claim in unknown for key in claim.keys if key in owners
    }
    return [claim for claim, known in found.items() if claim in unknown or known in concerned]


def _matters(claim: IdentityClaim, owners: Owners) -> bool:
    """Whether there is anything to resolve: not for one that only updates, of strangers."""
    if not claim.updates_only or claim.message_id:
        return True
    return any(key in owners for key in claim.keys)


def _note_seen(claims: Iterable[IdentityClaim], owners: Owners) -> None:
    """Note when people were last seen, of phones and BSUIDs that came together; to the day."""
    seen: dict[Key, datetime] = {}
    for claim in claims:
        if claim.phone and claim.at and not claim.updates_only:
            for key in claim.keys:
                owner = owners.get(key)
                if owner and _is_worth_noting(claim, owner):
                    seen[key] = max(claim.at, seen.get(key, claim.at))
    update_seen_at(
        [IdentityOwner.of(key, owners[key].conversation_id, seen[key]) for key in in_order(seen)]
    )


def _is_worth_noting(claim: IdentityClaim, owner: IdentityOwner) -> bool:
    if owner.seen_at is None:
        return True
    return bool(claim.user and claim.at and claim.at - owner.seen_at > DAY)
