"""Everything that a customer can send from the phone page, seen arriving in the gateway through its
API.
"""

import json

import pytest
from playwright.sync_api import expect

from tests.phone import NUMBERS, buttons, chromium, gateway, of, phone, pick_up, send
from tests.stack import wait_until

pytestmark = pytest.mark.browser

PNG = bytes.fromhex(
    '89504e470d0a1a0a0000000d49484452000000010000000108060000001f15c4890000000d4944415478da6364f8cf500f000386018'
    '05a347d6b0000000049454e44ae426082'
)
PLAIN = {'name': 'notes.txt', 'mimeType': 'text/plain', 'buffer': b'Some notes'}
BODY = {'text': 'Please choose'}
RETAILER = {'catalog_id': '9', 'product_retailer_id': 'kayak-blue'}


def newest(gateway, phone, kind):
    """What came in last, once it is of this type."""
    return wait_until(
        lambda: next(
            (one for one in of(gateway, phone, 'inbound')[:1] if one['type'] == kind), None
        )
    )


def taken(message):
    expect(
        message.get_by_role('img', name='the gateway took it').or_(
            message.get_by_role('img', name='read by')
        )
    ).to_be_visible()


def asked(gateway, phone, kind, action, **more):
    """An interactive message, past whatever the gateway checks; the bubble that shows it."""
    send(gateway, phone, type=kind, body=BODY, action=action, **more)
    return phone.theirs('Please choose')


@pytest.mark.parametrize(
    ('mime_type', 'name', 'kind'),
    [
        ('image/png', 'photo.png', 'image'),
        ('video/mp4', 'film.mp4', 'video'),
        ('audio/mpeg', 'song.mp3', 'audio'),
    ],
)
def test_a_picture_a_film_and_sound_are_media_messages(gateway, phone, mime_type, name, kind):
    phone.file('Photo, video or audio', name=name, mimeType=mime_type, buffer=PNG)
    if kind != 'audio':
        expect(phone.page.locator('#draft')).to_contain_text(name)
        phone.write('Look at this')
    taken(phone.messages.locator('.mine'))
    came = newest(gateway, phone, kind)
    assert (came['content']['mime_type'], came['content'].get('caption')) == (
        mime_type,
        None if kind == 'audio' else 'Look at this',
    )
    phone.forgive('ERR_')  # this film and song are none


def test_a_document_keeps_its_name(gateway, phone):
    phone.file('Document', **PLAIN)
    phone.page.get_by_role('button', name='Send', exact=True).click()
    taken(phone.mine('notes.txt'))
    assert newest(gateway, phone, 'document')['content']['filename'] == 'notes.txt'


def test_a_file_that_is_not_to_be_sent_is_not(phone):
    phone.file('Document', **PLAIN)
    phone.page.get_by_role('button', name='Do not send the file').click()
    phone.write('Only words')
    expect(phone.theirs('You said: Only words')).to_be_visible()
    expect(phone.messages).not_to_contain_text('notes.txt')


def test_a_voice_message_can_be_heard(gateway, phone):
    phone.attach('Voice message')
    taken(phone.messages.locator('.mine'))
    content = newest(gateway, phone, 'audio')['content']
    assert (content['voice'], content['mime_type']) == (True, 'audio/ogg; codecs=opus')
    wait_until(lambda: phone.page.evaluate('document.querySelector(".voice audio").duration > 1'))


def test_a_sticker_is_a_webp_picture(gateway, phone):
    phone.attach('Sticker')
    phone.page.get_by_role('menu', name='Sticker').get_by_role('menuitem', name='🛶').click()
    taken(phone.messages.locator('.mine'))
    assert newest(gateway, phone, 'sticker')['content'] | {
        'mime_type': 'image/webp',
        'animated': False,
    }
    assert (
        phone.page.locator('.sticker img').evaluate(
            'one => one.decode().then(() => one.naturalWidth)'
        )
        == 512
    )


def test_a_location(gateway, phone):
    phone.attach('Location')
    phone.fill('Location', Name='Dock A', Latitude='0', Longitude='-9.5')
    taken(phone.mine('Dock A'))
    content = newest(gateway, phone, 'location')['content']
    assert (content['name'], content['latitude'], content['longitude']) == ('Dock A', 0, -9.5)


def test_a_contact(gateway, phone):
    phone.attach('Contact')
    phone.fill('Contact', Name='Bruno Reis', **{'Phone number': '+12025550177'})
    taken(phone.mine('Bruno Reis'))
    (card,) = newest(gateway, phone, 'contacts')['content']
    assert (card['name']['formatted_name'], card['phones'][0]['wa_id']) == (
        'Bruno Reis',
        '12025550177',
    )


def test_a_reaction_is_given_and_taken_back(gateway, phone):
    phone.write('Hello')
    reply = phone.theirs('You said: Hello')
    phone.about(reply, 'React with 🙏', role='menuitemcheckbox')
    expect(reply.get_by_title('Reactions')).to_have_text('🙏')
    wamid = of(gateway, phone, 'outbound')[-1]['wamid']
    assert newest(gateway, phone, 'reaction')['content'] == {'message_id': wamid, 'emoji': '🙏'}
    phone.about(reply, 'Take back 🙏', role='menuitemcheckbox')
    expect(reply.get_by_title('Reactions')).to_have_count(0)
    wait_until(lambda: of(gateway, phone, 'inbound')[0]['content'] == {'message_id': wamid})


def test_an_own_message_is_edited_and_deleted(gateway, phone):
    phone.write('Mondai')
    expect(phone.theirs('You said: Mondai')).to_be_visible()
    phone.about(phone.mine('Mondai'), 'Edit')
    phone.write('Tuesday')
    expect(phone.mine('Tuesday')).to_contain_text('edited')
    wamid = of(gateway, phone, 'inbound')[-1]['wamid']
    edit = newest(gateway, phone, 'edit')['content']
    assert (edit['original_message_id'], edit['message']['text']) == (wamid, {'body': 'Tuesday'})
    phone.about(phone.mine('Tuesday'), 'Delete for everyone')
    expect(phone.messages).to_contain_text('You deleted this message')
    assert newest(gateway, phone, 'revoke')['content'] == {'original_message_id': wamid}
    phone.reload()
    expect(phone.messages).to_contain_text('You deleted this message')
    expect(phone.messages.locator('.mine')).to_have_count(1)
    expect(phone.messages.locator('.mine')).not_to_contain_text('Mondai')


def test_something_unsupported_is_kept(gateway, phone):
    phone.attach('Something unsupported')
    expect(phone.mine('poll creation')).to_be_visible()
    assert newest(gateway, phone, 'unsupported')


def test_the_business_writes_from_its_own_phone(gateway, phone):
    phone.attach('Write on the business')
    phone.write('I call you back')
    written = phone.theirs('I call you back')
    expect(written).to_contain_text("From the business's own phone")
    taken(written)
    (echo,) = wait_until(lambda: of(gateway, phone, 'outbound'))
    assert (echo['origin'], echo['content']) == ('business_app', {'body': 'I call you back'})
    phone.page.get_by_role('button', name='Write as the customer again').click()
    phone.write('Thank you')
    taken(phone.mine('Thank you'))
    expect(phone.page.locator('#pause')).to_contain_text('own phone has this chat')
    phone.page.get_by_text('Write as the business').click()
    phone.page.get_by_role('button', name='Give back').click()
    expect(phone.theirs('You said: Thank you')).to_be_visible()
    assert len(phone.theirs('You said').all()) == 1, 'an echo is not answered'


def test_a_customer_moves_to_a_new_number_and_stops_marketing(gateway, phone):
    phone.write('It is me')
    expect(phone.theirs('You said: It is me')).to_be_visible()
    new = str(next(NUMBERS))
    phone.become(number=new, tick='The same person with a new number')
    (system,) = wait_until(
        lambda: [m for m in gateway.backend.messages(direction='inbound') if m['type'] == 'system']
    )
    assert (system['content']['type'], system['content']['wa_id']) == ('user_changed_number', new)
    expect(phone.messages).to_contain_text(f'changed from {phone.number} to {new}')
    phone.become(tick='Marketing messages')
    (call,) = wait_until(lambda: phone.calls.filter(has_text='customer says stop').all())
    expect(call).to_contain_text('200')
    phone.become(tick='Marketing messages')
    expect(phone.calls.filter(has_text='customer says resume')).to_have_count(1)


def test_a_flow_is_filled_in(gateway, phone):
    parameters = {
        'flow_message_version': '3',
        'flow_id': '1',
        'flow_cta': 'Book',
        'flow_token': 'token-7',
    }
    bubble = asked(gateway, phone, 'flow', {'name': 'flow', 'parameters': parameters})
    bubble.get_by_role('button', name='Book').click()
    phone.fill('Book', Answer='Sunday')
    taken(phone.mine('Sunday'))
    reply = newest(gateway, phone, 'interactive')['content']['nfm_reply']
    assert reply['name'] == 'flow'
    assert json.loads(reply['response_json']) | {
        'flow_token': 'token-7',
        'answer': 'Sunday',
    } == json.loads(reply['response_json'])


def test_a_product_is_ordered(gateway, phone):
    bubble = asked(gateway, phone, 'product', RETAILER)
    bubble.get_by_role('button', name='View item').click()
    phone.fill('Order', Message='Gift wrap', **{'How many kayak-blue': '2'})
    taken(phone.mine('kayak-blue'))
    order = newest(gateway, phone, 'order')['content']
    (item,) = order['product_items']
    assert (order['catalog_id'], order['text'], item['product_retailer_id'], item['quantity']) == (
        '9',
        'Gift wrap',
        'kayak-blue',
        2,
    )


def test_some_of_a_product_list_are_ordered(gateway, phone):
    items = [{'product_retailer_id': name} for name in ('kayak', 'canoe', 'vest')]
    action = {'catalog_id': '9', 'sections': [{'title': 'Boats', 'product_items': items}]}
    bubble = asked(gateway, phone, 'product_list', action, header={'type': 'text', 'text': 'Ours'})
    bubble.get_by_role('button', name='View items').click()
    phone.fill('Order', **{'How many canoe': '0'})
    expect(phone.mine('kayak')).to_contain_text('Total')
    ordered = newest(gateway, phone, 'order')['content']['product_items']
    assert [one['product_retailer_id'] for one in ordered] == ['kayak', 'vest']


@pytest.mark.parametrize(
    ('choice', 'wanted'), [('Always', {'is_permanent': True}), (None, {'response': 'reject'})]
)
def test_calls_are_allowed_or_not(gateway, phone, choice, wanted):
    bubble = asked(gateway, phone, 'call_permission_request', {'name': 'call_permission_request'})
    bubble.get_by_role('button', name='Allow calls' if choice else 'Do not allow').click()
    if choice:
        phone.page.get_by_role('dialog', name='Allow calls').get_by_role(
            'button', name=choice
        ).click()
    taken(phone.mine('call me'))
    reply = newest(gateway, phone, 'interactive')['content']['call_permission_reply']
    assert reply | wanted == reply


def test_the_number_is_shared(gateway, phone):
    bubble = asked(gateway, phone, 'request_contact_info', {'name': 'request_contact_info'})
    bubble.get_by_role('button', name='Share my number').click()
    taken(phone.mine(phone.number))
    (card,) = newest(gateway, phone, 'contacts')['content']
    assert (card['origin'], card['phones'][0]['wa_id']) == ('contact_request', phone.number)


def test_a_location_that_was_asked_for(gateway, phone):
    bubble = asked(gateway, phone, 'location_request_message', {'name': 'send_location'})
    bubble.get_by_role('button', name='Send location').click()
    phone.fill('Location', Name='Here')
    taken(phone.mine('Here'))
    wamid = of(gateway, phone, 'outbound')[-1]['wamid']
    assert newest(gateway, phone, 'location')['context']['id'] == wamid


def test_an_address_that_was_asked_for(gateway, phone):
    bubble = asked(
        gateway,
        phone,
        'address_message',
        {'name': 'address_message', 'parameters': {'country': 'IN'}},
    )
    bubble.get_by_role('button', name='Provide address').click()
    phone.fill('Address', City='Pune')
    taken(phone.mine('Pune'))
    reply = newest(gateway, phone, 'interactive')['content']['nfm_reply']
    assert reply['name'] == 'address_message'
    assert json.loads(reply['response_json'])['values']['city'] == 'Pune'


def test_the_menu_is_there_for_the_keyboard(gateway, phone):
    phone.page.get_by_role('button', name='Send something else').focus()
    phone.page.keyboard.press('Enter')
    expect(phone.page.get_by_role('menuitem', name='Photo, video or audio')).to_be_focused()
    for _ in range(4):
        phone.page.keyboard.press('ArrowDown')
    expect(phone.page.get_by_role('menuitem', name='Location')).to_be_focused()
    phone.page.keyboard.press('Escape')
    expect(phone.page.get_by_role('menu')).to_be_hidden()
    expect(phone.page.get_by_role('button', name='Send something else')).to_be_focused()
    send(gateway, phone, type='button', body=BODY, action=buttons('Yes'))
    phone.theirs('Please choose').get_by_role('button', name='React and more').focus()
    phone.page.keyboard.press('Enter')
    phone.page.keyboard.press('ArrowRight')
    phone.page.keyboard.press('Enter')
    expect(phone.theirs('Please choose').get_by_title('Reactions')).to_have_text('❤️')
