"""Who is who: the identities that Meta shows of a person, or of a group, lead to one conversation each."""

from dataclasses import dataclass

from service.db import columns, execute, fetch, new_id

LOOK_UP = """
SELECT i.chatbot_id, i.kind, i.value, i.conversation_id FROM conversation_identity i
JOIN unnest(%s::text[], %s::text[], %s::text[]) AS wanted (chatbot_id, kind, value) USING (chatbot_id, kind, value)
"""
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
    'SELECT 1 FROM conversation WHERE id IN (%(target)s, %(source)s) ORDER BY id FOR UPDATE',
    'UPDATE message SET conversation_id = %(target)s WHERE conversation_id = %(source)s',
    'UPDATE conversation_identity SET conversation_id = %(target)s WHERE conversation_id = %(source)s',
    """
    UPDATE conversation t SET last_inbound_at = greatest(t.last_inbound_at, s.last_inbound_at),
      last_message_at = greatest(t.last_message_at, s.last_message_at), wa_id = coalesce(t.wa_id, s.wa_id),
      reply_due_at = least(t.reply_due_at, s.reply_due_at), paused_until = greatest(t.paused_until, s.paused_until)
    FROM conversation s WHERE t.id = %(target)s AND s.id = %(source)s
    """,
    'DELETE FROM conversation WHERE id = %(source)s',
)


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


def resolve(identities):
    """{identity: conversation_id}, creating what is new. Call it first in a transaction.

    Known people cost one SELECT. Only for new or changed ones the accounts are locked, in order, so that two workers
    neither create a person twice nor wait for each other in a circle.
    """
    known = _look_up({key for identity in identities for key in identity.known_by()})
    settled = {identity: _agreed(identity, known) for identity in identities}
    open_ = [identity for identity, found in settled.items() if not found]
    if open_:
        for chatbot_id in sorted({identity.chatbot_id for identity in open_}):
            execute('SELECT pg_advisory_xact_lock(hashtextextended(%s, 2))', (chatbot_id,))
        settlement = _Settlement(open_)
        settled |= settlement.run()
        settled = {identity: settlement.merged.get(found, found) for identity, found in settled.items()}
    return settled


def _look_up(keys):
    rows = fetch(LOOK_UP, columns(sorted(keys))) if keys else []
    return {row[:3]: row[3] for row in rows}


def _agreed(identity, known):
    """The conversation that all keys of an identity lead to, else None."""
    found = {known.get(key) for key in identity.known_by()}
    return found.pop() if len(found) == 1 else None


class _Settlement:
    """Decides who is who for identities that are new or have changed, under their accounts' locks.

    The BSUID says who somebody is; the phone comes and goes with it (section 4.3). A number that arrives with another
    BSUID than before belongs to a new person now, and the earlier conversation loses it.
    """

    def __init__(self, identities):
        self.identities, self.merged = identities, {}
        self.known = _look_up({key for identity in identities for key in identity.known_by()})
        self.with_bsuid = {row[0] for row in fetch(WITH_BSUID, (list(set(self.known.values())),))}
        self.created, self.moved = {}, {}

    def run(self):
        settled = {identity: self._settle(identity) for identity in self.identities}
        self._write()
        return settled

    def _settle(self, identity):
        found = {key[1]: self.known.get(key) for key in identity.known_by()}
        conversation = self._choose(found, bool(identity.user)) or self._create(identity)
        for key in identity.known_by():
            self._assign(key, conversation)
        return conversation

    def _choose(self, found, has_user):
        by_user, by_phone = found.get('user'), found.get('phone')
        if by_user and by_phone and by_user != by_phone and by_phone not in self.with_bsuid:
            return self._merge(by_phone, by_user)
        if not by_user and by_phone and has_user and by_phone in self.with_bsuid:
            return None  # the number has a new owner
        return found.get('group') or by_user or by_phone

    def _create(self, identity):
        conversation = new_id()
        self.created[conversation] = identity
        return conversation

    def _assign(self, key, conversation):
        if key[1] == 'user':
            self.with_bsuid.add(conversation)
        if self.known.get(key) != conversation:
            self.known[key] = self.moved[key] = conversation

    def _merge(self, source, target):
        """The phone's conversation turns out to be the same person's: it becomes part of the other."""
        self._write()
        for statement in MERGE:
            execute(statement, {'source': source, 'target': target})
        self.merged[source] = target
        self.known = {
            key: target if conversation == source else conversation for key, conversation in self.known.items()
        }
        return target

    def _write(self):
        if self.created:
            execute(CREATE, columns([self._row(new, identity) for new, identity in self.created.items()]))
        if self.moved:
            moved = columns([(*key, conversation) for key, conversation in self.moved.items()])
            execute(LOSE_PHONE, moved)
            execute(ASSIGN, moved)
        self.created, self.moved = {}, {}

    def _row(self, new, identity):
        keeps_phone = self.known.get((identity.chatbot_id, 'phone', identity.phone)) == new
        return new, identity.chatbot_id, identity.phone if keeps_phone else None, identity.user, identity.group
