"""Files that callers gave us to be sent, where messages name them, and Meta's ids for them (section
6.3).

An id of ours in a message is a UUID, anything else is Meta's. Meta's id of a file is a number's own
and good for 30 days; the row in media_upload says who fetches it: it is leased, and who comes too
late for it comes again.
"""

from dataclasses import asdict, dataclass

from service.content.fields import FREE_FORM
from service.content.file_names import for_people
from service.content.file_types import LIMITS, kind_of, plain_type
from service.runtime.db import columns, connection, db, execute, fetch, fetch_dicts
from service.runtime.errors import Invalid, NotFound
from service.runtime.ids import is_id

CARRIED = {
    **{kind: kind for kind in LIMITS},
    'gif': 'video',
}  # the key beside a file's id → the kind of the file
FILELESS = frozenset(
    ('text', 'location', 'contacts', 'reaction', 'pin')
)  # types of messages without files
GOOD_DAYS = 29  # of Meta's 30

INSERT = """
INSERT INTO media (id, chatbot_id, status, mime_type, channels, filename, sha256, size, storage_key)
VALUES (%(id)s, %(chatbot_id)s, 'stored', %(mime_type)s, %(channels)s, %(filename)s, %(sha256)s, %(size)s,
  %(storage_key)s)
"""
FIND = "SELECT * FROM media WHERE id = %s AND status = 'stored'"
AMONG = "SELECT id, mime_type, channels FROM media WHERE id = ANY(%s::uuid[]) AND chatbot_id = %s AND status = 'stored'"


@dataclass(frozen=True, slots=True)
class Uploaded:
    """A file that lies in the storage. `channels`: of Ogg with Opus, one or two."""

    id: str
    chatbot_id: str
    mime_type: str
    channels: int | None
    filename: str | None
    sha256: bytes
    size: int
    storage_key: str


def store(file: Uploaded) -> None:
    """Write its row."""
    execute(INSERT, asdict(file))


def find(media_id):
    """A file that may be sent, uploaded to us or come in, as callers see it. Raises NotFound."""
    rows = fetch_dicts(FIND, (media_id,))
    if not rows:
        raise NotFound('There is no such file.')
    row = rows[0]
    kind = kind_of(row['mime_type'])
    shown = {
        name: row[name]
        for name in ('id', 'chatbot_id', 'mime_type', 'size', 'filename', 'created_at')
    }
    return shown | {'sha256': bytes(row['sha256']).hex(), 'kinds': [kind] if kind else []}


def references(value, path=()):
    """Where a message, or a part of it, names files of ours: (path, kind, the object with the id)."""
    waiting = [(path, value)]
    while waiting:
        where, container = waiting.pop()
        for name, part in (
            container.items() if isinstance(container, dict) else enumerate(container)
        ):
            if not isinstance(part, dict | list) or name in FREE_FORM:
                continue
            if name in CARRIED and isinstance(part, dict) and is_id(part.get('id')):
                yield (*where, name, 'id'), CARRIED[name], part
            waiting.append(((*where, name), part))


def check(chatbot_id, messages, *path):
    """Whether the files that messages name are there and fit, with one query at most.

    Raises Invalid.
    """
    found = [reference for message in messages for reference in references(message, path)]
    if not found:
        return
    ids = {part['id'].lower() for _, _, part in found}
    with connection():
        known = {row['id']: row for row in fetch_dicts(AMONG, (list(ids), chatbot_id))}
    problems = {}
    for where, kind, part in found:
        if sentence := _problem(kind, part, known.get(part['id'].lower())):
            problems.setdefault('.'.join(map(str, where)), set()).add(sentence)
    if problems:
        errors = {field: sorted(sentences)[:20] for field, sentences in problems.items()}
        raise Invalid('One or more files cannot be sent like this; see errors.', errors)


def _problem(kind: str, part: dict, file: dict | None) -> str | None:
    """What speaks against a file in its place. `part`: the object with its id; `file`: its row."""
    media_id = part['id']
    if file is None:
        return f'There is no file {media_id} of this chatbot. Upload it with POST /whatsapp-cloud/media.'
    mime_type = file['mime_type']
    if kind_of(mime_type) != kind:
        fits = f'goes as {kind_of(mime_type)}' if kind_of(mime_type) else 'cannot be sent'
        return f'The file {media_id} is {mime_type}, which {fits}, not as {kind}.'
    if kind == 'audio' and part.get('voice') is True:
        if plain_type(mime_type) != 'audio/ogg':
            return f'The file {media_id} is {mime_type}; a voice message wants Ogg with Opus.'
        if (file['channels'] or 1) > 1:
            return f'The file {media_id} is stereo; a voice message wants one channel.'
    return None


# Files of claimed messages with what their numbers know of them, for all messages of a claim at
# once.
LOOK_UP = f"""
SELECT n.media_id, n.number, m.storage_key, m.mime_type, m.filename, m.size, u.meta_id,
  extract(epoch FROM now() - u.uploaded_at)::float AS age
FROM unnest(%s::uuid[], %s::text[]) AS n (media_id, number)
  JOIN media m ON m.id = n.media_id AND m.status = 'stored'
  LEFT JOIN media_upload u ON u.media_id = m.id AND u.phone_number_id = n.number
    AND u.uploaded_at > now() - interval '{24 * GOOD_DAYS} hours'
"""


def look_up(rows):
    """Give each claimed message its `files`: {our id: file, None for one that is gone}.

    Most have none.
    """
    named = {}
    for row in rows:
        row.files = {}
        if row.type not in FILELESS:  # one that we do not know may carry some, too
            row.files = dict.fromkeys(
                part['id'].lower() for _, _, part in references({row.type: row.content})
            )
            named |= dict.fromkeys((media_id, row.phone_number_id) for media_id in row.files)
    if named:
        files = {
            (file['media_id'], file['number']): file
            for file in fetch_dicts(LOOK_UP, columns(named))
        }
        for row in rows:
            for media_id in row.files:
                file = files.get((media_id, row.phone_number_id))
                row.files[media_id] = file and dict(file)  # each its own: threads write into it


def with_meta_ids(kind, content, files):
    """A message's content as Meta is to have it. `files`: {our id: file with meta_id}."""
    body = _copy({kind: content})
    for _, kind_of_file, part in references(body):
        file = files[part['id'].lower()]
        part['id'] = file['meta_id']
        if kind_of_file == 'document' and file['filename']:
            name = for_people(file['filename'], file['mime_type'])
            part.setdefault(
                'filename', name
            )  # without one the customer sees none, without an ending none opens it
    return body[kind]


def _copy(value):
    if isinstance(value, list):
        return list(map(_copy, value))
    if not isinstance(value, dict):
        return value
    copied = {}
    for (
        name,
        part,
    ) in value.items():  # no comprehension: as deep as a body may be nested, each would count twice
        copied[name] = _copy(part)
    return copied


# Free for whoever comes first: never uploaded, too old, or given up by somebody who died in the
# middle of it.
CLAIM = f"""
INSERT INTO media_upload AS u (media_id, phone_number_id, lease_until)
VALUES (%(file)s, %(number)s, now() + %(lease)s * interval '1 second')
ON CONFLICT (media_id, phone_number_id) DO UPDATE SET lease_until = excluded.lease_until, meta_id = NULL
WHERE (u.meta_id IS NULL OR u.uploaded_at <= now() - interval '{24 * GOOD_DAYS} hours')
  AND (u.lease_until IS NULL OR u.lease_until <= now())
"""
KNOWN = f"""
SELECT meta_id FROM media_upload WHERE media_id = %s AND phone_number_id = %s AND meta_id IS NOT NULL
  AND uploaded_at > now() - interval '{24 * GOOD_DAYS} hours'
"""


def claim(file, lease):
    """True: it is ours to upload, for `lease` seconds; a text: Meta's id, by now; None: somebody
    else is at it.
    """
    if execute(CLAIM, {'file': file['media_id'], 'number': file['number'], 'lease': lease}):
        return True
    rows = fetch(KNOWN, (file['media_id'], file['number']))
    return rows[0][0] if rows else None


def finish(file, meta_id):
    """Meta has it. None: it has not, and the next one may try."""
    execute(
        'UPDATE media_upload SET meta_id = %s, uploaded_at = CASE WHEN %s IS NOT NULL THEN now() END, '
        'lease_until = NULL WHERE media_id = %s AND phone_number_id = %s',
        (meta_id, meta_id, file['media_id'], file['number']),
    )


def forget(file):
    """Meta does not know its id any more; another one that somebody got meanwhile stays."""
    execute(
        'UPDATE media_upload SET meta_id = NULL, uploaded_at = NULL '
        'WHERE media_id = %s AND phone_number_id = %s AND meta_id = %s',
        (file['media_id'], file['number'], file['meta_id']),
    )


def forget_those_of(message):
    """A person tries a message again that Meta had no file for (131053): its files go up anew."""
    ids = [part['id'] for _, _, part in references({message.type: message.content})]
    if ids and (message.error or {}).get('code') == 131053:
        execute(
            'UPDATE media_upload SET meta_id = NULL, uploaded_at = NULL '
            'WHERE media_id = ANY(%s::uuid[]) AND phone_number_id = %s',
            (ids, message.phone_number_id),
        )


RENEW = (
    """
UPDATE conversation SET send_after = now() + %(lease)s * interval '1 second' WHERE id = %(conversation)s
  AND EXISTS (SELECT 1 FROM message WHERE id = %(message)s AND status = 'sending' AND attempts = %(attempts)s)
""",
    """
UPDATE message SET due_at = now() + %(lease)s * interval '1 second'
WHERE id = %(message)s AND status = 'sending' AND attempts = %(attempts)s
""",
    """
UPDATE media_upload SET lease_until = now() + %(lease)s * interval '1 second'
WHERE media_id = %(file)s AND phone_number_id = %(number)s AND lease_until IS NOT NULL
""",
)


def renew(row, file, lease):
    """An upload takes its time: what it holds is held on to for `lease` seconds more.

    False: it is ours no more.
    """
    values = {
        'lease': lease,
        'conversation': row.conversation_id,
        'message': row.id,
        'attempts': row.attempts,
        'file': file['media_id'],
        'number': file['number'],
    }
    with db.atomic():
        return all([execute(statement, values) for statement in RENEW])
