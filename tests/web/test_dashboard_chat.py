"""One conversation in the dashboard: what is shown, and what a person does in it."""

import json
import re
import time

import pytest
from flask import template_rendered
from urllib3 import encode_multipart_formdata

from service.web import pagination
from tests.content.test_media_types import sample
from tests.dashboard import Person, older
from tests.people import (
    CHATBOT,
    CUSTOMER,
    WABA,
    Customers,
    contact,
    envelope,
    sql,
    status_of,
    text_message,
)
from tests.web.tenants import fill, key_of

HARM = '<script>alert("x")</script><img src=x onerror=alert(1)>'
BODY = [
    {'type': 'HEADER', 'format': 'TEXT', 'text': 'Your order'},
    {
        'type': 'BODY',
        'text': 'Hello {{1}}, your order {{2}} is ready.',
        'example': {'body_text': [['Ines', 'A-17']]},
    },
]
TEMPLATE = """
INSERT INTO template (waba_id, name, language, status, category, components)
VALUES (%s, 'order_ready', 'en_US', 'APPROVED', 'utility', %s)
"""


@pytest.fixture
def acme(backend):
    backend.account(responder={'kind': 'none'}, waba_id=WABA)
    return backend


@pytest.fixture
def people(acme, meta, workers):
    return Customers(meta, workers)


@pytest.fixture
def person(application, acme):
    return Person(application).log_in()


@pytest.fixture
def ines(people, acme):
    """The path of the page of a conversation in which Ines has just written."""
    people.tell(envelope([text_message('Hello')], contacts=[contact()]))
    return chat_of(acme)


def chat_of(backend):
    return f'/inbox/{backend.conversations()[0]["id"]}'


def bubbles(page):
    """(side, text without signs) of each message on a page."""
    assert page.status_code == 200, page.text
    found = re.findall(r'<li id="m-[^"]+" class="(\w+)".*?</li>', page.text, re.DOTALL)
    texts = re.findall(r'<p class="text" dir="auto">(.*?)</p>', page.text, re.DOTALL)
    return list(zip(found, texts, strict=False))


def late():
    """The customer has written more than 24 hours ago."""
    sql("UPDATE conversation SET last_inbound_at = now() - interval '25 hours'")


def deliver(backend, **message):
    answer = backend.post('/send', {'chatbot_id': CHATBOT, 'to': f'+{CUSTOMER}', **message})
    assert answer.status_code == 202, answer.text


def test_what_was_said_stands_in_its_order(person, acme, ines):
    acme.send(text='Good morning')
    assert bubbles(person.get(ines)) == [('theirs', 'Hello'), ('ours', 'Good morning')]


def test_ticks_say_how_far_a_message_is(person, acme, ines, stand_in, workers, tell):
    sent = acme.send(text='Good morning')
    assert 'queued' in person.get(ines).text
    workers.send()
    wamid = acme.message(sent['id'])['wamid']
    for status, ticks in (('sent', '✓'), ('delivered', '✓✓'), ('read', '✓✓')):
        tell(status_of(wamid, status, opaque=sent['id']))
        shown = (
            f'<span class="tick {status}"><span aria-hidden="true">{ticks}</span> {status}</span>'
        )
        assert shown in person.get(ines).text


def test_a_failure_says_why_and_what_to_do_and_is_sent_again(person, acme, ines, workers, tell):
    sent = acme.send(text='Good morning')
    sql(
        "UPDATE message SET status = 'accepted', wamid = 'wamid.F', due_at = NULL WHERE id = %s",
        sent['id'],
    )
    error = {'code': 131026, 'title': 'Message undeliverable', 'message': 'Message undeliverable'}
    tell(status_of('wamid.F', 'failed', opaque=sent['id'], errors=[error]))
    told = acme.message(sent['id'])
    page = person.get(ines)
    assert told['explanation'] in page.text.replace('&#39;', "'")
    assert told['fix'] in page.text.replace('&#39;', "'")
    assert person.press(page, 'Send again').status_code == 303
    assert acme.message(sent['id'])['status'] == 'queued'


def test_reactions_and_quotes_stand_at_their_message(person, acme, people, ines):
    reaction = {'type': 'reaction', 'reaction': {'message_id': 'wamid.A', 'emoji': '👍'}}
    first = text_message('', 'wamid.R', **reaction)
    del first['text']
    answer = text_message('About that', 'wamid.Q', context={'id': 'wamid.A', 'from': CUSTOMER})
    people.tell(envelope([first, answer]))
    page = person.get(ines)
    assert bubbles(page) == [('theirs', 'Hello'), ('theirs', 'About that')]
    assert '<blockquote dir="auto">Hello</blockquote>' in page.text
    assert '👍' in page.text


def test_what_a_customer_takes_back_is_gone(person, people, ines):
    revoke = text_message('', 'wamid.X', type='revoke', revoke={'original_message_id': 'wamid.A'})
    del revoke['text']
    people.tell(envelope([revoke]))
    assert bubbles(person.get(ines)) == [('theirs', '[deleted]')]


def test_templates_and_interactive_messages_are_shown_as_text(person, acme, ines):
    sql(TEMPLATE, WABA, json.dumps(BODY))
    parameters = [{'type': 'text', 'text': 'Ines'}, {'type': 'text', 'text': '<b>7</b>'}]
    body = {'type': 'body', 'parameters': parameters}
    template = {'name': 'order_ready', 'language': {'code': 'en_US'}, 'components': [body]}
    deliver(acme, type='template', template=template)
    reply = {'type': 'reply', 'reply': {'id': 'y', 'title': 'Yes'}}
    action = {'buttons': [reply]}
    interactive = {'type': 'button', 'body': {'text': 'Shall we?'}, 'action': action}
    deliver(acme, type='interactive', interactive=interactive)
    texts = [text for _, text in bubbles(person.get(ines))]
    assert texts[1] == 'Your order\nHello Ines, your order &lt;b&gt;7&lt;/b&gt; is ready.'
    assert texts[2] == 'Shall we?\n[Yes]'


def test_text_and_names_with_markup_are_text(person, acme, people, meta):
    people.tell(envelope([text_message(HARM)], contacts=[contact(HARM, username=HARM)]))
    acme.send(text=HARM)
    page = person.get(chat_of(acme))
    assert '<script>alert' not in page.text
    assert '<img src=x' not in page.text
    assert page.text.count('&lt;script&gt;alert') >= 4


def test_an_older_page_and_back(person, acme, people, ines, monkeypatch):
    monkeypatch.setattr(pagination, 'LIMIT_DEFAULT', 2)
    for number in range(3):
        acme.send(text=f'Number {number}')
    page = person.get(ines)
    assert [text for _, text in bubbles(page)] == ['Number 1', 'Number 2']
    before = person.get(older(page))
    assert [text for _, text in bubbles(before)] == ['Hello', 'Number 0']
    assert 'data-live' in page.text
    assert 'data-live' not in before.text


def test_the_live_part_changes_when_something_changes(person, acme, ines):
    page = person.get(ines)
    version = re.search(r'data-live="[^"]+" data-version="(\w+)"', page.text)[1]
    unchanged = {'If-None-Match': f'"{version}"'}
    made = []
    with template_rendered.connected_to(lambda _, template, **more: made.append(template)):
        assert person.get(f'{ines}/live', headers=unchanged).status_code == 304
    assert made == []
    acme.send(text='Good morning')
    answer = person.get(f'{ines}/live', headers=unchanged)
    assert bubbles(answer) == [('theirs', 'Hello'), ('ours', 'Good morning')]
    assert answer.headers['ETag'] not in (f'"{version}"', None)
    assert '<html' not in answer.text
    path = f'/conversations/{acme.conversations()[0]["id"]}/pause'
    before = answer.headers['ETag']
    acme.post(path, {'assignee': 'maria'})
    answer = person.get(f'{ines}/live', headers={'If-None-Match': before})
    assert 'maria' in answer.text


# ---- files


@pytest.fixture
def picture(people, acme, stand_in, workers):
    """The id of a message with a picture, whose file has been fetched."""
    stand_in.reset(webhooks=False, strict=False)
    image = {'id': '770001', 'mime_type': 'image/jpeg', 'caption': 'The blue one'}
    shown = text_message('', 'wamid.P', type='image', image=image)
    del shown['text']
    people.tell(envelope([shown], contacts=[contact()]))
    (message,) = acme.messages(conversation_id=acme.conversations()[0]['id'])
    sql(
        """UPDATE media SET status = 'stored', due_at = NULL, mime_type = 'image/jpeg', size = 4,
        sha256 = '\\x00', storage_key = 'none' WHERE message_id = %s""",
        message['id'],
    )
    return message['id']


def test_a_picture_is_shown_from_the_gateways_own_file(person, acme, picture):
    page = person.get(chat_of(acme))
    assert f'<img src="/whatsapp-cloud/dashboard/files/{picture}"' in page.text
    assert bubbles(page) == [('theirs', 'The blue one')]


def test_a_file_is_served_to_who_has_logged_in_as_the_api_does(application, person, acme):
    file = ('photo.jpg', sample('photo.jpg'))
    body, content_type = encode_multipart_formdata({'chatbot_id': CHATBOT, 'file': file})
    uploaded = acme.request('POST', '/media', data=body, content_type=content_type).json['id']
    path = f'/uploads/{uploaded}'
    answer, of_api = person.get(path), acme.get(f'/media/{uploaded}/content')
    assert answer.data == of_api.data == sample('photo.jpg')
    for name in ('Content-Type', 'Content-Disposition', 'X-Content-Type-Options'):
        assert answer.headers[name] == of_api.headers[name]
    assert answer.headers['Content-Security-Policy'] == "sandbox; default-src 'none'"
    assert person.get(path, headers={'Range': 'bytes=0-3'}).status_code == 206
    kept = {'If-None-Match': answer.headers['ETag']}
    assert person.get(path, headers=kept).status_code == 304
    assert answer.headers['Cache-Control'] == 'private, no-cache'  # asked for anew after log-out
    assert Person(application).get(path, headers=kept).status_code == 303
    deliver(acme, type='image', image={'id': uploaded, 'caption': 'This one?'})
    assert f'<img src="/whatsapp-cloud/dashboard{path}"' in person.get(chat_of(acme)).text


# ---- what a person does


def test_a_person_writes_and_has_the_conversation(person, acme, ines):
    page = person.get(ines)
    answer = person.press(page, 'Send', text='I am Jo.\r\nHow can I help?')
    assert answer.location.startswith('/whatsapp-cloud/dashboard/inbox/')
    (said,) = acme.messages(direction='outbound')
    assert said['content'] == {'body': 'I am Jo.\nHow can I help?'}
    assert said['from_human'] is True
    assert acme.conversations()[0]['paused_by'] == 'human_send'
    assert 'on its way' in person.get(answer.location).text
    assert 'A person</b> has this conversation' in person.get(ines).text


def test_the_same_form_sends_once(person, acme, ines):
    page = person.get(ines)
    for _ in range(2):
        assert person.press(page, 'Send', text='Once').status_code == 303
    assert len(acme.messages(direction='outbound')) == 1
    other = person.press(page, 'Send', text='Another text')
    assert other.status_code == 422
    assert 'What you sent here before has arrived' in other.text
    assert 'Another text</textarea>' in other.text
    assert person.press(other, 'Send', text='Another text').status_code == 303
    assert len(acme.messages(direction='outbound')) == 2


def test_a_form_without_a_token_sends_nothing(person, acme, ines):
    for token in ('', 'x', '0' * 36 + '.'):
        answer = person.press(person.get(ines), 'Send', text='Hello', token=token)
        assert answer.status_code == 422
    assert acme.messages(direction='outbound') == []


def test_what_cannot_be_sent_stays_in_the_field_with_the_reason(person, acme, ines):
    page = person.get(ines)
    answer = person.press(page, 'Send', text=' ')
    assert answer.status_code == 422
    assert 'text.body' in answer.text
    late()
    answer = person.press(page, 'Send', text='Too <late>')
    assert answer.status_code == 409
    assert '24-hour window of this conversation closed' in answer.text
    assert 'Too &lt;late&gt;</textarea>' in answer.text
    assert 'Send a template' in answer.text
    assert acme.messages(direction='outbound') == []


def test_a_script_gets_the_refusal_itself(person, acme, ines):
    page = person.get(ines)
    token = re.search(r'name="token" value="([^"]+)"', page.text)[1]
    form = {'csrf': person.csrf(), 'token': token, 'text': 'Hello'}
    as_json = {'Accept': 'application/json'}
    assert person.post(f'{ines}/write', form, headers=as_json).status_code == 204
    late()
    form |= {'token': f'{token}.1'}
    answer = person.post(f'{ines}/write', form, headers=as_json)
    assert (answer.status_code, answer.json['code']) == (409, 'window_closed')
    assert len(acme.messages(direction='outbound')) == 1


def test_a_closed_window_offers_the_template_alone(person, ines):
    late()
    page = person.get(ines)
    assert 'The 24-hour window closed' in page.text
    assert re.search('<form id="composer"[^>]* hidden>', page.text)
    assert 'Send a template' in page.text


def test_taken_over_and_given_back(person, acme, ines):
    answer = person.press(person.get(ines), 'Take over', assignee='<Jo>', minutes='30')
    assert answer.status_code == 303
    paused = acme.conversations()[0]
    assert (paused['paused_by'], paused['assignee']) == ('api', '<Jo>')
    page = person.get(ines)
    assert '&lt;Jo&gt;</b> has this conversation, until' in page.text
    assert person.press(page, 'Give back').status_code == 303
    assert acme.conversations()[0]['paused_until'] is None
    person.press(person.get(ines), 'Take over', assignee='', minutes='')
    assert acme.conversations()[0]['paused_until'].startswith('9999')
    assert 'has this conversation. No bot' in person.get(ines).text


def test_given_back_with_the_wish_for_an_answer_it_is_answered(person, acme, ines):
    acme.account(responder={'kind': 'http', 'url': 'http://127.0.0.1:9/reply'})
    person.press(person.get(ines), 'Take over', minutes='30')
    person.press(person.get(ines), 'Give back', answer='yes')
    assert acme.conversations()[0]['reply_due_at'] is not None


def test_nonsense_in_the_forms_is_refused(person, ines):
    page = person.get(ines)
    assert person.press(page, 'Take over', minutes='7').status_code == 422
    assert person.press(page, 'Take over', minutes='30', assignee='a' * 256).status_code == 422
    assert person.press(page, 'Take over', minutes='30', assignee='a\0').status_code == 422


# ---- templates


def choose(person, path):
    return person.get(f'{path}/template', query_string={'template': 'order_ready en_US'})


def test_a_template_is_filled_in_and_sent(person, acme, ines):
    assert 'No approved template is known' in person.get(f'{ines}/template').text
    sql(TEMPLATE, WABA, json.dumps(BODY))
    late()
    page = choose(person, ines)
    assert 'placeholder="A-17"' in page.text
    missing = person.press(page, 'Send', **{'body.1': 'Ines'})
    assert missing.status_code == 422
    assert 'has 2 variables in its body, 1 was given' in missing.text
    assert 'value="Ines"' in missing.text
    page = choose(person, ines)
    for _ in range(2):
        sent = person.press(page, 'Send', **{'body.1': 'Ines', 'body.2': '17'})
        assert sent.status_code == 303
    (said,) = acme.messages(direction='outbound')
    assert said['text'] == 'Your order\nHello Ines, your order 17 is ready.'
    assert said['from_human'] is True
    assert person.press(page, 'Send', template='gone en_US').status_code == 422


# ---- whose it is


def test_a_key_without_send_sees_and_does_nothing(application, backend, acme, ines):
    key = key_of(backend, CHATBOT, scopes=('read',))
    person = Person(application).log_in(key)
    page = person.get(ines)
    for label in ('Take over', 'composer', 'Send a template'):
        assert label not in page.text
    for path in ('write', 'take', 'give-back', 'template'):
        answer = person.post(f'{ines}/{path}', {'csrf': person.csrf(), 'text': 'Hi'})
        assert answer.status_code == 403, path
    assert acme.messages(direction='outbound') == []


def test_what_is_another_tenants_is_not_there(application, backend, meta, workers):
    world = fill(backend, meta, workers)
    key = key_of(backend, 'other')
    person = Person(application).log_in(key)
    theirs, own = world['acme'], world['other']
    assert person.get(f'/inbox/{own.conversation_id}').status_code == 200
    csrf = {'csrf': person.csrf(), 'token': f'{time.time():036.0f}', 'text': 'Hi'}
    of_conversation = ('', '/live', '/template')
    for path in of_conversation:
        answer = person.get(f'/inbox/{theirs.conversation_id}{path}')
        assert answer.status_code == 404, path
        assert 'acmeSecret' not in answer.text
    for path in (f'/files/{theirs.picture_id}', f'/uploads/{theirs.media_id}'):
        assert person.get(path).status_code == 404
    before = backend.messages()
    for path in ('write', 'take', 'give-back', 'template'):
        answer = person.post(f'/inbox/{theirs.conversation_id}/{path}', csrf)
        assert answer.status_code == 404, path
    assert person.post(f'/inbox/messages/{theirs.sent_id}/retry', csrf).status_code == 404
    assert backend.messages() == before
