"""Files that customers send: the message is there at once, its file is fetched by a background job
of its own.
"""

import hashlib
import json

import pytest
from redis import Redis

from service.media.storage import storage
from service.runtime.config import settings
from tests.files import at_meta, comes_in, media_message
from tests.people import CHATBOT, MANIFEST, contact, sql, text_message
from tests.stack import PHONE_NUMBER_ID, wait_until

PICTURE = b'a picture'
WITH_MEDIA = {
    'in_audio_voice': ('audio/ogg; codecs=opus', None),
    'in_document': ('application/pdf', 'Invoice ñ 2026.pdf'),
    'in_sticker': ('image/webp', None),
    'in_video': ('video/mp4', None),
}


@pytest.fixture
def acme(backend, stand_in):
    backend.account(responder={'kind': 'none'})
    return backend


def the_message(backend, **query):
    (message,) = backend.messages(**query)
    return backend.message(message['id'])


def stored_bytes(message_id):
    ((key,),) = sql('SELECT storage_key FROM media WHERE message_id = %s', message_id)
    with storage().open(key) as piece:
        return b''.join(piece)


@pytest.mark.parametrize('kind', ['image', 'video', 'audio', 'document', 'sticker'])
def test_a_file_is_fetched_checked_and_stored(acme, meta, workers, stand_in, kind):
    comes_in(meta, workers, media_message(at_meta(stand_in), kind, content=PICTURE))
    message = the_message(acme)
    path = f'/whatsapp-cloud/messages/{message["id"]}/media'
    digest = hashlib.sha256(PICTURE).hexdigest()
    ((media_id,),) = sql('SELECT id FROM media')
    facts = {
        'id': media_id,
        'mime_type': 'image/jpeg',
        'filename': None,
        'url': path,
        'sha256': digest,
    }
    nothing_wrong = {'error': None, 'explanation': None, 'fix': None}
    assert message['media'] == {'status': 'fetching', 'size': None, **facts, **nothing_wrong}
    workers.errands()
    assert the_message(acme)['media'] == {'status': 'stored', 'size': 9, **facts, **nothing_wrong}
    assert stored_bytes(message['id']) == PICTURE


def test_in_a_bucket_too(acme, meta, workers, stand_in, in_bucket):
    comes_in(meta, workers, media_message(at_meta(stand_in), content=PICTURE))
    workers.errands()
    message = the_message(acme)
    assert message['media']['status'] == 'stored'
    assert stored_bytes(message['id']) == PICTURE
    assert len(in_bucket.keys()) == 1


@pytest.mark.parametrize('name', WITH_MEDIA)
def test_every_payload_with_a_file_has_its_row_and_says_when_meta_has_it_no_more(
    acme, meta, workers, name
):
    meta.webhook(meta.payload(name))
    workers.incoming()
    message = the_message(acme)
    mime_type, filename = WITH_MEDIA[name]
    told = message['content']
    found = message['media']
    assert (found['status'], found['mime_type'], found['filename']) == (
        'fetching',
        mime_type,
        filename,
    )
    assert bytes.fromhex(found['sha256']).hex() == found['sha256']
    assert sql('SELECT meta_id, phone_number_id FROM media') == [(told['id'], PHONE_NUMBER_ID)]
    workers.errands()
    gone = the_message(acme)['media']
    assert (gone['status'], gone['error']['code']) == ('failed', 100)
    assert gone['fix'] == 'Ask the customer to send it again.'
    assert sql('SELECT attempts FROM media') == [(1,)]


def test_no_other_payload_has_one(acme, meta, workers):
    """Nor anything in them keeps a batch from being stored."""
    names = [entry['file'] for entry in MANIFEST['files']]
    for name in sorted({name.removesuffix('.json') for name in names} - WITH_MEDIA.keys()):
        meta.webhook(meta.payload(name))
    workers.incoming()
    with_rows = sql('SELECT DISTINCT m.type FROM media JOIN message m ON m.id = message_id')
    assert {kind for (kind,) in with_rows} <= {'image', 'video', 'audio', 'document', 'sticker'}


def test_a_batch_of_files_costs_one_statement_and_each_is_its_own(acme, meta, workers, stand_in):
    contents = [b'file %d' % n for n in range(30)]
    ids = [at_meta(stand_in, content) for content in contents]
    comes_in(
        meta,
        workers,
        *(
            media_message(i, wamid=f'wamid.{n}', content=c)
            for n, (i, c) in enumerate(zip(ids, contents, strict=True))
        ),
    )
    workers.errands()
    assert sorted(stored_bytes(message['id']) for message in acme.messages()) == sorted(contents)


def test_a_repeated_webhook_makes_no_second_file(acme, meta, workers, stand_in):
    one = media_message(at_meta(stand_in), content=PICTURE)
    comes_in(meta, workers, one)
    comes_in(meta, workers, one, media_message(at_meta(stand_in), wamid='wamid.N'))
    assert sql('SELECT count(*) FROM media') == [(2,)]


def test_an_echo_of_the_business_phone_brings_its_file(acme, meta, workers, stand_in):
    written = media_message(at_meta(stand_in), content=PICTURE) | {
        'from': '15550104477',
        'to': '12025550143',
    }
    value = {'messaging_product': 'whatsapp', 'message_echoes': [written], 'contacts': [contact()]}
    value['metadata'] = {'display_phone_number': '15550104477', 'phone_number_id': PHONE_NUMBER_ID}
    change = {'field': 'smb_message_echoes', 'value': value}
    meta.webhook(
        {
            'object': 'whatsapp_business_account',
            'entry': [{'id': '880011223344556', 'changes': [change]}],
        }
    )
    workers.incoming()
    workers.errands()
    message = the_message(acme)
    assert (message['origin'], message['media']['status']) == ('business_app', 'stored')


@pytest.mark.parametrize('kind', ['video', 'unsupported'])
def test_a_file_over_100_mb_is_failed_from_the_start_and_says_why(acme, meta, workers, kind):
    error = {
        'code': 131052,
        'title': 'Media download error',
        'error_data': {'details': 'Media file size too big.'},
    }
    message = text_message(type=kind, errors=[error]) | (
        {'unsupported': {'type': 'video'}} if kind != 'video' else {}
    )
    del message['text']
    comes_in(meta, workers, message)
    found = the_message(acme)['media']
    assert (found['status'], found['error']['code']) == ('failed', 131052)
    assert found['error']['details'] == 'Media file size too big.'
    assert (found['explanation'], found['fix']) == (
        'The file from the customer could not be downloaded.',
        'Ask the customer to send it again.',
    )
    workers.errands()
    assert sql('SELECT attempts FROM media') == [(0,)]


def test_a_file_that_meta_describes_and_does_not_give_is_failed_and_says_so(
    acme, meta, workers, stand_in
):
    body = {'status': 'undownloaded', 'mime_type': 'application/pdf', 'filename': 'a.pdf'}
    comes_in(meta, workers, media_message('1', 'document', wamid='wamid.U') | {'document': body})
    message = the_message(acme)
    found = message['media']
    assert (message['type'], message['content'], message['text']) == (
        'document',
        body,
        '[document] a.pdf',
    )
    assert (found['status'], found['filename'], found['mime_type']) == (
        'failed',
        'a.pdf',
        'application/pdf',
    )
    assert (found['error']['code'], found['error']['title']) == (
        None,
        'Meta gave no file with this message',
    )
    assert found['error']['details'] == 'Its status is "undownloaded".'
    assert found['fix'] == 'Ask the customer to send it again.'
    assert acme.post(f'/messages/{message["id"]}/media/fetch').status_code == 409
    assert acme.get(f'/messages/{message["id"]}/media').status_code == 409


@pytest.mark.parametrize('kind', ['image', 'video', 'audio', 'voice', 'sticker'])
def test_so_is_one_of_any_other_kind(acme, meta, workers, kind):
    comes_in(meta, workers, media_message('1', kind) | {kind: {'mime_type': 'x/y', 'id': None}})
    assert the_message(acme)['media']['status'] == 'failed'


def test_a_message_of_type_voice_is_a_voice_message(acme, meta, workers, stand_in):
    acme.account(responder=None)
    file = {'id': at_meta(stand_in), 'mime_type': 'audio/ogg; codecs=opus', 'sha256': 'x'}
    comes_in(meta, workers, media_message('1', 'voice') | {'voice': file})
    workers.errands()
    message = next(one for one in acme.messages(direction='inbound'))
    assert (message['type'], message['text'], message['media']['status']) == (
        'voice',
        '[voice message]',
        'stored',
    )
    assert len(acme.messages(direction='outbound')) == 1


STRANGE = [
    {}, None, [], 'x', {'id': None}, {'id': ''}, {'id': 7.5}, {'id': {'a': 1}}, {'id': 'x' * 300},
]  # fmt: skip


@pytest.mark.parametrize('body', STRANGE, ids=json.dumps)
def test_what_names_no_file_has_none_and_costs_its_neighbours_nothing(
    acme, meta, workers, stand_in, body
):
    strange = media_message('1', wamid='wamid.S') | {'image': body, 'errors': 'none'}
    comes_in(meta, workers, strange, media_message(at_meta(stand_in), content=PICTURE))
    assert sorted(bool(message['media']) for message in acme.messages()) == [False, True]


def test_facts_that_no_column_takes_are_left_out(acme, meta, workers, stand_in):
    odd = {'mime_type': 'image/\x00\ud800' * 200, 'filename': '\x00\ud800' * 300, 'sha256': 'AAAA'}
    comes_in(meta, workers, media_message(at_meta(stand_in), 'document', **odd))
    workers.errands()
    found = the_message(acme)['media']
    assert (found['status'], found['sha256']) == ('stored', hashlib.sha256(PICTURE).hexdigest())
    assert len(found['mime_type']) == 255


@pytest.mark.parametrize(
    ('given', 'kept'),
    [
        ('../../etc/passwd', 'passwd'),
        ('C:\\Users\\x\\y.doc', 'y.doc'),
        ('a\r\nSet-Cookie: b', 'aSet-Cookie: b'),
        ('..', None),
        ('/', None),
        ('x/', None),
        ('.htaccess', '.htaccess'),
        (' a b ', 'a b'),
        (7, None),
        ('', None),
    ],
)
def test_a_file_name_is_never_a_path(acme, meta, workers, given, kept):
    comes_in(meta, workers, media_message('1', 'document', filename=given))
    message = the_message(acme)
    assert message['media']['filename'] == kept
    assert message['content']['filename'] == given


def test_text_costs_no_query_for_media(acme, meta, workers, stand_in):
    comes_in(meta, workers, text_message(), media_message('1'))
    assert {message['type']: bool(message['media']) for message in acme.messages()} == {
        'text': False,
        'image': True,
    }
    assert acme.send()['media'] is None


def test_files_are_fetched_while_the_account_is_not_active(acme, meta, workers, stand_in):
    acme.post(f'/account/{CHATBOT}/deactivate')
    comes_in(meta, workers, media_message(at_meta(stand_in), content=PICTURE))
    workers.errands()
    assert the_message(acme)['media']['status'] == 'stored'


def test_the_errand_is_rung_for_at_once(acme, meta, workers):
    comes_in(meta, workers, text_message())
    with Redis.from_url(settings.REDIS_URL) as client:
        client.delete('bell:whatsapp-cloud-errands')  # the new account rang it for its templates
        comes_in(meta, workers, media_message('1', wamid='wamid.2'))
        wait_until(lambda: client.exists('bell:whatsapp-cloud-errands'))
