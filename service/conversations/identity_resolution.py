"""Decides who is who for identities that are new or have changed, under their accounts' locks
(identity.py).

A BSUID leads to one person for ever. A phone, or a parent BSUID, comes and goes with it (section
4.3): evidence that names another BSUID takes it along when it is newer, by Meta's time, than the
latest that named the owner. What a phone was is kept (kind `former`), so that what comes late, or
again, neither takes it back nor finds the wrong person.
"""

from service.conversations import contact, identity_store
from service.conversations.contact import ContactEvent
from service.conversations.conversation import ShownIds
from service.conversations.identity_store import Owner, former, look_up, variants
from service.conversations.merge import MergeNeeded
from service.runtime.ids import new_id

NAMES = {'phone': 'phone', 'user': 'user_id', 'parent': 'parent_user_id'}  # in the history


class Settlement:
    """`identities` in the order of arrival. run(), then hold `touched`, then write()."""

    def __init__(self, identities):
        self.identities = identities
        self.created, self.touched = (
            {},
            set(),
        )  # {conversation: chatbot_id}, what is stored and changes
        self.moved, self.freed = {}, set()  # {key: Owner}, keys
        self.folded, self.merges = {}, []
        self.now, self.events = (
            {},
            {},
        )  # {conversation: {kind: value, 'at'}}, {(conversation, what, at): detail}
        self._read()

    def _read(self):
        keys = {key for identity in self.identities for key in identity.known_by()}
        keys |= {
            other
            for key in keys
            if key[1] in ('phone', 'user')
            for other in (*variants(key), former(key))
        }
        misfiled = {(key[0], 'phone', key[2]): key for key in keys if key[1] in ('user', 'parent')}
        self.known = look_up(keys | misfiled.keys())
        for wrong in sorted(self.known.keys() & misfiled.keys()):
            self._refile(wrong, misfiled[wrong])
        about = sorted({identity.message_id for identity in self.identities if identity.message_id})
        self.sent_to = identity_store.sent_to(about)
        found = sorted(
            {owner.conversation for owner in self.known.values()} | set(self.sent_to.values())
        )
        if found and any(identity.is_change for identity in self.identities):
            self.known = identity_store.phones_of(found) | self.known
        self.with_bsuid = identity_store.with_bsuid(found)
        current = identity_store.current(found)
        self.before = {
            person: dict(zip(NAMES, ids, strict=True)) for person, ids in current.items()
        }

    def _refile(self, wrong, right):
        """A process of before version 7, which ran beside the release, took a BSUID for a phone."""
        owner = self.known.pop(wrong)
        self.freed.add(wrong)
        self.touched.add(owner.conversation)
        if right not in self.known:
            self.known[right] = self.moved[right] = owner

    def run(self):
        """{identity: conversation}, None for one that is only learnt from and says nothing.

        Raises MergeNeeded.
        """
        settled = {identity: self._settle(identity) for identity in self.identities}
        if self.merges:
            raise MergeNeeded(self.merges)
        self.touched = {self._now(person) for person in self.touched} - self.created.keys()
        return {identity: self._now(person) for identity, person in settled.items()}

    def _settle(self, identity):
        person = self._person(identity)
        if person is None and identity.updates_only and not self._has_new_owner(identity):
            return None
        person = person or self._create(identity)
        for key in identity.known_by():
            self._claim(identity, key, person)
        if identity.is_change and identity.at:
            self._free(identity, person)
        if identity.phone and (replaced := self._replaced(identity)):
            self._end(identity, (identity.chatbot_id, 'phone', identity.phone), person, replaced)
        self._describe(identity, person)
        return person

    def _has_new_owner(self, identity):
        """A phone that we knew somebody else by: whoever has it now is a person of their own."""
        key = (identity.chatbot_id, 'phone', identity.phone)
        owner = self.known.get(key)
        is_newer = owner and identity.certain() and self._is_later(identity, owner)
        return is_newer and not self._is_past(identity, key)

    def _create(self, identity):
        person = new_id()
        self.created[person] = identity.chatbot_id
        return person

    # ---- whom an identity leads to

    def _person(self, identity):
        found = None
        for key in identity.certain():
            owner = self._owner(key)
            found = (
                self._unite(identity, found, owner, certain=True)
                if found and owner
                else found or owner
            )
        for key in identity.uncertain():
            found = self._join(identity, found, self._leads_to(identity, key, found), key)
        return found or self._join(
            identity, None, self._now(self.sent_to.get((identity.chatbot_id, identity.message_id)))
        )

    def _join(self, identity, found, owner, key=None):
        """`found`, and whom else a phone leads to: somebody without a BSUID is the same, who has
        another one is not.
        """
        if owner in (None, found):
            return found
        if found is None:
            is_other = identity.certain() and owner in self.with_bsuid and not identity.had(key)
            return None if is_other else owner
        if owner not in self.with_bsuid:
            return self._unite(identity, owner, found)
        if found not in self.with_bsuid and not identity.certain():
            return self._unite(identity, found, owner)
        return found

    def _leads_to(self, identity, key, found):
        owner = self._owner(key)
        if key[1] != 'phone' or owner and owner == found:
            return owner
        if past := self.known.get(former(key)):
            is_old = identity.at and identity.at < past.seen_at
            is_tie = identity.at == past.seen_at and (
                identity.is_change or not identity.certain() and not owner
            )
            if is_old or is_tie:  # of a tie: the same news once more, or nobody else has it
                return self._now(past.conversation)
            if identity.certain() and not identity.at:
                return None  # of which of its owners it speaks, nobody knows
        forms = [key] if owner else variants(key)
        return next(
            (self._owner(form) for form in forms if self._may_be(identity, key, form)), None
        )

    def _may_be(self, identity, key, form):
        """Of a number that changed, the old one was theirs before the news, the new one is since."""
        owner = self.known.get(form)
        if owner is None:
            return False
        seen, at, replaced = owner.seen_at, identity.at, self._replaced(identity)
        if replaced and not (seen and seen <= replaced):
            return False
        if not identity.is_change:
            return True
        if key[2] == identity.phone:
            return bool(seen and at and seen >= at)
        return not seen or not at or seen <= at

    def _replaced(self, identity):
        """Since when an identity's BSUID has another one in its place: what it says of phones is no
        longer true.
        """
        end = self.known.get((identity.chatbot_id, 'replaced', identity.user))
        return end and end.seen_at

    def _unite(self, identity, gone, kept, certain=False):
        """Two are one. What is new here becomes the other; of two that are stored the younger,
        after this is undone.
        """
        if gone == kept:
            return kept
        if (
            kept in self.created
            and gone not in self.created
            or certain
            and gone < kept
            and gone not in self.created
        ):
            gone, kept = kept, gone
        if gone in self.created:
            del self.created[gone]
        else:
            self.merges.append((identity.chatbot_id, gone, kept, certain, identity.why))
        if gone in self.with_bsuid:
            self.with_bsuid.add(kept)
        if news := self.now.pop(gone, None):
            self.now[kept] = news | self.now.get(kept, {})
        self.folded[gone] = kept
        return kept

    def _now(self, person):
        while person in self.folded:
            person = self.folded[person]
        return person

    def _owner(self, key):
        owner = self.known.get(key)
        return owner and self._now(owner.conversation)

    # ---- what is theirs from now on

    def _claim(self, identity, key, person):
        owner = self.known.get(key)
        is_theirs = self._owner(key) == person
        if key[1] == 'phone' and not is_theirs and self._is_past(identity, key):
            return
        if owner is None:
            self._give(identity, key, person)
        elif is_theirs:
            is_later = (
                owner.seen_at is None
                or identity.user
                and identity.at
                and identity.at > owner.seen_at
            )
            if identity.at and is_later and not identity.had(key):
                self.known[key] = self.moved[key] = Owner(person, identity.at)
                self.touched.add(person)
        elif self._is_later(identity, owner):
            self._remember(
                key, self._now(owner.conversation), identity.at, is_seen=bool(owner.seen_at)
            )
            self._lose(identity, key)
            self._give(identity, key, person)
        else:
            self._remember(key, person, identity.at)

    @staticmethod
    def _is_later(identity, owner):
        """Within one second the one that comes later; without a time never."""
        return bool(identity.at) and (owner.seen_at is None or identity.at >= owner.seen_at)

    def _is_past(self, identity, key):
        """Whether a phone is no longer theirs, or it is not known whether it is; what they changed
        from is not.
        """
        if identity.had(key) or self._replaced(identity):
            return True
        past = self.known.get(former(key))
        if past is None:
            return False
        if not identity.certain() and not identity.is_change:
            is_old = identity.at and identity.at < past.seen_at
            return bool(is_old or identity.at == past.seen_at and key not in self.known)
        return not identity.at or identity.at <= past.seen_at

    def _give(self, identity, key, person):
        self.known[key] = self.moved[key] = Owner(person, identity.at)
        self.freed.discard(key)
        self.touched.add(person)
        if key[1] == 'user':
            self.with_bsuid.add(person)
        self._note(person, key, identity, target=key[2])

    def _lose(self, identity, key):
        loser = self._owner(key)
        self.touched.add(loser)
        self._note(loser, key, identity, source=key[2])
        del self.known[key]
        self.moved.pop(key, None)
        if self.now.get(loser, {}).get(key[1]) == key[2]:
            del self.now[loser][key[1]]

    def _remember(self, key, person, until, is_seen=True):
        """A phone was somebody's; of several who had it the last is known.

        Who was never seen with it, because it was only sent to, hides nobody who was.
        """
        past = None if key[1] == 'parent' else self.known.get(former(key))
        if key[1] != 'parent' and until and (past is None or is_seen and past.seen_at < until):
            self.known[former(key)] = self.moved[former(key)] = Owner(person, until)
            self.touched.add(person)

    def _free(self, identity, person):
        """Whoever changed numbers has the new one alone: what else was theirs is nobody's, until
        somebody writes.
        """
        chatbot_id, at = identity.chatbot_id, identity.at
        kept = {
            key[2] for key in identity.known_by() if key[1] == 'phone' and key[2] == identity.phone
        }
        kept |= {form[2] for value in list(kept) for form in variants((chatbot_id, 'phone', value))}
        phones = {(chatbot_id, *one) for one in identity.other_ids if one[0] == 'phone'}
        phones |= {
            key
            for key in self.known
            if key[:2] == (chatbot_id, 'phone') and self._owner(key) == person
        }
        for key in sorted(phones):
            if key[2] not in kept:
                self._end(identity, key, person, at)
        for key in identity.certain():
            if identity.had(key):
                self._remember(key, person, at)

    def _end(self, identity, key, person, at):
        """A phone was theirs until then, and is nobody's now, unless something newer is known of
        it.
        """
        owner, past = self.known.get(key), self.known.get(former(key))
        if owner and owner.seen_at and owner.seen_at > at or past and past.seen_at >= at:
            return
        if owner:
            self._lose(identity, key)
            self.freed.add(key)
        self._remember(key, person, at)

    # ---- what is shown of them, and written

    def _note(self, person, key, identity, source=None, target=None):
        what = NAMES.get(key[1])
        is_alias = target and key[1:] in identity.other_ids or identity.why == 'send'
        is_first = person in self.created and not identity.is_change and not source
        if what and not is_first and not is_alias:
            source = source or self.before.get(person, {}).get(key[1])
            detail = self.events.setdefault(
                (person, what, identity.why, identity.at), {'from': None, 'to': None}
            )
            detail['from'] = detail['from'] or (source if source != target else None)
            detail['to'] = target or detail['to']

    def _describe(self, identity, person):
        """The ids that are shown: the latest by Meta's time."""
        shown = self.now.setdefault(person, {'at': None})
        is_news = identity.at is not None and (shown['at'] is None or identity.at >= shown['at'])
        for key in identity.known_by():
            is_own = key[1:] not in identity.other_ids and not (
                key[1] == 'user' and former(key) in self.known
            )
            if is_own and self._owner(key) == person and (is_news or key[1] not in shown):
                shown[key[1]] = key[2]
        shown['at'] = identity.at if is_news else shown['at']

    def write(self):
        """Everything decided, in the caller's transaction, which holds `touched`."""
        created = [
            (person, chatbot_id, *self._shown(person, 'phone', 'user', 'parent', 'group', 'at'))
            for person, chatbot_id in self.created.items()
        ]
        moved = {
            key: Owner(self._now(owner.conversation), owner.seen_at)
            for key, owner in self.moved.items()
        }
        stored = sorted(self.touched & self.now.keys())
        shown = [
            ShownIds(person, *self._shown(person, 'at', 'phone', 'user', 'parent'))
            for person in stored
        ]
        identity_store.write(created, moved, self.freed, shown)
        events = [
            ContactEvent(self._now(person), 'identity', {'what': what, **detail, 'why': why}, at)
            for (person, what, why, at), detail in self.events.items()
        ]
        contact.add_events(events)

    def _shown(self, person, *kinds):
        shown = self.now.get(person, {})
        return [shown.get(kind) for kind in kinds]
