"""Everything about one person, as a zip."""

import io
import json
import zipfile

from service.conversations.conversation import Conversation
from service.privacy import export
from service.runtime.db import connection, db
from tests.people import sql
from tests.privacy.life import OMAR, ZOE


def unpacked(answer):
    assert (answer.status_code, answer.content_type) == (200, 'application/zip')
    assert answer.headers['Cache-Control'] == 'no-store'
    with zipfile.ZipFile(io.BytesIO(answer.data)) as archive:
        assert archive.testzip() is None
        return {name: archive.read(name) for name in archive.namelist()}


def test_it_holds_profile_messages_statuses_events_and_files_of_that_person_alone(lived, backend):
    found = unpacked(backend.get(f'/contacts/{lived[ZOE.word]}/export'))
    documents = {name: json.loads(text) for name, text in found.items() if name.endswith('.json')}
    assert documents.keys() == {
        'contact.json', 'messages.json', 'statuses.json', 'events.json', 'left_out.json',
    }  # fmt: skip
    (profile,) = documents['contact.json']
    assert profile['contact']['id'] == lived[ZOE.word]
    assert {one['value'] for one in profile['identities']} == {ZOE.phone, ZOE.user}
    messages = documents['messages.json']
    shown = backend.messages(conversation_id=lived[ZOE.word])
    assert {one['id'] for one in messages} == {one['id'] for one in shown}
    assert {one['status'] for one in documents['statuses.json']} >= {'delivered', 'read'}
    assert 'message.received' in {one['type'] for one in documents['events.json']}
    assert [text for name, text in found.items() if name.startswith('files/')] == [ZOE.file]
    everything = b''.join(found.values()).decode('latin-1')
    assert [mark for mark in ZOE.marks() if mark not in everything] == []
    assert [mark for mark in OMAR.marks() if mark in everything] == []


FAILED_FILE = """
INSERT INTO media (id, chatbot_id, message_id, status, size)
SELECT gen_random_uuid(), chatbot_id, id, 'failed', 3000000000
FROM message m WHERE conversation_id = %s
  AND NOT EXISTS (SELECT FROM media WHERE message_id = m.id)
ORDER BY id LIMIT 1
RETURNING id, message_id
"""


def files_of(backend, contact_id):
    """(the files' bytes, what is left out) of an export."""
    found = unpacked(backend.get(f'/contacts/{contact_id}/export'))
    left_out = json.loads(found['left_out.json'])
    return [text for name, text in found.items() if name.startswith('files/')], left_out


def test_a_file_that_is_not_here_takes_no_room_of_others(lived, backend, monkeypatch):
    monkeypatch.setattr(export, 'MAX_BYTES', len(ZOE.file))
    ((failed_id, message_id),) = sql(FAILED_FILE, lived[ZOE.word])
    files, left_out = files_of(backend, lived[ZOE.word])
    assert files == [ZOE.file]
    assert left_out == [{'id': failed_id, 'message_id': message_id, 'why': 'failed'}]


def test_a_file_for_which_no_room_is_left_is_named_with_the_reason(lived, backend, monkeypatch):
    monkeypatch.setattr(export, 'MAX_BYTES', len(ZOE.file) - 1)
    files, (left_out,) = files_of(backend, lived[ZOE.word])
    assert (files, left_out['why']) == ([], 'too_large')


def test_no_connection_is_held_while_the_caller_reads(lived):
    with connection():
        conversation = Conversation.find_or_none(lived[ZOE.word])
    assert all(db.is_closed() for _ in export.stream(conversation))


def test_whoever_reads_all_and_does_not_hang_up_takes_no_place(lived, backend):
    path = f'/contacts/{lived[ZOE.word]}/export'
    answers = []
    for _ in range(3):
        answers.append(backend.get(path, buffered=False))
        assert unpacked(answers[-1])


def test_few_are_made_at_a_time(lived, backend):
    path = f'/contacts/{lived[ZOE.word]}/export'
    under_way = [backend.get(path, buffered=False) for _ in range(2)]
    refused = backend.get(path)
    assert (refused.status_code, refused.json['code']) == (429, 'too_many_requests')
    for answer in under_way:
        answer.close()
    assert unpacked(backend.get(path))
