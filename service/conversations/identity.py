"""Who is who: the identities that Meta shows of a person, or of a group, lead to one conversation
each.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

from service.content.person_id import named
from service.conversations.identity_resolution import Settlement
from service.conversations.identity_store import look_up
from service.conversations.merge import IdentityConflict, lock_accounts
from service.runtime.db import columns, db, execute

KEEP = 'SELECT 1 FROM conversation WHERE id = ANY(%s::uuid[]) ORDER BY id FOR KEY SHARE'
HOLD = 'SELECT 1 FROM conversation WHERE id = ANY(%s::uuid[]) ORDER BY id FOR NO KEY UPDATE'
DAY = timedelta(days=1)
# The newest evidence is written down once a day: any moment within the time that a phone is
# somebody's is enough to tell it from what came before and after.
TOUCH = """
UPDATE conversation_identity i SET seen_at = n.at
FROM unnest(%s::text[], %s::text[], %s::text[], %s::uuid[], %s::timestamptz[])
  AS n (chatbot_id, kind, value, conversation_id, at)
WHERE (i.chatbot_id, i.kind, i.value, i.conversation_id) = (n.chatbot_id, n.kind, n.value, n.conversation_id)
  AND (i.seen_at IS NULL OR i.seen_at < n.at)
"""


@dataclass(frozen=True, slots=True)
class IdentityClaim:
    """Whom a message came from or goes to, as far as it says: a group, or a person's phone, BSUID
    and parent BSUID.

    `at`: Meta's time of it; without one it takes no phone from anybody. `why`: for the history.
    `other_ids`: further (kind, value) of the same person; those of a change one are what they had
    before. `updates_only`: nobody is new by it, known people are only known better; then `message_id` may be
    the message it speaks of. `lock`: more than that is going to be written of them, so their row is
    locked with the others', in order.
    """

    chatbot_id: str
    phone: str | None = None
    user: str | None = None
    group: str | None = None
    parent: str | None = None
    at: datetime | None = None
    why: str = 'message'
    other_ids: tuple = ()
    is_change: bool = False
    updates_only: bool = False
    message_id: str | None = None
    lock: bool = False

    def known_by(self):
        if self.group:
            return [(self.chatbot_id, 'group', self.group)]
        own = (('user', self.user), ('parent', self.parent), ('phone', self.phone))
        return [(self.chatbot_id, kind, value) for kind, value in (*own, *self.other_ids) if value]

    def certain(self):
        """What leads to one person, or group, for ever."""
        return [key for key in self.known_by() if key[1] in ('user', 'group')]

    def uncertain(self):
        """What comes and goes; of what changed, the earlier ones first."""
        earlier = [(self.chatbot_id, *one) for one in self.other_ids]
        keys = [key for key in self.known_by() if key[1] in ('parent', 'phone')]
        return sorted(keys, key=lambda key: key not in earlier) if self.is_change else keys

    def had(self, key):
        """Whether it says that they had this before, and no longer have."""
        return key is not None and self.is_change and key[1:] in self.other_ids


def addressee(chatbot_id, message):
    """Whom a validated message (service.content.message_schema) goes to."""
    if message.get('recipient_type') == 'group':
        return IdentityClaim(chatbot_id, group=message['to'], why='send')
    return IdentityClaim(chatbot_id, **named(message.get('to') or message['recipient']), why='send')


def resolve(identities, hold=False):
    """{identity: conversation_id}, creating what is new. Call it first in a transaction, and once.

    Known people cost one SELECT. For new or changed ones the accounts are locked, in order. With
    `hold` the rows of all conversations are locked as well, in order: everybody locks accounts,
    then conversations, then messages, so nobody waits for another in a circle. One that is only
    learnt from may come out as None. Raises IdentityConflict (with `hold`).
    """
    identities = dict.fromkeys(identities)
    alone = not hold and len(identities) == 1  # nobody to wait for while a row is held
    known = look_up({key for identity in identities for key in _looked_up(identity)}, keep=alone)
    settled = {identity: _agreed(identity, known) for identity in identities}
    open_ = _open(settled, known)
    lock_accounts(identity.chatbot_id for identity in open_)
    settlement = Settlement(open_)
    settled |= settlement.run()
    if not _lock(settled, settlement, hold, alone):
        if hold:
            raise IdentityConflict('a conversation was merged')
        return resolve(identities)
    settlement.write()
    if hold:
        _touch(identities, known)
    return settled


def _lock(settled, settlement, hold, alone):
    """Conversations in the order that everybody keeps.

    False when one is gone: merged since it was looked up.
    """
    people = {
        found
        for identity, found in settled.items()
        if found and (identity.lock or not identity.updates_only)
    }
    people -= settlement.created.keys()
    if settlement.touched:
        wanted, lock = settlement.touched if alone else people | settlement.touched, HOLD
    else:
        wanted, lock = set() if alone else people, HOLD if hold else KEEP
    return not wanted or execute(lock, (sorted(wanted),)) == len(wanted)


def link(identities, resolve_conflict):
    """Link what is learnt of known people, in transactions of its own.

    `resolve_conflict`: sending/holds.resolve_conflict.
    """
    while True:
        try:
            with db.atomic():
                resolve(identities, hold=True)
            return
        except IdentityConflict as conflict:
            resolve_conflict(conflict)


def _looked_up(identity):
    keys = identity.known_by()
    if identity.phone and identity.at and not identity.user:
        keys.append((identity.chatbot_id, 'former', identity.phone))
    return keys


def _agreed(identity, known):
    """The conversation that all keys of an identity lead to, else None."""
    if identity.is_change:
        return None
    past = known.get((identity.chatbot_id, 'former', identity.phone))
    if past and not identity.user and identity.at and identity.at < past.seen_at:
        return None
    owners = [known.get(key) for key in identity.known_by()]
    if (
        identity.updates_only
        and identity.user
        and identity.at
        and any(owner and owner.seen_at is None for owner in owners)
    ):
        return None  # the first time that they are seen together is written down
    found = {owner and owner.conversation for owner in owners}
    return found.pop() if len(found) == 1 else None


def _open(settled, known):
    """What has to be settled, in the order of arrival: who is new or has changed, and what else
    speaks of them.
    """
    open_ = {
        identity for identity, found in settled.items() if not found and _matters(identity, known)
    }
    near = {
        known[key].conversation for identity in open_ for key in identity.known_by() if key in known
    }
    return [identity for identity, found in settled.items() if identity in open_ or found in near]


def _matters(identity, known):
    return (
        not identity.updates_only
        or bool(identity.message_id)
        or any(key in known for key in identity.known_by())
    )


def _touch(identities, known):
    """Note when people were last seen, of phones and BSUIDs that came together; to the day."""
    seen = {}
    for identity in identities:
        if identity.phone and identity.at and not identity.updates_only:
            for key in identity.known_by():
                owner = known.get(key)
                if owner and (
                    owner.seen_at is None or identity.user and identity.at - owner.seen_at > DAY
                ):
                    row = (*key, owner.conversation)
                    seen[row] = max(identity.at, seen.get(row, identity.at))
    if seen:
        execute(TOUCH, columns([(*row, seen[row]) for row in sorted(seen)]))
