"""Webhooks: who is let in, what is kept, and what Meta is answered when a server is away."""

import base64
import hashlib
import hmac
import json

import pytest

from service.web.auth import sign
from tests.people import APP_SECRET, PAYLOADS, envelope, text_message
from tests.stack import PHONE_NUMBER_ID

URL = '/whatsapp-cloud/webhook'
QUESTION = {'hub.mode': 'subscribe', 'hub.verify_token': 'verify-me', 'hub.challenge': '1158201444'}
BODY = json.dumps(envelope([text_message(at=1790000000)])).encode()
RIGHT = sign(BODY, APP_SECRET)
OTHER_NUMBER = '300998877665544'


@pytest.fixture
def own_app(backend):
    """An account with a Meta app of its own."""
    return backend.account(
        'own', OTHER_NUMBER, app_secret='own-secret', webhook_verify_token='own-token'
    )


def verify(meta, path='', **changes):
    query = {name: value for name, value in {**QUESTION, **changes}.items() if value is not None}
    return meta.transport.get(URL + path, query_string=query)


def post(meta, body=BODY, path='', **headers):
    return meta.transport.post(
        URL + path, data=body, headers={'Content-Type': 'application/json', **headers}
    )


# ---- verification


def test_the_challenge_comes_back_as_plain_text(meta):
    answer = verify(meta, **{'hub.challenge': '<script>1</script>'})
    assert (answer.status_code, answer.data) == (200, b'<script>1</script>')
    assert answer.content_type.startswith('text/plain')
    assert answer.headers['X-Content-Type-Options'] == 'nosniff'


@pytest.mark.parametrize(
    'changes',
    [
        {'hub.mode': 'unsubscribe'},
        {'hub.mode': None},
        {'hub.verify_token': 'verify-you'},
        {'hub.verify_token': 'VERIFY-ME'},
        {'hub.verify_token': ''},
        {'hub.verify_token': None},
        {'hub.verify_token': 'vérify-me\ud83d'.encode('utf-8', 'surrogatepass')},
    ],
)
def test_a_question_that_is_not_metas_is_forbidden(meta, changes):
    answer = verify(meta, **changes)
    assert answer.status_code == 403
    assert b'1158201444' not in answer.data
    assert b'verify-me' not in answer.data


def test_an_account_with_its_own_app_has_its_own_verify_token(meta, own_app):
    assert verify(meta, '/own', **{'hub.verify_token': 'own-token'}).data == b'1158201444'
    assert verify(meta, '/own').status_code == 403
    assert verify(meta, **{'hub.verify_token': 'own-token'}).status_code == 403


def test_an_unknown_path_looks_like_a_wrong_secret(meta, own_app):
    assert verify(meta, '/nobody').data == verify(meta, '/own').data
    stranger, wrong = (
        post(meta, path=path, **{'X-Hub-Signature-256': RIGHT}) for path in ('/nobody', '/own')
    )
    assert (stranger.status_code, stranger.data) == (wrong.status_code, wrong.data)
    assert stranger.status_code == 400
    assert verify(meta, '/%00').status_code == 403
    assert post(meta, path='/%ED%A0%BD', **{'X-Hub-Signature-256': RIGHT}).status_code == 400


# ---- signatures


def test_a_signed_body_is_kept_byte_for_byte(meta, backend):
    backend.account()
    for name in ('in_text_escaped_unicode', 'edge_unicode_nul_and_surrogates'):
        answer = meta.webhook(meta.payload(name))
        assert (answer.status_code, answer.mimetype) == (200, 'text/plain')
    kept = [backend.get(f'/webhook-events/{event["id"]}').json for event in backend.events()]
    bodies = [base64.b64decode(event['raw_body_base64']) for event in kept]
    assert bodies == [
        meta.payload('edge_unicode_nul_and_surrogates'),
        meta.payload('in_text_escaped_unicode'),
    ]
    assert [event['size'] for event in kept] == [len(body) for body in bodies]


def test_the_manifests_signatures_are_ours():
    for entry in json.loads((PAYLOADS / 'MANIFEST.json').read_text())['files']:
        assert (
            sign((PAYLOADS / entry['file']).read_bytes(), APP_SECRET)
            == entry['x_hub_signature_256']
        )


WRONG = {
    'missing': None,
    'empty': '',
    'no scheme': RIGHT.removeprefix('sha256='),
    'only the scheme': 'sha256=',
    'another secret': sign(BODY, 'another'),
    'another body': sign(BODY + b' ', APP_SECRET),
    'upper case hex': 'sha256=' + RIGHT.removeprefix('sha256=').upper(),
    'upper case scheme': RIGHT.replace('sha256', 'SHA256'),
    'sha1': 'sha1=' + hmac.new(APP_SECRET.encode(), BODY, hashlib.sha1).hexdigest(),
    'sha1 under the name of sha256': 'sha256='
    + hmac.new(APP_SECRET.encode(), BODY, hashlib.sha1).hexdigest(),
    'truncated': RIGHT[:-1],
    'longer': RIGHT + '0',
    'twice': f'{RIGHT}, {RIGHT}',
    'not ASCII': 'sha256=é' + RIGHT[8:],
    'superscript digits': RIGHT.translate(str.maketrans('123', '¹²³')),
}


@pytest.mark.parametrize('header', WRONG.values(), ids=WRONG)
def test_a_body_without_a_valid_signature_is_refused_and_not_stored(meta, backend, header):
    assert header != RIGHT
    answer = post(meta, **({} if header is None else {'X-Hub-Signature-256': header}))
    assert answer.status_code == 400
    assert answer.content_type == 'application/problem+json'
    assert not {RIGHT, RIGHT.removeprefix('sha256='), APP_SECRET} & set(answer.text.split('"'))
    assert RIGHT[7:] not in answer.text
    assert backend.events() == []


def test_the_old_sha1_header_is_not_looked_at(meta):
    old = 'sha1=' + hmac.new(APP_SECRET.encode(), BODY, hashlib.sha1).hexdigest()
    assert post(meta, **{'X-Hub-Signature': old}).status_code == 400
    assert (
        post(meta, **{'X-Hub-Signature': 'sha1=0', 'X-Hub-Signature-256': RIGHT}).status_code == 200
    )


def test_a_body_that_was_written_anew_does_not_verify(meta):
    raw = meta.payload('in_text_escaped_unicode')
    anew = json.dumps(json.loads(raw)).encode()
    assert anew != raw
    assert post(meta, anew, **{'X-Hub-Signature-256': sign(raw, APP_SECRET)}).status_code == 400


def test_while_secrets_are_rotated_each_of_them_verifies(meta, setting):
    setting('WHATSAPP_APP_SECRET', 'new-secret, old-secret')
    assert [
        meta.webhook(BODY, secret=secret).status_code for secret in ('new-secret', 'old-secret')
    ] == [200, 200]
    assert meta.webhook(BODY).status_code == 400
    assert meta.webhook(BODY, secret='new-secret, old-secret').status_code == 400


def test_the_content_type_does_not_matter(meta):
    assert meta.webhook(BODY, **{'Content-Type': 'text/plain'}).status_code == 200
    assert (
        meta.webhook(BODY, **{'Content-Type': 'application/x-www-form-urlencoded'}).status_code
        == 200
    )


# ---- an account's own path


def test_an_account_with_its_own_app_is_served_on_its_own_path_alone(
    meta, backend, workers, own_app
):
    backend.account()
    body = envelope([text_message()], number=OTHER_NUMBER)
    assert meta.webhook(body, path='/own').status_code == 400  # the shared app's secret
    assert meta.webhook(body, secret='own-secret').status_code == 400
    assert meta.webhook(body).status_code == 200
    workers.incoming()
    assert backend.outcomes() == [('message', 'refused')]
    assert meta.webhook(body, path='/own', secret='own-secret').status_code == 200
    workers.incoming()
    assert backend.outcomes() == [('message', 'stored'), ('message', 'refused')]
    assert [event['chatbot_id'] for event in backend.events()] == ['own', None]
    assert len(backend.messages()) == 1


def test_items_for_other_accounts_numbers_are_refused_and_recorded(meta, backend, workers, own_app):
    backend.account()
    ours = envelope([text_message(wamid='wamid.ours')], number=OTHER_NUMBER)
    theirs = envelope(
        [text_message(wamid='wamid.theirs')], [{'id': 'wamid.x', 'status': 'sent'}], number='1'
    )
    theirs['entry'] += envelope([text_message()], number=PHONE_NUMBER_ID)['entry'] + ours['entry']
    assert meta.webhook(theirs, path='/own', secret='own-secret').status_code == 200
    workers.incoming()
    (event,) = backend.events()
    assert [item['outcome'] for item in event['items']] == [
        'refused',
        'refused',
        'refused',
        'stored',
    ]
    assert all(item['detail'] for item in event['items'][:3])
    assert [message['chatbot_id'] for message in backend.messages()] == ['own']


def test_a_path_without_an_app_of_its_own_takes_the_shared_secret(meta, backend, workers):
    backend.account()
    assert verify(meta, '/acme').status_code == 200
    assert meta.webhook(BODY, path='/acme').status_code == 200
    workers.incoming()
    assert backend.outcomes() == [('message', 'stored')]


# ---- servers that are away


def test_without_postgresql_meta_shall_come_again(meta, backend, own_app, postgres):
    if not postgres.embedded:
        pytest.skip('the given PostgreSQL is not ours to stop')
    assert meta.webhook(BODY).status_code == 200
    postgres.stop()
    try:
        answers = [meta.webhook(BODY + b' '), meta.webhook(BODY, path='/own', secret='own-secret')]
        assert [answer.status_code for answer in answers] == [503, 503]
        assert post(meta, **{'X-Hub-Signature-256': 'sha256=0'}).status_code == 400
        assert str(postgres.port) not in ''.join(answer.text for answer in answers)
    finally:
        postgres.start()
    assert meta.webhook(BODY + b' ').status_code == 200
    assert [event['size'] for event in backend.events()] == [len(BODY) + 1, len(BODY)]


def test_a_restart_of_postgresql_between_two_deliveries_costs_nothing(meta, backend, postgres):
    if not postgres.embedded:
        pytest.skip('the given PostgreSQL is not ours to restart')
    meta.webhook(BODY)
    postgres.restart()
    assert meta.webhook(BODY + b' ').status_code == 200


def test_without_redis_meta_gets_its_200(meta, backend, redis_server, workers):
    if not redis_server.embedded:
        pytest.skip('the given Redis is not ours to stop')
    backend.account()
    redis_server.stop()
    try:
        assert meta.webhook(BODY).status_code == 200
    finally:
        redis_server.start()
    workers.incoming()
    assert backend.outcomes() == [('message', 'stored')]
