"""Conversations: who talks with which chatbot, by whatever identities Meta shows, and who waits for a reply."""

import json
from collections import defaultdict
from dataclasses import dataclass
from datetime import timedelta

from peewee import DateTimeField, Model, SmallIntegerField, TextField

from service.account import JSON
from service.db import db, execute, fetch, fetch_dicts, new_id
from service.errors import NotFound

WINDOW = timedelta(hours=24)  # customer-service window: free-form messages only within it (section 8)


class Conversation(Model):
    id = TextField(primary_key=True)
    chatbot_id = TextField()
    wa_id = TextField(null=True)
    user_id = TextField(null=True)
    parent_user_id = TextField(null=True)
    group_id = TextField(null=True)
    username = TextField(null=True)
    name = TextField(null=True)
    last_inbound_at = DateTimeField(null=True)
    last_message_at = DateTimeField(null=True)
    paused_until = DateTimeField(null=True)
    reply_due_at = DateTimeField(null=True)
    reply_attempts = SmallIntegerField()
    reply_error = JSON(null=True)
    created_at = DateTimeField()
    updated_at = DateTimeField()

    class Meta:
        database = db

    SHOWN = ('id', 'chatbot_id', 'wa_id', 'user_id', 'parent_user_id', 'group_id', 'username', 'name', 'last_inbound_at',
             'last_message_at', 'paused_until', 'reply_due_at', 'reply_attempts', 'reply_error', 'created_at', 'updated_at')  # fmt: skip

    @classmethod
    def find(cls, conversation_id):
        conversation = cls.get_or_none(cls.id == conversation_id)
        if conversation is None:
            raise NotFound('There is no such conversation.')
        return conversation

    def to_dict(self):
        from_inbound = self.last_inbound_at and self.last_inbound_at + WINDOW
        return {**{name: getattr(self, name) for name in self.SHOWN}, 'window_expires_at': from_inbound}


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
        settled |= _Settlement(open_).run()
    return settled


def _look_up(keys):
    if not keys:
        return {}
    chatbots, kinds, values = zip(*sorted(keys), strict=True)
    rows = fetch(
        'SELECT i.chatbot_id, i.kind, i.value, i.conversation_id FROM conversation_identity i JOIN '
        'unnest(%s::text[], %s::text[], %s::text[]) AS wanted (chatbot_id, kind, value) USING (chatbot_id, kind, value)',
        (list(chatbots), list(kinds), list(values)),
    )
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
        self.identities = identities
        self.known = _look_up({key for identity in identities for key in identity.known_by()})
        self.users = self._users_of(set(self.known.values()))
        self.created, self.moved = {}, {}

    def run(self):
        settled = {identity: self._settle(identity) for identity in self.identities}
        self._write()
        return settled

    def _users_of(self, conversations):
        rows = fetch(
            "SELECT conversation_id FROM conversation_identity WHERE kind = 'user' AND conversation_id = ANY(%s::uuid[])",
            (list(conversations),),
        )
        return {row[0] for row in rows}

    def _settle(self, identity):
        by_user, by_phone = (
            [self.known.get(key) for key in identity.known_by() if key[1] == kind] for kind in ('user', 'phone')
        )
        by_user, by_phone = next(iter(by_user), None), next(iter(by_phone), None)
        if identity.group:
            conversation = self.known.get(identity.known_by()[0]) or self._create(identity)
        elif by_user and by_phone and by_user != by_phone and by_phone not in self.users:
            conversation = self._merge(by_phone, by_user)
        elif by_user:
            conversation = by_user
        elif by_phone and (not identity.user or by_phone not in self.users):
            conversation = by_phone
        else:
            conversation = self._create(identity)
        for key in identity.known_by():
            self._assign(key, conversation)
        return conversation

    def _create(self, identity):
        conversation = new_id()
        self.created[conversation] = identity
        return conversation

    def _assign(self, key, conversation):
        if key[1] == 'user':
            self.users.add(conversation)
        if self.known.get(key) != conversation:
            self.known[key] = self.moved[key] = conversation

    def _merge(self, source, target):
        """The phone's conversation turns out to be the same person's: it becomes part of the other."""
        if source in self.created or target in self.created:
            self._write()
        execute('SELECT 1 FROM conversation WHERE id = ANY(%s::uuid[]) ORDER BY id FOR UPDATE', ([source, target],))
        execute('UPDATE message SET conversation_id = %s WHERE conversation_id = %s', (target, source))
        execute('UPDATE conversation_identity SET conversation_id = %s WHERE conversation_id = %s', (target, source))
        execute(
            'UPDATE conversation t SET last_inbound_at = greatest(t.last_inbound_at, s.last_inbound_at), '
            'last_message_at = greatest(t.last_message_at, s.last_message_at), wa_id = coalesce(t.wa_id, s.wa_id), '
            'reply_due_at = least(t.reply_due_at, s.reply_due_at), paused_until = greatest(t.paused_until, s.paused_until) '
            'FROM conversation s WHERE t.id = %s AND s.id = %s',
            (target, source),
        )
        execute('DELETE FROM conversation WHERE id = %s', (source,))
        for key, conversation in list(self.known.items()):
            if conversation == source:
                self.known[key] = target
        return target

    def _write(self):
        self._write_conversations()
        if self.moved:
            chatbots, kinds, values = zip(*self.moved, strict=True)
            arguments = (list(chatbots), list(kinds), list(values), list(self.moved.values()))
            execute(
                'UPDATE conversation c SET wa_id = NULL FROM conversation_identity i '
                'JOIN unnest(%s::text[], %s::text[], %s::text[], %s::uuid[]) AS n (chatbot_id, kind, value, id) '
                "USING (chatbot_id, kind, value) WHERE c.id = i.conversation_id AND i.kind = 'phone' AND c.wa_id = i.value "
                'AND n.id <> c.id',
                arguments,
            )
            execute(
                'INSERT INTO conversation_identity (chatbot_id, kind, value, conversation_id) '
                'SELECT * FROM unnest(%s::text[], %s::text[], %s::text[], %s::uuid[]) '
                'ON CONFLICT (chatbot_id, kind, value) DO UPDATE SET conversation_id = excluded.conversation_id',
                arguments,
            )
        self.moved = {}

    def _write_conversations(self):
        rows = [(new, i.chatbot_id, i.phone, i.user, i.group) for new, i in self.created.items()]
        if rows:
            execute(
                'INSERT INTO conversation (id, chatbot_id, wa_id, user_id, group_id) '
                'SELECT * FROM unnest(%s::uuid[], %s::text[], %s::text[], %s::text[], %s::text[])',
                [list(column) for column in zip(*rows, strict=True)],
            )
        self.created = {}


def lock(conversation_ids):
    """Take the rows in the order that everybody takes them in: no two workers wait for each other in a circle."""
    execute(
        'SELECT 1 FROM conversation WHERE id = ANY(%s::uuid[]) ORDER BY id FOR NO KEY UPDATE',
        (sorted(conversation_ids),),
    )


def heard_from(news):
    """Update conversations from their customers' messages.

    `news`: {conversation_id: dict(at, wa_id, user_id, parent_user_id, username, name, reply_after)}; what is None keeps
    its value, `at` is Meta's time, `reply_after` the quiet seconds until a reply is asked for (None: none is).
    """
    if not news:
        return
    lock(news)
    columns = defaultdict(list)
    for conversation_id, row in news.items():
        columns['id'].append(conversation_id)
        for name in ('at', 'wa_id', 'user_id', 'parent_user_id', 'username', 'name', 'reply_after'):
            columns[name].append(row.get(name))
    execute(
        'UPDATE conversation c SET last_inbound_at = greatest(c.last_inbound_at, n.at), '
        'last_message_at = greatest(c.last_message_at, n.at), wa_id = coalesce(n.wa_id, c.wa_id), '
        'user_id = coalesce(n.user_id, c.user_id), parent_user_id = coalesce(n.parent_user_id, c.parent_user_id), '
        'username = coalesce(n.username, c.username), name = coalesce(n.name, c.name), updated_at = now(), '
        'reply_due_at = CASE WHEN n.reply_after IS NULL THEN c.reply_due_at '
        "ELSE clock_timestamp() + n.reply_after * interval '1 second' END, "
        'reply_attempts = CASE WHEN n.reply_after IS NULL THEN c.reply_attempts ELSE 0 END '
        'FROM unnest(%s::uuid[], %s::timestamptz[], %s::text[], %s::text[], %s::text[], %s::text[], %s::text[], %s::float8[]) '
        'AS n (id, at, wa_id, user_id, parent_user_id, username, name, reply_after) WHERE c.id = n.id',
        list(columns.values()),
    )


CLAIM_REPLIES = """
UPDATE conversation c SET reply_claim = %s, reply_lease_until = now() + %s * interval '1 second', reply_attempts = reply_attempts + 1
FROM (SELECT c.id, c.reply_due_at FROM conversation c JOIN whatsapp_cloud_account a USING (chatbot_id)
      WHERE c.reply_due_at <= now() AND a.active AND c.chatbot_id <> ALL(%s)
        AND (c.reply_lease_until IS NULL OR c.reply_lease_until < now()) AND (c.paused_until IS NULL OR c.paused_until < now())
      ORDER BY c.reply_due_at LIMIT %s FOR NO KEY UPDATE OF c SKIP LOCKED) due
WHERE c.id = due.id
RETURNING c.id, c.chatbot_id, c.reply_due_at, c.reply_claim, c.reply_attempts, c.wa_id, c.user_id, c.name
"""


def claim_replies(limit, lease, busy=()):
    """Conversations whose customer waits for a reply, leased for `lease` seconds; none of the `busy` chatbots."""
    return fetch_dicts(CLAIM_REPLIES, (new_id(), lease, list(busy), limit))


def reply_done(claimed):
    """The reply is queued (call it in that transaction). False when the claim is no longer ours: then queue nothing.

    Somebody who wrote while the responder was thinking moved reply_due_at, and is asked about again.
    """
    return bool(execute(
        'UPDATE conversation SET reply_claim = NULL, reply_lease_until = NULL, reply_error = NULL, reply_attempts = 0, '
        'reply_due_at = CASE reply_due_at WHEN %s THEN NULL ELSE reply_due_at END, updated_at = now() '
        'WHERE id = %s AND reply_claim = %s',
        (claimed['reply_due_at'], claimed['id'], claimed['reply_claim']),
    ))  # fmt: skip


def reply_failed(claimed, delay, error):
    """The responder gave nothing: ask again `delay` seconds from now or, with None, give up and show the error."""
    execute(
        'UPDATE conversation SET reply_claim = NULL, reply_lease_until = NULL, reply_error = %s, updated_at = now(), '
        "reply_due_at = CASE reply_due_at WHEN %s THEN now() + %s * interval '1 second' ELSE reply_due_at END "
        'WHERE id = %s AND reply_claim = %s',
        (json.dumps(error), claimed['reply_due_at'], delay, claimed['id'], claimed['reply_claim']),
    )
