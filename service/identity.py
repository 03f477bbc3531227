"""Who is who: the identities that Meta shows of a person, or of a group, lead to one conversation each."""

from dataclasses import dataclass

from service.db import columns, db, execute, fetch, new_id
from service.phones import candidates, digits

LOOK_UP = """
SELECT i.chatbot_id, i.kind, i.value, i.conversation_id FROM conversation_identity i
JOIN unnest(%s::text[], %s::text[], %s::text[]) AS wanted (chatbot_id, kind, value) USING (chatbot_id, kind, value)
"""
LOOK_UP_AND_KEEP = f'{LOOK_UP} JOIN conversation c ON c.id = i.conversation_id ORDER BY c.id FOR KEY SHARE OF c'
HOLD = 'SELECT 1 FROM conversation WHERE id = ANY(%s::uuid[]) ORDER BY id FOR NO KEY UPDATE'
ONE_AT_A_TIME = 'SELECT pg_advisory_xact_lock(hashtextextended(%s, 2))'  # who is new or has changed, of a chatbot
WITH_BSUID = """
SELECT conversation_id FROM conversation_identity WHERE kind = 'user' AND conversation_id = ANY(%s::uuid[])
"""
CREATE = """
INSERT INTO conversation (id, chatbot_id, wa_id, user_id, group_id)
SELECT * FROM unnest(%s::uuid[], %s::text[], %s::text[], %s::text[], %s::text[])
"""
LOSE_PHONE = """
UPDATE conversation c SET wa_id = NULL
FROM unnest(%s::text[], %s::text[], %s::text[], %s::uuid[]) AS n (chatbot_id, kind, value, id)
JOIN conversation_identity i USING (chatbot_id, kind, value)
WHERE c.id = i.conversation_id AND i.kind = 'phone' AND c.wa_id = i.value AND n.id <> c.id
"""
ASSIGN = """
INSERT INTO conversation_identity (chatbot_id, kind, value, conversation_id)
SELECT * FROM unnest(%s::text[], %s::text[], %s::text[], %s::uuid[])
ON CONFLICT (chatbot_id, kind, value) DO UPDATE SET conversation_id = excluded.conversation_id
"""
MERGE = (
    'SELECT 1 FROM message WHERE conversation_id = %(source)s ORDER BY id FOR NO KEY UPDATE',
    'UPDATE message SET conversation_id = %(target)s WHERE conversation_id = %(source)s',
    'UPDATE conversation_identity SET conversation_id = %(target)s WHERE conversation_id = %(source)s',
    """
    UPDATE conversation t SET last_inbound_at = greatest(t.last_inbound_at, s.last_inbound_at),
      last_message_at = greatest(t.last_message_at, s.last_message_at), wa_id = coalesce(t.wa_id, s.wa_id),
      reply_due_at = least(t.reply_due_at, s.reply_due_at), paused_until = greatest(t.paused_until, s.paused_until),
      send_after = greatest(t.send_after, s.send_after),
      pair_free_at = greatest(t.pair_free_at, s.pair_free_at), name = coalesce(t.name, s.name),
      username = coalesce(t.username, s.username)
    FROM conversation s WHERE t.id = %(target)s AND s.id = %(source)s
    """,
    'UPDATE contact_event SET conversation_id = %(target)s WHERE conversation_id = %(source)s',
    'UPDATE conversation_merged SET conversation_id = %(target)s WHERE conversation_id = %(source)s',
    'INSERT INTO conversation_merged (id, conversation_id) VALUES (%(source)s, %(target)s)',
    'DELETE FROM conversation WHERE id = %(source)s',
)
HOLD_BOTH = 'SELECT id FROM conversation WHERE id IN %s ORDER BY id FOR UPDATE'


LEARN = """
INSERT INTO conversation_identity (chatbot_id, kind, value, conversation_id)
SELECT n.chatbot_id, 'phone', n.wa_id, n.conversation_id
FROM unnest(%s::text[], %s::text[], %s::uuid[]) AS n (chatbot_id, wa_id, conversation_id) ON CONFLICT DO NOTHING
"""


class TryAgain(Exception):
    """Who is who has changed: undo the transaction, `mend()`, and do it all again."""

    def mend(self):
        """What has to be done in between, in a transaction of its own."""


class TwoAreOne(TryAgain):
    """The conversation with a phone turns out to be that of a person who has another one with the BSUID."""

    def __init__(self, chatbot_id, source, target):
        super().__init__('two conversations are one')
        self.chatbot_id, self.source, self.target = chatbot_id, source, target

    def mend(self):
        """The phone's conversation becomes part of the other."""
        with db.atomic():
            execute(ONE_AT_A_TIME, (self.chatbot_id,))
            there = {row[0] for row in fetch(HOLD_BOTH, ((self.source, self.target),))}
            if there == {self.source, self.target} and not fetch(WITH_BSUID, ([self.source],)):
                for statement in MERGE:
                    execute(statement, {'source': self.source, 'target': self.target})


def learn(answers):
    """Meta made another wa_id of a number than was typed: it leads to the same conversation, unless it has one already.

    `answers`: [(chatbot_id, wa_id, conversation_id)], whose conversations the transaction has locked.
    """
    if answers:
        execute(LEARN, columns(sorted(set(answers))))


@dataclass(frozen=True, slots=True)
class Identity:
    """Whom a message came from or goes to, as far as it says: a group, or a person's phone and/or BSUID."""

    chatbot_id: str
    phone: str | None = None
    user: str | None = None
    group: str | None = None

    def known_by(self):
        if self.group:
            return [(self.chatbot_id, 'group', self.group)]
        return [(self.chatbot_id, kind, value) for kind, value in (('user', self.user), ('phone', self.phone)) if value]


def addressee(chatbot_id, message):
    """Whom a validated message (service.payloads) goes to."""
    if message.get('recipient_type') == 'group':
        return Identity(chatbot_id, group=message['to'])
    if 'to' in message:
        return Identity(chatbot_id, phone=digits(message['to']))
    return Identity(chatbot_id, user=message['recipient'])


def resolve(identities, hold=False):
    """{identity: conversation_id}, creating what is new. Call it first in a transaction.

    Known people cost one SELECT. For new or changed ones the accounts are locked, in order. With `hold` the rows of all
    conversations are locked as well, in order: everybody locks accounts, then conversations, then messages, so nobody
    waits for another in a circle. Raises TryAgain (with `hold`, or for an identity of both phone and BSUID).
    """
    known = _look_up({key for identity in identities for key in identity.known_by()}, keep=not hold)
    settled = {identity: _agreed(identity, known) for identity in identities}
    open_ = [identity for identity, found in settled.items() if not found]
    for chatbot_id in sorted({identity.chatbot_id for identity in open_}):
        execute(ONE_AT_A_TIME, (chatbot_id,))
    settlement = _Settlement(open_)
    settled |= settlement.run()
    if hold:
        _hold((set(settled.values()) | settlement.losers) - settlement.created.keys())
    settlement.write()
    return settled


def _look_up(keys, keep=False):
    rows = fetch(LOOK_UP_AND_KEEP if keep else LOOK_UP, columns(sorted(keys))) if keys else []
    return {row[:3]: row[3] for row in rows}


def _hold(conversations):
    """Lock the rows in the order that everybody keeps. One that is missing was merged since it was looked up."""
    if conversations and execute(HOLD, (sorted(conversations),)) < len(conversations):
        raise TryAgain('a conversation was merged')


def _agreed(identity, known):
    """The conversation that all keys of an identity lead to, else None."""
    found = {known.get(key) for key in identity.known_by()}
    return found.pop() if len(found) == 1 else None


def _variants(identity):
    """Other forms of the phone that may be the same one (Brazil, Mexico, Argentina): only to look a person up by."""
    forms = candidates(identity.phone)[1:] if identity.phone else []
    return [(identity.chatbot_id, 'phone', form) for form in forms]


class _Settlement:
    """Decides who is who for identities that are new or have changed, under their accounts' locks.

    The BSUID says who somebody is; the phone comes and goes with it (section 4.3). A number that arrives with another
    BSUID than before belongs to a new person now, and the earlier conversation loses it.
    """

    def __init__(self, identities):
        self.identities = identities
        self.known = _look_up({key for identity in identities for key in (*identity.known_by(), *_variants(identity))})
        found = list(set(self.known.values()))
        self.with_bsuid = {row[0] for row in fetch(WITH_BSUID, (found,))} if found else set()
        self.created, self.moved = {}, {}  # {conversation: chatbot_id}, {key: conversation}
        self.folded, self.losers = {}, set()

    def run(self):
        settled = {identity: self._settle(identity) for identity in self.identities}
        return {identity: self._now(conversation) for identity, conversation in settled.items()}

    def _settle(self, identity):
        found = {
            key[1]: self.known.get(key)
            for key in (*reversed(_variants(identity)), *identity.known_by())
            if key in self.known
        }
        conversation = self._choose(identity, found) or self._create(identity)
        for key in identity.known_by():
            self._assign(key, conversation)
        return conversation

    def _choose(self, identity, found):
        by_user, by_phone = found.get('user'), found.get('phone')
        if by_user and by_phone and by_user != by_phone and by_phone not in self.with_bsuid:
            return self._unite(identity.chatbot_id, by_phone, by_user)
        if not by_user and by_phone and identity.user and by_phone in self.with_bsuid:
            return None  # the number has a new owner
        return found.get('group') or by_user or by_phone

    def _create(self, identity):
        conversation = new_id()
        self.created[conversation] = identity.chatbot_id
        return conversation

    def _assign(self, key, conversation):
        if key[1] == 'user':
            self.with_bsuid.add(conversation)
        before = self.known.get(key)
        if before != conversation:
            if before and before not in self.created:
                self.losers.add(before)
            self.known[key] = self.moved[key] = conversation

    def _unite(self, chatbot_id, by_phone, by_user):
        """One that is new here becomes the other; two that are stored need a transaction of their own."""
        gone, kept = (by_phone, by_user) if by_phone in self.created else (by_user, by_phone)
        if gone not in self.created:
            raise TwoAreOne(chatbot_id, by_phone, by_user)
        del self.created[gone]
        self.folded[gone] = kept
        self.with_bsuid.add(kept)
        for keys in (self.known, self.moved):
            keys.update({key: kept for key, conversation in keys.items() if conversation == gone})
        return kept

    def _now(self, conversation):
        while conversation in self.folded:
            conversation = self.folded[conversation]
        return conversation

    def write(self):
        if self.created:
            execute(CREATE, columns(self._rows()))
        if self.moved:
            moved = columns([(*key, conversation) for key, conversation in self.moved.items()])
            execute(LOSE_PHONE, moved)
            execute(ASSIGN, moved)

    def _rows(self):
        values = {conversation: {} for conversation in self.created}
        for (_, kind, value), conversation in self.moved.items():
            if conversation in values:
                values[conversation][kind] = value
        return [
            (conversation, self.created[conversation], *(known.get(kind) for kind in ('phone', 'user', 'group')))
            for conversation, known in values.items()
        ]
