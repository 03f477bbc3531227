"""A made-up history of messages, by SQL, and what it counts to by looking at every row."""

import json
import math
import random
import uuid
from collections import Counter
from datetime import UTC, datetime, timedelta

from service.runtime.db import connection
from service.stats import hourly
from tests.people import sql

START = datetime(2026, 11, 20, tzinfo=UTC)
END = START + timedelta(days=4)
LONG_AGO, MUCH_LATER = datetime(2020, 1, 1, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC)
CHATBOTS = ('acme', 'other')
WAITING = ('scheduled', 'queued', 'sending', 'unknown', 'held')
TAKEN = ('accepted', 'sent', 'delivered', 'read', 'played')
STATES = (*WAITING, *TAKEN, 'failed', 'cancelled', 'expired')
ERRORS = (
    {'code': 131026, 'title': 'Undeliverable', 'details': None, 'fbtrace_id': None},
    {'code': 131049, 'title': 'Not now \U0001f600', 'details': 'x', 'fbtrace_id': 'y'},
    {'code': None, 'title': 'No answer', 'cause': 'no_answer'},
    {},
)
INSERT = """
INSERT INTO message (id, chatbot_id, conversation_id, direction, phone_number_id, type, content,
  status, due_at, hold_reason, created_at, send_at, accepted_at, reply_wanted_at, echo, error)
SELECT r.id, r.chatbot_id, c.id, r.direction, '1', 'text', '{}', r.status, r.due_at, r.hold_reason,
  r.created_at, r.send_at, r.accepted_at, r.reply_wanted_at, r.echo, r.error
FROM json_populate_recordset(NULL::message, %s) r JOIN conversation c USING (chatbot_id)
"""
UPDATE = """
UPDATE message m SET status = r.status, due_at = r.due_at, hold_reason = r.hold_reason,
  accepted_at = r.accepted_at, error = r.error
FROM json_populate_recordset(NULL::message, %s) r WHERE m.id = r.id
"""


def make_accounts():
    for number, chatbot_id in enumerate(CHATBOTS):
        sql(
            'INSERT INTO whatsapp_cloud_account (chatbot_id, phone_number_id, access_token)'
            " VALUES (%s, %s, 'none')",
            chatbot_id,
            str(number),
        )
        sql(
            'INSERT INTO conversation (id, chatbot_id) VALUES (%s, %s)',
            str(uuid.uuid4()),
            chatbot_id,
        )


class History:
    """Messages that come and move at random, several in each statement."""

    def __init__(self, seed):
        self.random = random.Random(seed)
        self.messages = {}

    def moment(self):
        return START + timedelta(seconds=self.random.uniform(0, 3 * 86400))

    def id_at(self, at):
        """A UUIDv7 of that time."""
        low = 7 << 76 | 2 << 62 | self.random.getrandbits(60)
        return str(uuid.UUID(int=int(at.timestamp() * 1000) << 80 | low))

    def add(self, count):
        new = [self.message() for _ in range(count)]
        sql(INSERT, json.dumps(new, default=str))
        self.messages |= {message['id']: message for message in new}

    def message(self):
        created = self.moment()
        message = {
            'id': self.id_at(created),
            'chatbot_id': self.random.choice(CHATBOTS),
            'created_at': created,
            'echo': False,
            'accepted_at': None,
        }
        if self.random.random() < 0.3:
            return message | {'direction': 'inbound', 'status': 'received'}
        message['direction'] = 'outbound'
        if self.random.random() < 0.1:
            return message | {'status': 'sent', 'echo': True, 'accepted_at': created}
        if self.random.random() < 0.2:
            message['send_at'] = created + timedelta(seconds=self.random.uniform(-60, 600))
        if self.random.random() < 0.3:
            message['reply_wanted_at'] = created - timedelta(seconds=self.random.uniform(0, 9))
        return self.moved(message, self.random.choice(('queued', 'scheduled', 'held', 'failed')))

    def moved(self, message, status):
        """The message in another state."""
        accepted_at = message['accepted_at']
        if status in TAKEN and accepted_at is None:
            accepted_at = message['created_at'] + timedelta(seconds=self.random.expovariate(0.5))
        return message | {
            'status': status,
            'due_at': message['created_at'] if status in WAITING else None,
            'hold_reason': 'account' if status == 'held' else None,
            'accepted_at': accepted_at,
            'error': self.random.choice(ERRORS) if status == 'failed' else None,
        }

    def move(self, count):
        """Move some outbound messages to wherever, in one statement, back as well as forward."""
        out = [one for one in self.messages.values() if one['direction'] == 'outbound']
        out = [one for one in out if one['status'] != 'failed' or self.random.random() < 0.5]
        chosen = self.random.sample(out, min(count, len(out)))
        moved = [self.moved(one, self.random.choice(STATES)) for one in chosen]
        # one that has failed stays with its first error until it is tried again
        for one in moved:
            before = self.messages[one['id']]
            if before['status'] == one['status'] == 'failed':
                one['error'] = before['error']
        sql(UPDATE, json.dumps(moved, default=str))
        self.messages |= {one['id']: one for one in moved}


def bucket(seconds):
    """As delay_bucket() of schema.sql has it, to the last bit: else 0.25 s would be in another."""
    place = math.floor(2 / math.log(2) * math.log(32 * max(seconds, 0.01))) + 2
    return min(max(place, 1), hourly.BUCKETS)


ROWS = """
SELECT chatbot_id, direction, status, created_at, send_at, accepted_at, reply_wanted_at, echo, error
FROM message
"""


def counted_by_hand(chatbots, by):
    """Every row of the table, one by one: {(kind, at or key, counter): how many}."""
    found = Counter()
    for row in sql(ROWS):
        chatbot, direction, status, created, send_at, accepted, wanted, echo, error = row
        if chatbots is not None and chatbot not in chatbots:
            continue
        at = created.astimezone(UTC).replace(minute=0, second=0, microsecond=0)
        at = at if by == 'hour' else at.replace(hour=0)
        rank = {'sent': 1, 'delivered': 2, 'read': 3, 'played': 3}.get(status, 0)
        found['count', at, 'received' if direction == 'inbound' else 'outbound'] += 1
        found['count', at, 'accepted'] += accepted is not None
        for least, name in enumerate(('sent', 'delivered', 'read'), 1):
            found['count', at, name] += rank >= least
        found['count', at, 'failed'] += status == 'failed'
        if status == 'failed':
            found['failure', str(error.get('cause') or error.get('code') or ''), 0] += 1
        if accepted and not echo:
            begun = max(created, send_at or created)
            found['send', str(bucket((accepted - begun).total_seconds())), 0] += 1
        if accepted and wanted:
            found['reply', str(bucket((accepted - wanted).total_seconds())), 0] += 1
    return +found


def counted(chatbots, by, first=LONG_AGO, last=MUCH_LATER):
    """The same as the roll-up says it."""
    found = Counter()
    with connection():
        sums = hourly.read(chatbots, first, last, by)
    for one in sums:
        if one.kind == 'count':
            for name, count in zip(hourly.COUNTERS, one.counts, strict=True):
                found['count', one.at.astimezone(UTC), name] += count
        else:
            found[one.kind, one.key, 0] += one.counts[0]
    return +found


def differences():
    """Where the roll-up says something else than the rows; empty when it is right."""
    found = {}
    for chatbots in (None, ['acme'], ['other'], ['acme', 'other'], ['nobody']):
        for by in ('hour', 'day'):
            told, right = counted(chatbots, by), counted_by_hand(chatbots, by)
            wrong = {
                key: (told[key], right[key]) for key in told | right if told[key] != right[key]
            }
            if wrong:
                found[f'{chatbots} {by}'] = wrong
    return found
