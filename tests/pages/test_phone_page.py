"""The phone page of the stand-in: chats, ticks, the wire, and what happens when somebody is away:
`make test-page`.
"""

import json
import re
import shlex

import pytest
from playwright.sync_api import expect

from tests.phone import (
    HARM,
    NUMBERS,
    TOO_WIDE,
    WATCH,
    buttons,
    chromium,
    gateway,
    of,
    phone,
    pick_up,
    send,
)
from tests.stack import PHONE_NUMBER_ID, wait_until

pytestmark = pytest.mark.browser


def test_what_i_write_is_answered_by_the_ai_and_its_ticks_advance(gateway, phone):
    phone.page.evaluate(WATCH)
    phone.write('Is it open today?')
    expect(
        phone.mine('Is it open today?').get_by_role('img', name='the gateway took it')
    ).to_be_visible()
    reply = phone.theirs('You said: Is it open today?')
    expect(reply).to_have_count(1)
    expect(reply.get_by_title('read: reported')).to_be_visible()
    assert phone.page.evaluate('seen') == ['', 'sent', 'sent delivered', 'sent delivered read']
    wait_until(
        lambda: [message['status'] for message in of(gateway, phone, 'outbound')] == ['read']
    )


def test_shift_and_enter_begins_a_line_and_the_button_sends_both(phone):
    field = phone.page.get_by_role('textbox', name='Message; Enter sends')
    field.press_sequentially('one')
    field.press('Shift+Enter')
    field.press_sequentially('two')
    expect(phone.messages.get_by_role('listitem')).to_have_count(0)
    phone.page.get_by_role('button', name='Send', exact=True).click()
    expect(phone.mine('one').locator('.text')).to_have_text('one\ntwo', use_inner_text=True)
    expect(field).to_have_value('')
    expect(phone.theirs('You said: one')).to_be_visible()


def test_a_failed_message_says_so_with_metas_code(gateway, phone):
    phone.become(number='19971310260')
    gateway.backend.send('+19971310260', 'You will not get this')
    expect(phone.theirs('You will not get this').get_by_title('failed: reported')).to_have_text(
        'failed 131026'
    )


def test_a_reload_keeps_the_chat(phone):
    phone.write('Remember this')
    expect(phone.theirs('You said: Remember this').get_by_title('read: reported')).to_be_visible()
    before = phone.messages.inner_text()
    phone.reload()
    expect(phone.messages).to_have_text(before, use_inner_text=True)
    phone.write('And this')
    expect(phone.theirs('You said: And this')).to_be_visible()


def test_another_customer_has_another_chat_which_a_reload_stays_with(phone):
    other = next(NUMBERS)
    phone.write('I am the first')
    expect(phone.theirs('You said: I am the first')).to_be_visible()
    phone.become(number=f'+{other}', name='Second Customer')
    expect(phone.page.get_by_role('button', name='Choose who you are')).to_contain_text(f'+{other}')
    expect(phone.page.get_by_role('heading', name='Say something')).to_be_visible()
    expect(phone.messages.get_by_role('listitem')).to_have_count(0)
    phone.write('I am the second')
    expect(phone.theirs('You said: I am the second')).to_be_visible()
    phone.reload()
    expect(phone.theirs('You said: I am the second')).to_be_visible()
    phone.become(number=phone.number)
    expect(phone.theirs('You said: I am the first')).to_be_visible()
    expect(phone.messages).not_to_contain_text('second')


def test_a_number_without_digits_is_nobody(phone):
    phone.page.get_by_role('button', name='Choose who you are').click()
    dialog = phone.page.get_by_role('dialog', name='Who are you?')
    dialog.get_by_role('combobox', name='Phone number').fill('+ - - - (')
    dialog.get_by_role('button', name='Use').click()
    expect(dialog.locator('input[name=wa_id]:invalid')).to_be_visible()
    dialog.get_by_role('button', name='Cancel').click()
    expect(phone.page.get_by_role('button', name='Choose who you are')).to_contain_text(
        phone.number
    )


def test_who_hides_the_number_is_answered_by_the_user_id(gateway, phone):
    phone.become(hide=True)
    expect(phone.page.get_by_role('button', name='Choose who you are')).to_contain_text(
        'number hidden'
    )
    phone.write('Guess who')
    expect(phone.theirs('You said: Guess who').get_by_title('read: reported')).to_be_visible()
    (call,) = [call for call in gateway.stand_in.sends() if 'Guess who' in str(call['body'])]
    assert re.fullmatch(r'[A-Z]{2}\.\w+', call['recipient'])
    assert 'to' not in call['body']
    (conversation,) = [
        one for one in gateway.backend.conversations() if one['user_id'] == call['recipient']
    ]
    assert conversation['wa_id'] is None
    phone.become(hide=False)
    expect(phone.theirs('You said: Guess who')).to_be_visible()
    phone.write('It was me')
    expect(phone.theirs('You said: It was me')).to_be_visible()
    assert gateway.backend.get(f'/conversations/{conversation["id"]}').json['wa_id'] == phone.number


def test_a_click_on_a_button_reaches_the_backend(gateway, phone):
    asked = send(
        gateway,
        phone,
        type='button',
        body={'text': 'Shall we deliver?'},
        action=buttons('Yes, please', 'No'),
    )
    question = phone.theirs('Shall we deliver?')
    expect(question.get_by_role('button', name='No', exact=True)).to_be_visible()
    question.get_by_role('button', name='Yes, please').click()
    expect(phone.mine('Yes, please').get_by_role('img', name='the gateway took it')).to_be_visible()
    expect(phone.mine('Yes, please').get_by_role('blockquote')).to_contain_text('Shall we deliver?')
    (answer,) = wait_until(lambda: of(gateway, phone, 'inbound'))
    assert answer['type'] == 'interactive'
    assert answer['content']['button_reply'] == {'id': 'choice-0', 'title': 'Yes, please'}
    assert answer['context']['id'] == gateway.backend.message(asked['id'])['wamid']


def test_a_row_of_a_list_reaches_the_backend(gateway, phone):
    rows = [
        {'id': 'row-1', 'title': 'Morning', 'description': '8 to 12'},
        {'id': 'row-2', 'title': 'Evening'},
    ]
    action = {'button': 'Choose a time', 'sections': [{'title': 'Today', 'rows': rows}]}
    send(gateway, phone, type='list', body={'text': 'When shall we come?'}, action=action)
    phone.theirs('When shall we come?').get_by_role('button', name='Choose a time').click()
    phone.page.get_by_role('dialog', name='Choose a time').get_by_role(
        'button', name='Morning'
    ).click()
    expect(phone.mine('Morning').get_by_role('img', name='the gateway took it')).to_be_visible()
    (answer,) = wait_until(lambda: of(gateway, phone, 'inbound'))
    assert answer['content']['list_reply'] == rows[0]


def test_a_quoted_reply_and_a_reaction_carry_the_message_they_are_about(gateway, phone):
    phone.write('First')
    reply = phone.theirs('You said: First')
    phone.about(reply, 'React with 👍', role='menuitemcheckbox')
    expect(reply.get_by_title('Reactions')).to_have_text('👍')
    reply.hover()
    reply.get_by_role('button', name='Reply to this message').click()
    phone.write('About that')
    expect(phone.mine('About that').get_by_role('blockquote')).to_contain_text('You said: First')
    expect(phone.theirs('About that')).to_be_visible()
    quoted, reaction, _ = of(gateway, phone, 'inbound')
    wamid = of(gateway, phone, 'outbound')[-1]['wamid']
    assert (reaction['content']['message_id'], quoted['context']['id']) == (wamid, wamid)


def test_html_in_what_i_write_and_what_is_answered_is_text(phone):
    phone.become(name=HARM[:60])
    phone.write(HARM)
    expect(phone.mine(HARM).locator('.text')).to_have_text(HARM)
    expect(phone.theirs(HARM).locator('.text')).to_have_text(f'You said: {HARM}')
    expect(phone.theirs(HARM).get_by_title('read: reported')).to_be_visible()
    phone.reload()
    expect(phone.theirs(HARM)).to_be_visible()
    assert not phone.harmed()


def test_html_in_every_part_of_an_interactive_message_is_text(gateway, phone):
    short = '<img src=x>'
    header, rows = (
        {'type': 'text', 'text': short},
        [{'id': HARM, 'title': short, 'description': HARM[:60]}],
    )
    send(
        gateway,
        phone,
        type='button',
        header=header,
        body={'text': HARM},
        footer={'text': HARM[:60]},
        action=buttons(short),
    )
    sections = [{'title': short, 'rows': rows}]
    send(
        gateway,
        phone,
        type='list',
        body={'text': 'A list'},
        action={'button': short, 'sections': sections},
    )
    phone.theirs(HARM).get_by_role('button', name=short).click()
    expect(phone.mine(short).locator('.text')).to_have_text(short)
    phone.theirs('A list').get_by_role('button', name=short).click()
    phone.page.get_by_role('dialog', name=short).get_by_role('button', name=short).click()
    expect(phone.messages.locator('.mine .footer')).to_have_text(HARM[:60])
    assert not phone.harmed()


@pytest.mark.parametrize(
    'address',
    ['javascript:window.harmed=true', 'data:text/html,<script>alert(1)</script>'],
    ids=['script', 'data'],
)
def test_only_web_addresses_become_links(gateway, phone, address):
    """Past the gateway, whatever that lets through."""
    parameters = {'display_text': 'Look', 'url': address}
    interactive = {'type': 'cta_url', 'body': {'text': f'See {address}'}}
    interactive['action'] = {'name': 'cta_url', 'parameters': parameters}
    body = {
        'messaging_product': 'whatsapp',
        'to': phone.number,
        'type': 'interactive',
        'interactive': interactive,
    }
    phone.page.request.post(
        f'{phone.url}/v26.0/{PHONE_NUMBER_ID}/messages',
        data=body,
        headers={'Authorization': 'Bearer anything'},
    )
    expect(phone.theirs(f'See {address}')).to_be_visible()
    expect(phone.theirs('Look').get_by_role('link')).to_have_count(0)
    phone.theirs('Look').get_by_text('Look').click()
    assert not phone.harmed()


def test_the_wire_panel_lists_calls_in_both_directions_the_newest_first(phone):
    phone.write('Hello')
    expect(phone.theirs('You said: Hello').get_by_title('read: reported')).to_be_visible()
    for what in (
        "webhook customer's text 200",
        'call AI asked 200',
        f'call send to {phone.number} 200',
    ):
        expect(
            phone.calls.filter(has_text=re.compile(what.replace(' ', r'\s*'))).first
        ).to_be_visible()
    newest = phone.calls.filter(has_text='webhookstatus')
    expect(newest.nth(0)).to_contain_text('status read')
    expect(newest.nth(2)).to_contain_text('status sent')
    phone.reload()
    expect(phone.calls.filter(has_text=f'send to {phone.number}')).to_have_count(1)


def test_a_line_of_the_wire_opens_to_head_and_body_without_secrets(gateway, phone):
    phone.write('Hello')
    expect(phone.theirs('You said: Hello').get_by_title('read: reported')).to_be_visible()
    for what in (f'send to {phone.number}', "customer's text"):
        line = phone.calls.filter(has_text=what).first
        line.locator('summary').press('Enter')
        expect(line.get_by_role('group', name='Request')).to_contain_text('Hello')
    sent = phone.calls.filter(has_text=f'send to {phone.number}')
    expect(sent.get_by_role('group', name='Request')).to_contain_text('Authorization: (hidden)')
    expect(sent.get_by_role('group', name='Answer')).to_contain_text('wamid.')
    assert 'token-of-acme' not in phone.page.content()
    sent.locator('summary').click()
    expect(sent.get_by_role('group', name='Request')).to_be_hidden()
    sent.locator('summary').click()
    expect(sent.locator('pre')).to_have_count(2)


def test_the_wire_panel_stays_as_i_left_it(phone):
    panel = phone.page.get_by_role('complementary', name='What went over the wire')
    expect(panel).to_be_visible()
    panel.get_by_role('button', name='Close').click()
    expect(panel).to_be_hidden()
    phone.reload()
    expect(panel).to_be_hidden()
    phone.page.get_by_role('button', name='What went over the wire').click()
    expect(panel).to_be_visible()


def test_a_message_to_a_gateway_that_is_down_warns_until_it_is_up_and_answers(gateway, phone):
    gateway.processes.stop('web')
    try:
        phone.write('Anybody there?')
        message = phone.mine('Anybody there?')
        expect(message).to_contain_text('The gateway did not answer. Like Meta, I go on trying.')
        expect(message.get_by_role('img', name='the gateway did not take it')).to_be_visible()
        expect(phone.calls.filter(has_text="customer's text").first).to_contain_text('no answer')
    finally:
        gateway.processes.start('web')
        gateway.processes.wait_port(gateway.port)
    expect(message.get_by_role('img', name='the gateway took it')).to_be_visible()
    expect(message).not_to_contain_text('did not answer')
    expect(phone.theirs('You said: Anybody there?')).to_have_count(1)


def test_a_message_to_a_stand_in_that_is_away_is_sent_once_it_is_back(gateway, phone):
    stand_in = gateway.stand_in
    config = {name: stand_in.get('/config')[name] for name in ('webhook_url', 'status_delay')}
    stand_in.processes.kill('simulator')
    try:
        phone.write('Are you away?')
        expect(phone.mine('Are you away?')).to_contain_text(
            'The simulator is away. This is sent when it is back.'
        )
        expect(phone.page.get_by_role('status')).to_contain_text('The simulator is away')
    finally:
        stand_in.start(config['webhook_url'])
        stand_in.config(**config)
    expect(phone.theirs('You said: Are you away?')).to_have_count(1)
    expect(phone.mine('Are you away?')).not_to_contain_text('away.')
    phone.connected()
    phone.forgive(
        'ERR_CONNECTION_REFUSED',
        'ERR_INCOMPLETE_CHUNKED_ENCODING',
        'ERR_CONNECTION_RESET',
        'ERR_EMPTY_RESPONSE',  # of what the page asked at that moment
    )


def test_a_message_that_the_stand_in_refuses_says_why(gateway, phone):
    url = gateway.stand_in.get('/config')['webhook_url']
    gateway.stand_in.config(webhook_url='')
    try:
        phone.write('To nobody')
        expect(phone.mine('To nobody')).to_contain_text('Not sent: no webhook URL is configured')
    finally:
        gateway.stand_in.config(webhook_url=url)
    phone.forgive('422 (Unprocessable Entity)')


def test_the_business_can_be_played_with_the_command_that_is_shown(gateway, phone):
    phone.page.get_by_text('Write as the business').click()
    command = phone.page.locator('#curl pre')
    expect(command).to_contain_text(f'curl {gateway.url}/whatsapp-cloud/send')
    expect(command).to_contain_text(f'"to": "+{phone.number}"')
    names = phone.page.get_by_role('combobox', name='What to write')
    for name in names.locator('option').all_inner_texts():
        names.select_option(name)
        words = shlex.split(
            command.inner_text().replace('demo', 'acme').replace('$API_KEY', 'test-key')
        )
        body = json.loads(words[words.index('-d') + 1])
        assert gateway.backend.post('/send', body).status_code == 202, body
    expect(phone.messages.locator('.theirs')).to_have_count(9)
    expect(phone.theirs('Hello Ines, your order A17 is ready.')).to_be_visible()


@pytest.mark.parametrize('width', [320, 390])
def test_nothing_sticks_out_of_a_narrow_screen(gateway, pick_up, width):
    phone = pick_up(width=width, height=760)
    expect(phone.page.get_by_role('heading', name='Say something')).to_be_visible()
    assert phone.page.evaluate(TOO_WIDE) == []
    phone.write('https://example.com/' + 'a-very-long-path' * 20)
    expect(phone.theirs('a-very-long-path').get_by_title('read: reported')).to_be_visible()
    send(
        gateway,
        phone,
        type='button',
        body={'text': 'W' * 300},
        action=buttons('W' * 20, 'M' * 20, 'No'),
    )
    expect(phone.theirs('WWW').get_by_role('button', name='No')).to_be_visible()
    assert phone.page.evaluate(TOO_WIDE) == []
    phone.page.get_by_role('button', name='What went over the wire').click()
    expect(phone.calls.first).to_be_visible()
    phone.page.get_by_text('Write as the business').click()
    assert phone.page.evaluate(TOO_WIDE) == []
    phone.page.get_by_role('button', name='Close').click()
    phone.page.get_by_role('button', name='Send something else').click()
    assert phone.page.evaluate(TOO_WIDE) == []
    phone.page.get_by_role('menuitem', name='Location').click()
    assert phone.page.evaluate(TOO_WIDE) == []
    phone.fill('Location', Name='N' * 200)
    expect(phone.mine('NNN')).to_be_visible()
    phone.file('Document', name='z' * 150 + '.txt', mimeType='text/plain', buffer=b'Some notes')
    assert phone.page.evaluate(TOO_WIDE) == []
    phone.page.get_by_role('button', name='Send', exact=True).click()
    expect(phone.mine('zzz')).to_be_visible()
    assert phone.page.evaluate(TOO_WIDE) == []
    phone.become(name='A name of as many as sixty letters, which is too long by far', hide=True)
    phone.page.get_by_role('button', name='Choose who you are').click()
    assert phone.page.evaluate(TOO_WIDE) == []
    assert phone.page.evaluate('document.scrollingElement.scrollWidth') <= width
