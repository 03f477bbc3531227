"""Files that come with messages, as rows: expected, fetched by workers, kept in the storage or
given up.
"""

import json
import re
from contextlib import contextmanager
from datetime import timedelta

from peewee import BigIntegerField, BlobField, DateTimeField, SmallIntegerField, TextField

from service.graph.error_class import ErrorClass
from service.graph.error_codes import explain, look_up
from service.graph.error_shapes import errors_in, told_errors
from service.graph.outcome import OutcomeKind, error_from
from service.runtime.db import columns, db, execute, fetch_dicts, to_json
from service.runtime.errors import Conflict, NotFound
from service.runtime.ids import new_id
from service.runtime.model import JSON, Row
from service.runtime.queues import ERRANDS, RETRY, patient_delay, wake
from service.runtime.untrusted import as_dict, clean, digest_of, identifier

TYPES = frozenset(
    ('image', 'video', 'audio', 'voice', 'document', 'sticker')
)  # voice: of old, seen still
BRINGING = TYPES | {'unsupported', 'unknown'}  # of a message with a row in this table
DESCRIBING = ('mime_type', 'filename', 'sha256', 'status', 'url')  # fields of a file
UNAVAILABLE = 131052  # Meta could not take the file from the customer: over 100 MB (section 2)
KEPT = timedelta(days=7)  # by Meta, from the message on (section 6.3)
NOT_IN_NAMES = re.compile(
    '[\x00-\x1f\x7f\u200e\u200f\u202a-\u202e\u2066-\u2069]'
)  # nor what turns fdp.exe into exe.pdf


class Media(Row):
    NOUN = 'media'

    id = TextField(primary_key=True)
    chatbot_id = TextField()
    message_id = TextField(null=True)
    status = TextField()
    mime_type = TextField(null=True)
    filename = TextField(null=True)
    sha256 = BlobField(null=True)
    size = BigIntegerField(null=True)
    storage_key = TextField(null=True)
    attempts = SmallIntegerField()
    error = JSON(null=True)
    due_at = DateTimeField(null=True)
    updated_at = DateTimeField()

    @classmethod
    def of_message(cls, message_id):
        media = cls.get_or_none(cls.message_id == message_id)
        if media is None:
            raise NotFound('There is no such message, or no media came with it.')
        return media


EXPECT = """
INSERT INTO media (id, chatbot_id, phone_number_id, message_id, meta_id, mime_type, filename, sha256, error, status,
  due_at)
SELECT n.*, CASE WHEN n.error IS NULL THEN 'fetching' ELSE 'failed' END, CASE WHEN n.error IS NULL THEN now() END
FROM unnest(%s::uuid[], %s::text[], %s::text[], %s::uuid[], %s::text[], %s::text[], %s::text[], %s::bytea[],
  %s::json[]) AS n (id, chatbot_id, phone_number_id, message_id, meta_id, mime_type, filename, sha256, error)
ON CONFLICT (message_id) DO NOTHING
"""


def expect(stored):
    """Write a row for each file of new messages, [(message id, item)]; in their transaction."""
    rows = [row for one in stored if (row := _row(*one))]
    if rows:
        execute(EXPECT, columns(rows))
        db.after_commit(lambda: wake(ERRANDS))


def _row(message_id, item):
    """The columns of EXPECT, None for a message without a file."""
    data = item.data
    kind = data.get('type') if isinstance(data.get('type'), str) else None
    body = as_dict(data.get(kind)) if kind in TYPES else {}
    meta_id = identifier(body.get('id'))
    error = None if meta_id else _why_not_there(kind, told_errors(data)) or _nothing_given(body)
    if not meta_id and not error:
        return None
    return (
        new_id(),
        item.account.chatbot_id,
        item.phone_number_id,
        message_id,
        meta_id,
        clean(body.get('mime_type'), 255),
        file_name(body.get('filename')),
        digest_of(body.get('sha256')),
        to_json(error),
    )


def _why_not_there(kind, errors):
    """The error that Meta gives in the place of a file, also when it calls the message unsupported."""
    found = [
        error
        for error in map(error_from, errors_in(errors))
        if error['code'] is not None or error['details']
    ]
    return next((error for error in found if kind in TYPES or error['code'] == UNAVAILABLE), None)


def _nothing_given(body):
    """The error of a file that Meta describes without an id to fetch it by (`"status":
    "undownloaded"`, say).
    """
    if not any(clean(body.get(name)) for name in DESCRIBING):
        return None
    status = clean(body.get('status'), 64)
    details = f'Its status is "{status}".' if status else None
    return {
        'code': None,
        'title': 'Meta gave no file with this message',
        'details': details,
        'fbtrace_id': None,
        'cause': UNAVAILABLE,
    }


def file_name(value):
    """What a person called a file, without the folders and control characters that nobody should
    follow.
    """
    value = NOT_IN_NAMES.sub('', clean(value) or '').replace('\\', '/').rsplit('/', 1)[-1].strip()
    return value[:255] if value.strip('.') else None


NEXT_DUE = "SELECT min(due_at) FROM media WHERE status = 'fetching'"
# One that is claimed shows no error: what has one is waiting, and a release may call it.
CLAIM = """
WITH due AS (
  SELECT id FROM media WHERE status = 'fetching' AND due_at <= now() ORDER BY due_at LIMIT %s FOR UPDATE SKIP LOCKED)
UPDATE media x SET due_at = now() + %s * interval '1 second', attempts = least(x.attempts + 1, 32767), error = NULL
FROM due, message m, whatsapp_cloud_account a
WHERE x.id = due.id AND m.id = x.message_id AND a.chatbot_id = x.chatbot_id
RETURNING x.id, x.chatbot_id, x.phone_number_id, x.message_id, x.meta_id, x.mime_type, x.sha256, x.attempts,
  x.created_at, a.access_token, m.type, m.content, least(coalesce(m.timestamp, x.created_at), now()) AS written_at
"""
RENEW = """
UPDATE media SET due_at = now() + %s * interval '1 second'
WHERE id = %s AND attempts = %s AND status = 'fetching'
"""
RECORD = """
UPDATE media x SET status = n.status, due_at = now() + n.wait * interval '1 second', error = n.error,
  mime_type = coalesce(x.mime_type, n.mime_type), sha256 = coalesce(n.sha256, x.sha256),
  size = coalesce(n.size, x.size), storage_key = coalesce(n.storage_key, x.storage_key), updated_at = now()
FROM unnest(%s::uuid[], %s::int[], %s::text[], %s::float8[], %s::json[], %s::text[], %s::bytea[], %s::bigint[],
  %s::text[]) AS n (id, attempts, status, wait, error, mime_type, sha256, size, storage_key)
WHERE x.id = n.id AND x.attempts = n.attempts AND x.status = 'fetching'
"""
AGAIN = """
UPDATE media SET status = 'fetching', due_at = now(), attempts = 0, error = NULL, updated_at = now()
WHERE id = %s AND meta_id IS NOT NULL
  AND (status = 'failed' OR status = 'fetching' AND error IS NOT NULL OR status = 'stored' AND %s)
"""


def claim(limit, lease):
    """Lease what is due, and count the attempt; rows as dicts, with the token and what the message
    says of the file.
    """
    with _without_haste():
        return fetch_dicts(CLAIM, (limit, lease))


def renew(row, lease):
    """Keep a claim for another while. False when it is somebody else's by now."""
    return bool(execute(RENEW, (lease, row['id'], row['attempts'])))


def record(results):
    """Write what became of claimed rows: [(row, facts of a stored file, None)] or [(row, None,
    Outcome)].
    """
    with _without_haste():
        execute(
            RECORD,
            columns([_outcome(*one) for one in sorted(results, key=lambda one: one[0]['id'])]),
        )


@contextmanager
def _without_haste():
    """A transaction that nobody waits for on the disk: should its last moment be lost, the file is
    fetched again.
    """
    with db.atomic():
        execute('SET LOCAL synchronous_commit = off')
        yield


def _outcome(row, stored, outcome):
    """The columns of RECORD."""
    mine = row['id'], row['attempts']
    if stored:
        return *mine, 'stored', None, None, stored.mime_type, stored.sha256, stored.size, stored.key
    return (
        *mine,
        'failed' if outcome.delay is None else 'fetching',
        outcome.delay,
        json.dumps(outcome.error),
        *[None] * 4,
    )


def delay_after(outcome, row, now):
    """Seconds until the next attempt, None when there is no use in one."""
    if outcome.kind == OutcomeKind.FAILED:
        return None
    done_quickly = (
        RETRY.max if outcome.kind == OutcomeKind.HELD else 0
    )  # a new token, or a resume, is sooner
    delay = max(patient_delay(row['attempts'] + done_quickly), outcome.delay or 0)
    is_late = now + timedelta(seconds=delay) > row['written_at'] + KEPT
    return None if is_late and row['attempts'] > RETRY.max else delay


GO_ON = """
UPDATE media SET due_at = now() WHERE id IN (
  SELECT id FROM media WHERE status = 'fetching' AND error IS NOT NULL
    AND phone_number_id = coalesce(%s, phone_number_id) ORDER BY id FOR NO KEY UPDATE SKIP LOCKED)
"""


def go_on(phone_number_id: str | None) -> int:
    """Meta is back, for a number or for all (None): what has failed is due now.

    Returns how many.
    """
    return execute(GO_ON, (phone_number_id,))


# Not what a worker has in hand: that shows no error.
ACCOUNT_GOES_ON = """
UPDATE media SET due_at = now(), updated_at = now()
WHERE chatbot_id = %s AND status = 'fetching' AND error IS NOT NULL
"""


def account_goes_on(chatbot_id: str) -> None:
    """Whatever held the account is mended: what has failed is due now."""
    execute(ACCOUNT_GOES_ON, (chatbot_id,))


def fetch_again(media, is_lost=False):
    """A person asks for it; one that a worker has in hand is left to it.

    Raises Conflict when it cannot be.

    `is_lost`: it was stored, and the storage has it no more.
    """
    if not execute(AGAIN, (media.id, is_lost)) and media.status != 'fetching':
        why = (
            'The file is stored already.'
            if media.status == 'stored'
            else 'Meta gave no file with this message.'
        )
        raise Conflict(why)


def of_messages(messages):
    """{message id: its media as callers see it}; what was sent by us has none, and costs no query."""
    ids = [
        one.id
        for one in messages
        if (one.direction == 'inbound' or one.echo) and one.type in BRINGING
    ]
    found = Media.select().where(Media.message_id.in_(ids)) if ids else ()
    return {media.message_id: serialize(media) for media in found}


STILL_TRIED = 'Nothing to do: it is tried again by itself.'


def serialize(media):
    error = media.error and dict(media.error)
    cause = error and error.pop('cause', None)
    code = cause or (error and error['code'])
    sentences = explain(code) if error else {'explanation': None, 'fix': None}
    if (
        error and media.status == 'fetching' and look_up(code).error_class == ErrorClass.PERMANENT
    ):  # not given up yet
        sentences['fix'] = STILL_TRIED
    return {
        **{
            name: getattr(media, name) for name in ('id', 'status', 'mime_type', 'size', 'filename')
        },
        'sha256': media.sha256 and bytes(media.sha256).hex(),
        'url': f'/whatsapp-cloud/messages/{media.message_id}/media',
        'error': error,
        **sentences,
    }
