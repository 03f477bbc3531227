"""Sending a file of ours: checked at the door, given to Meta once for each number, sent by Meta's
id.
"""

import pytest

from service.content.file_types import MB
from tests.content.test_media_types import sample
from tests.media.test_uploads import upload
from tests.own_service import Platform
from tests.people import CHATBOT, envelope, sql, status_of, text_message
from tests.replies.test_responder import SECRET
from tests.sending.test_send import OTHER, due_now
from tests.stack import PHONE_NUMBER_ID

NOBODYS = '01930000-0000-7000-8000-000000000000'


@pytest.fixture
def acme(backend, stand_in):
    stand_in.config(
        strict=True
    )  # an id that Meta does not know, or knows from another number, is refused
    backend.account()
    return backend


def given(backend, name='photo.jpg', **more):
    """The id of an uploaded sample."""
    answer = upload(backend, sample(name), name, **more)
    assert answer.status_code == 201, answer.text
    return answer.json['id']


def send(backend, kind='image', to='+12025550143', chatbot_id=CHATBOT, **content):
    return backend.post('/send', {'chatbot_id': chatbot_id, 'to': to, 'type': kind, kind: content})


def header(kind, **file):
    return {
        'name': 'sale',
        'language': {'code': 'en_US'},
        'components': [{'type': 'header', 'parameters': [{'type': kind, kind: file}]}],
    }


def buttons(kind, **file):
    return {
        'type': 'button',
        'header': {'type': kind, kind: file},
        'body': {'text': 'Yes?'},
        'action': {'buttons': [{'type': 'reply', 'reply': {'id': 'y', 'title': 'Yes'}}]},
    }


def uploads(stand_in):
    return stand_in.get('/uploads')['data']


def arrived(stand_in):
    """The messages' own parts that Meta accepted."""
    return [
        call['body'][call['body']['type']]
        for call in stand_in.sends()
        if call['outcome'] == 'accepted'
    ]


@pytest.mark.parametrize(
    ('kind', 'name'),
    [
        ('image', 'photo.jpg'),
        ('image', 'drawing.png'),
        ('video', 'film.mp4'),
        ('video', 'film.3gp'),
        ('audio', 'voice.ogg'),
        ('audio', 'sound.m4a'),
        ('audio', 'bare.mp3'),
        ('document', 'paper.pdf'),
        ('sticker', 'sticker.webp'),
    ],
)
def test_a_file_of_each_kind_goes_to_meta_and_is_sent_by_its_id(
    acme, workers, stand_in, kind, name
):
    sent = send(acme, kind, id=given(acme, name).upper()).json
    workers.send()
    (seen,) = uploads(stand_in)
    assert (seen['number'], seen['size'], seen['filename']) == (
        PHONE_NUMBER_ID,
        len(sample(name)),
        name,
    )
    (content,) = arrived(stand_in)
    assert content == {'id': seen['media_id']} | ({'filename': name} if kind == 'document' else {})
    message = acme.message(sent['id'])
    assert (message['status'], message['attempts']) == ('accepted', 1)
    assert message['content'] == sent['content']  # as the caller gave it


def test_a_link_and_an_id_of_metas_go_as_they_are(acme, workers, stand_in):
    stand_in.config(strict=False)
    send(acme, link='https://example.com/a.jpg', caption='Sea')
    send(acme, to='+12025550144', id='1234567890')
    workers.send()
    arrivals = sorted(arrived(stand_in), key=len)
    assert arrivals == [
        {'id': '1234567890'},
        {'link': 'https://example.com/a.jpg', 'caption': 'Sea'},
    ]
    assert uploads(stand_in) == []


@pytest.mark.parametrize(
    ('kind', 'content', 'field'),
    [
        ('image', lambda file: {'id': file}, 'image.id'),
        (
            'template',
            lambda file: header('gif', id=file),
            'template.components.0.parameters.0.gif.id',
        ),
        (
            'template',
            lambda file: header('image', id=file),
            'template.components.0.parameters.0.image.id',
        ),
        ('interactive', lambda file: buttons('image', id=file), 'interactive.header.image.id'),
    ],
)
def test_a_file_that_is_not_there_or_does_not_fit_is_refused_by_the_name_of_its_field(
    acme, kind, content, field
):
    acme.account('other', OTHER)
    theirs = upload(acme, sample('photo.jpg'), chatbot_id='other').json['id']
    for file, said in (
        (NOBODYS, 'no file'),
        (theirs, 'no file'),
        (given(acme, 'sticker.webp'), 'image/webp, which goes as sticker'),
        (given(acme, 'paper.pdf'), 'application/pdf, which goes as document'),
    ):
        answer = send(acme, kind, **content(file))
        assert answer.status_code == 422
        ((name, (sentence,)),) = answer.json['errors'].items()
        assert name == field
        assert said in sentence
    assert acme.messages() == []


def test_a_header_of_a_template_and_of_buttons_and_a_part_of_what_is_new_may_be_a_file(
    acme, workers, stand_in
):
    stand_in.config(strict=False)
    file = given(acme)
    send(acme, 'template', **header('image', id=file))
    send(acme, 'interactive', to='+12025550144', **buttons('image', id=file))
    card = {
        'components': [{'type': 'header', 'parameters': [{'type': 'image', 'image': {'id': file}}]}]
    }
    carousel = {'type': 'carousel', 'cards': [{'card_index': 0, **card}, {'card_index': 1, **card}]}
    template = {'name': 'tour', 'language': {'code': 'en'}, 'components': [carousel]}
    send(acme, 'template', to='+12025550145', **template)
    news = {'type': 'hologram', 'hologram': [{'image': {'id': file}}], 'validate': False}
    acme.post('/send', {'chatbot_id': CHATBOT, 'to': '+12025550146', **news})
    workers.send()
    (seen,) = uploads(stand_in)
    called = [call['body'] for call in stand_in.sends()]
    assert len(called) == 4
    for body in called:
        assert file not in str(body)
        assert seen['media_id'] in str(body)


def test_what_a_flow_is_given_is_its_own_business(acme, workers, stand_in):
    stand_in.config(strict=False)
    data = {'screen': 'ONE', 'data': {'image': {'id': NOBODYS}}}
    flow = {
        'flow_message_version': '3',
        'flow_id': '1',
        'flow_cta': 'Go',
        'flow_action': 'navigate',
        'flow_action_payload': data,
    }
    content = {
        'type': 'flow',
        'body': {'text': 'x'},
        'action': {'name': 'flow', 'parameters': flow},
    }
    assert send(acme, 'interactive', **content).status_code == 202
    workers.send()
    assert arrived(stand_in)[0]['action']['parameters']['flow_action_payload'] == data


def test_two_numbers_are_two_uploads_and_a_second_message_none(acme, workers, stand_in):
    file = given(acme)
    send(acme, id=file)
    workers.send()
    send(acme, to='+12025550144', id=file)
    workers.send()
    assert len(uploads(stand_in)) == 1
    acme.account(phone_number_id=OTHER)
    send(acme, id=file)
    workers.send()
    assert [one['number'] for one in uploads(stand_in)] == [PHONE_NUMBER_ID, OTHER]
    assert len(arrived(stand_in)) == 3


def test_an_id_is_used_for_29_days_and_then_a_new_one_is_got(acme, workers, stand_in):
    file = given(acme)
    for number, (days, count) in enumerate([(0, 1), (28, 1), (30, 2)]):
        sql("UPDATE media_upload SET uploaded_at = now() - %s * interval '1 day'", days)
        send(acme, to=f'+1202555014{number}', id=file)
        workers.send()
        assert len(uploads(stand_in)) == count
    assert arrived(stand_in)[-1]['id'] == uploads(stand_in)[1]['media_id']


def test_an_id_that_meta_has_forgotten_is_got_anew_at_once(acme, workers, stand_in):
    file = given(acme)
    send(acme, id=file)
    workers.send()
    sql("UPDATE media_upload SET meta_id = '999', uploaded_at = now() - interval '2 days'")
    sent = send(acme, to='+12025550144', id=file).json
    workers.send()
    message = acme.message(sent['id'])
    assert (message['status'], message['attempts'], message['tries']) == ('accepted', 1, [])
    assert len(uploads(stand_in)) == 2
    assert [call['outcome'] for call in stand_in.sends()] == ['accepted', 'error', 'accepted']


def test_what_meta_finds_wrong_elsewhere_costs_no_second_upload(acme, workers, stand_in):
    """The id is fresh: the complaint must be about something else."""
    file = given(acme)
    sent = send(acme, to='+19990001000', id=file).json  # refused with code 100 always
    workers.send()
    assert acme.message(sent['id'])['status'] == 'failed'
    assert len(uploads(stand_in)) == 1
    assert len(stand_in.sends()) == 1


def test_a_file_that_meta_refuses_fails_the_message_with_a_sentence_that_names_it(
    acme, workers, stand_in
):
    stand_in.config(upload_error=131053)
    sent = send(acme, id=given(acme)).json
    workers.send()
    message = acme.message(sent['id'])
    assert (message['status'], message['error']['code'], message['attempts']) == (
        'failed',
        131053,
        1,
    )
    assert message['error']['details'].startswith(
        '"photo.jpg" (image/jpeg, 1,541 bytes) was not taken: '
    )
    assert 'could not be uploaded to WhatsApp' in message['explanation']
    assert stand_in.sends() == []
    stand_in.config(upload_error=0)
    acme.post(f'/messages/{sent["id"]}/retry')
    workers.send()
    assert acme.message(sent['id'])['status'] == 'accepted'


def test_a_file_that_meta_lost_later_goes_up_anew_when_a_person_tries_again(
    acme, meta, workers, stand_in
):
    sent = send(acme, id=given(acme)).json
    workers.send()
    lost = {'errors': [{'code': 131053, 'title': 'Media upload error'}]}
    meta.webhook(
        envelope(statuses=[status_of(acme.message(sent['id'])['wamid'], 'failed', **lost)])
    )
    workers.incoming()
    assert acme.message(sent['id'])['status'] == 'failed'
    acme.post(f'/messages/{sent["id"]}/retry')
    workers.send()
    assert acme.message(sent['id'])['status'] == 'accepted'
    assert len(uploads(stand_in)) == 2


def test_a_passing_fault_of_an_upload_is_tried_again_like_any_other(acme, workers, stand_in):
    stand_in.config(upload_error=131016)
    sent = send(acme, id=given(acme)).json
    for attempts in (1, 2, 3):
        workers.send()
        message = acme.message(sent['id'])
        assert (message['status'], message['attempts']) == ('queued', attempts)
        due_now('queued')
    stand_in.config(upload_error=0)
    workers.send()
    assert acme.message(sent['id'])['status'] == 'accepted'
    assert len(uploads(stand_in)) == 4


def test_an_account_that_may_not_upload_is_held_and_goes_on_with_a_new_token(
    acme, workers, stand_in
):
    stand_in.config(upload_error=190)
    sent = send(acme, id=given(acme)).json
    workers.send()
    assert acme.message(sent['id'])['status'] == 'held'
    assert acme.get(f'/account/{CHATBOT}').json['send_state'] == 'held'
    stand_in.config(upload_error=0)
    acme.account(access_token='a-new-one')
    workers.send()
    assert acme.message(sent['id'])['status'] == 'accepted'


def test_a_file_that_is_gone_from_the_storage_fails_its_message_in_plain_words(
    acme, workers, stand_in
):
    sent = send(acme, id=given(acme)).json
    sql("UPDATE media SET storage_key = 'nowhere/at/all'")
    workers.send()
    message = acme.message(sent['id'])
    assert (message['status'], message['error']['title']) == (
        'failed',
        'The file is not there any more',
    )
    assert stand_in.sends() == []


def test_a_bulk_carries_a_file_to_many_with_one_upload(acme, workers, stand_in):
    file, other = given(acme), given(acme, 'drawing.png')
    people = [f'+120255501{number}' for number in range(10, 40)]
    body = {
        'chatbot_id': CHATBOT,
        'recipients': people,
        'message': {'type': 'image', 'image': {'id': file}},
    }
    assert acme.post('/send/bulk', body).status_code == 202
    workers.send()
    assert len(uploads(stand_in)) == 1
    assert len(arrived(stand_in)) == 30
    body['message'] = {'type': 'image', 'image': {'id': NOBODYS}}
    assert acme.post('/send/bulk', body).json['errors'].keys() == {'message.image.id'}
    body['message'] = {'type': 'image', 'image': {'id': '{{file}}'}}
    body['recipients'] = [{'to': people[0], 'parameters': {'file': one}} for one in (file, NOBODYS)]
    body['recipients'][1]['to'] = people[1]
    assert NOBODYS in acme.post('/send/bulk', body).json['errors']['message.image.id'][0]
    body['recipients'][1]['parameters']['file'] = other
    assert acme.post('/send/bulk', body).status_code == 202
    workers.send()
    assert len(uploads(stand_in)) == 2


def test_a_large_file_passes_through_the_worker_in_pieces(acme, workers, stand_in):
    file = upload(acme, sample('paper.pdf').ljust(20 * MB, b'\0'), 'a "b"\u00fc.pdf').json['id']
    send(acme, 'document', id=file, filename='own.pdf')
    workers.send()
    assert [(one['size'], one['mime_type']) for one in uploads(stand_in)] == [
        (20 * MB, 'application/pdf')
    ]
    assert arrived(stand_in)[0]['filename'] == 'own.pdf'


def test_what_a_customer_sent_may_be_passed_on(acme, meta, workers, stand_in):
    meta.webhook(envelope([text_message()]))
    workers.incoming()
    file = given(acme)
    sql("UPDATE media SET message_id = m.id FROM message m WHERE m.direction = 'inbound'")
    assert acme.get(f'/media/{file}').json['kinds'] == ['image']
    assert send(acme, id=file).status_code == 202
    workers.send()
    assert arrived(stand_in)[-1] == {'id': uploads(stand_in)[0]['media_id']}


def test_a_responder_may_answer_with_a_file_that_fits(acme, meta, workers, stand_in):
    with Platform() as platform:
        acme.account(responder={'kind': 'http', 'url': platform.url, 'secret': SECRET})
        platform.answer(
            200, {'messages': [{'type': 'image', 'image': {'id': given(acme, 'paper.pdf')}}]}
        )
        meta.webhook(envelope([text_message()]))
        workers.incoming()
        (conversation,) = acme.conversations()
        assert conversation['reply_error']['errors'].keys() == {'image.id'}
        platform.answer(200, {'messages': [{'type': 'image', 'image': {'id': given(acme)}}]})
        meta.webhook(envelope([text_message(wamid='wamid.B')]))
        workers.incoming()
    workers.send()
    assert arrived(stand_in) == [{'id': uploads(stand_in)[0]['media_id']}]
