"""What the phone page shows of each type that the business sends, through the gateway's API."""

import pytest
import requests
from playwright.sync_api import expect

from tests.pages.test_phone_sends import PNG
from tests.phone import HARM, TOO_WIDE, buttons, chromium, gateway, phone, pick_up
from tests.stack import PHONE_NUMBER_ID, ROOT, wait_until

pytestmark = pytest.mark.browser

# What is written on a background that it can hardly be told from, by WCAG's formula.
CONTRAST = """() => {
  const canvas = document.createElement('canvas').getContext('2d', {willReadFrequently: true});
  const rgb = (colour) => {
    canvas.clearRect(0, 0, 1, 1);
    canvas.fillStyle = colour;
    canvas.fillRect(0, 0, 1, 1);
    return [...canvas.getImageData(0, 0, 1, 1).data];
  };
  const linear = (part) => (part <= 0.03928 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4);
  const light = ([r, g, b]) =>
    0.2126 * linear(r / 255) + 0.7152 * linear(g / 255) + 0.0722 * linear(b / 255);
  const back = (one) => {
    const colour = rgb(getComputedStyle(one).backgroundColor);
    return colour[3] === 255 || !one.parentElement ? colour : back(one.parentElement);
  };
  const shown = document.querySelectorAll(
    '.bubble p, .bubble button, .meta, .reported .on, #menu span, #state, .code');
  return [...shown].map((one) => {
    const both = [light(rgb(getComputedStyle(one).color)), light(back(one))];
    const [a, b] = both.sort((x, y) => y - x);
    return [one.textContent, (a + 0.05) / (b + 0.05)];
  }).filter(([, contrast]) => contrast < 4.5);
}"""
WABA = '880011223344556'
LINK = 'https://example.com/a'
IMAGE = {'type': 'image', 'image': {'link': f'{LINK}.png'}}
CARD = {
    'card_index': 0, 'type': 'cta_url', 'header': IMAGE, 'body': {'text': 'A card'},
    'action': {'name': 'cta_url', 'parameters': {'display_text': 'Look at it', 'url': LINK}},
}  # fmt: skip


def send(gateway, phone, kind, content, **more):
    body = {'chatbot_id': 'acme', 'to': f'+{phone.number}', 'type': kind, kind: content, **more}
    answer = gateway.backend.post('/send', body)
    assert answer.status_code == 202, answer.text


def uploaded(gateway, content=PNG, mime_type='image/png'):
    name = f'a.{mime_type.partition("/")[2]}'  # Meta goes by its ending
    answer = requests.post(
        f'{gateway.stand_in.url}/v26.0/{PHONE_NUMBER_ID}/media',
        headers={'Authorization': 'Bearer any'},
        timeout=10,
        data={'messaging_product': 'whatsapp', 'type': mime_type},
        files={'file': (name, content, mime_type)},
    )
    return answer.json()['id']


def theirs(phone):
    return phone.messages.locator('.theirs').last


def decoded(phone):
    return phone.page.locator('.bubble img').evaluate(
        'one => one.decode().then(() => one.naturalWidth)'
    )


@pytest.mark.parametrize('kind', ['image', 'sticker'])
def test_a_picture_that_was_uploaded_to_meta_is_seen(gateway, phone, kind):
    caption = {'caption': 'The blue one'} if kind == 'image' else {}
    send(gateway, phone, kind, {'id': uploaded(gateway), **caption})
    expect(theirs(phone)).to_contain_text(caption.get('caption', 'sent'))
    assert decoded(phone) == 1


def test_a_picture_that_was_uploaded_to_the_gateway_is_seen(gateway, phone):
    answer = gateway.backend.request(
        'POST', '/media', data={'chatbot_id': 'acme'}, files={'file': ('a.png', PNG)}
    )
    assert answer.status_code == 201, answer.text
    send(gateway, phone, 'image', {'id': answer.json['id'], 'caption': 'Ours'})
    expect(theirs(phone)).to_contain_text('Ours')
    assert decoded(phone) == 1


@pytest.mark.parametrize(
    ('kind', 'content', 'shown'),
    [
        (
            'document',
            {'link': f'{LINK}.pdf', 'filename': 'contract.pdf', 'caption': 'Please sign'},
            'contract.pdf',
        ),
        (
            'location',
            {'latitude': 38.7, 'longitude': -9.1, 'name': 'Our dock', 'address': 'Rua 7'},
            'Our dock',
        ),
        (
            'contacts',
            [
                {
                    'name': {'formatted_name': 'Ana Reis', 'first_name': 'Ana'},
                    'phones': [{'phone': '+12025550188', 'type': 'CELL'}],
                }
            ],
            '+12025550188',
        ),
        ('text', {'body': 'See *this*'}, 'See this'),
    ],
)
def test_what_is_no_picture_is_shown_in_words(gateway, phone, kind, content, shown):
    send(gateway, phone, kind, content)
    expect(theirs(phone)).to_contain_text(shown)


@pytest.mark.parametrize(('kind', 'tag'), [('video', 'video'), ('audio', 'audio')])
def test_films_and_sound_have_a_player_while_they_can_be_fetched(gateway, phone, kind, tag):
    voice = (ROOT / 'tests' / 'simulator' / 'voice.ogg').read_bytes()
    send(gateway, phone, kind, {'id': uploaded(gateway, voice, 'audio/ogg')})
    player = theirs(phone).locator(tag)
    expect(player).to_have_js_property('controls', True)
    phone.page.wait_for_function(
        'tag => document.querySelector(`.theirs ${tag}`).duration > 1', arg=tag
    )


ACTIONS = [
    ('button', buttons('Yes', 'No'), ['Yes', 'No']),
    (
        'flow',
        {
            'name': 'flow',
            'parameters': {'flow_message_version': '3', 'flow_id': '1', 'flow_cta': 'Book now'},
        },
        ['Book now'],
    ),
    ('product', {'catalog_id': '9', 'product_retailer_id': 'kayak-blue'}, ['View item']),
    ('catalog_message', {'name': 'catalog_message'}, ['View catalog']),
    ('location_request_message', {'name': 'send_location'}, ['Send location']),
    (
        'address_message',
        {'name': 'address_message', 'parameters': {'country': 'IN'}},
        ['Provide address'],
    ),
    (
        'call_permission_request',
        {'name': 'call_permission_request'},
        ['Allow calls', 'Do not allow'],
    ),
    ('request_contact_info', {'name': 'request_contact_info'}, ['Share my number']),
]


@pytest.mark.parametrize(('kind', 'action', 'names'), ACTIONS, ids=[one[0] for one in ACTIONS])
def test_an_interactive_message_has_its_text_and_its_buttons(gateway, phone, kind, action, names):
    send(
        gateway,
        phone,
        'interactive',
        {'type': kind, 'body': {'text': 'Please choose'}, 'action': action},
    )
    message = phone.theirs('Please choose')
    for name in names:
        expect(message.get_by_role('button', name=name, exact=True)).to_be_enabled()


def test_a_link_button_and_the_cards_of_a_carousel_lead_outside(gateway, pick_up):
    phone = pick_up(width=390)
    parameters = {'display_text': 'Open the shop', 'url': LINK}
    action = {'name': 'cta_url', 'parameters': parameters}
    send(
        gateway,
        phone,
        'interactive',
        {'type': 'cta_url', 'body': {'text': 'Ours'}, 'action': action},
    )
    expect(phone.theirs('Ours').get_by_role('link', name='Open the shop')).to_have_attribute(
        'href', LINK
    )
    cards = [{**CARD, 'card_index': index} for index in range(4)]
    send(
        gateway,
        phone,
        'interactive',
        {'type': 'carousel', 'body': {'text': 'Four'}, 'action': {'cards': cards}},
    )
    expect(phone.theirs('Four').get_by_role('link', name='Look at it')).to_have_count(4)
    assert phone.page.evaluate(TOO_WIDE) == []
    phone.forgive('ERR_')  # the pictures are somewhere else


def create_template(gateway, name, *components):
    """At Meta; the gateway reads its list again, for it refuses what is not in a list that it
    knows.
    """
    made = {
        'name': name,
        'language': 'en_US',
        'category': 'UTILITY',
        'components': list(components),
    }
    answer = requests.post(
        f'{gateway.stand_in.url}/v26.0/{WABA}/message_templates',
        json=made,
        headers={'Authorization': 'Bearer any'},
        timeout=10,
    )
    assert answer.ok, answer.text
    gateway.backend.account(waba_id=WABA)
    assert gateway.backend.post('/templates/sync', {'chatbot_id': 'acme'}).status_code == 202
    address = f'/templates/{name}?chatbot_id=acme&language=en_US'
    wait_until(lambda: gateway.backend.get(address).status_code == 200, 30)


BUTTONS = [
    {'type': 'QUICK_REPLY', 'text': 'Tell me more'},
    {
        'type': 'URL',
        'text': 'Track it',
        'url': 'https://example.com/{{1}}',
        'example': ['https://example.com/A17'],
    },
    {'type': 'PHONE_NUMBER', 'text': 'Call us', 'phone_number': '+12025550100'},
]


def test_a_template_is_shown_filled_in_and_its_quick_reply_is_a_button(gateway, phone):
    header, footer = (
        {'type': 'HEADER', 'format': 'TEXT', 'text': 'Order {{1}}'},
        {'type': 'FOOTER', 'text': 'Acme'},
    )
    header['example'] = {'header_text': ['A17']}
    body = {
        'type': 'BODY',
        'text': 'Dear {{1}}, it is *ready*',
        'example': {'body_text': [['Ana']]},
    }
    create_template(gateway, 'ready', header, body, footer, {'type': 'BUTTONS', 'buttons': BUTTONS})
    parameters = [
        {'type': 'header', 'parameters': [{'type': 'text', 'text': 'A17'}]},
        {'type': 'body', 'parameters': [{'type': 'text', 'text': HARM}]},
        {
            'type': 'button',
            'sub_type': 'quick_reply',
            'index': '0',
            'parameters': [{'type': 'payload', 'payload': 'more'}],
        },
        {
            'type': 'button',
            'sub_type': 'url',
            'index': '1',
            'parameters': [{'type': 'text', 'text': 'A17'}],
        },
    ]
    send(
        gateway,
        phone,
        'template',
        {'name': 'ready', 'language': {'code': 'en_US'}, 'components': parameters},
    )
    message = phone.theirs('Order A17')
    expect(message).to_contain_text(f'Dear {HARM}, it is ready')
    expect(message).to_contain_text('Acme')
    expect(message.get_by_role('link', name='Track it')).to_have_attribute(
        'href', 'https://example.com/A17'
    )
    expect(message.get_by_role('button', name='Call us')).to_be_disabled()
    message.get_by_role('button', name='Tell me more').click()
    expect(phone.mine('Tell me more').get_by_role('blockquote')).to_contain_text('Dear')
    assert not phone.harmed()


def test_a_template_may_have_a_picture_and_cards(gateway, phone):
    media_id = uploaded(gateway)
    inner = [
        {'type': 'HEADER', 'format': 'IMAGE', 'example': {'header_handle': ['4::a']}},
        {'type': 'BODY', 'text': 'Card {{1}}', 'example': {'body_text': [['A']]}},
    ]
    create_template(
        gateway,
        'cards',
        {'type': 'BODY', 'text': 'Two'},
        {'type': 'CAROUSEL', 'cards': [{'components': inner}] * 2},
    )
    image = {'type': 'header', 'parameters': [{'type': 'image', 'image': {'id': media_id}}]}
    cards = [
        {
            'card_index': index,
            'components': [image, {'type': 'body', 'parameters': [{'type': 'text', 'text': name}]}],
        }
        for index, name in enumerate('AB')
    ]
    parts = [{'type': 'carousel', 'cards': cards}]
    send(
        gateway,
        phone,
        'template',
        {'name': 'cards', 'language': {'code': 'en_US'}, 'components': parts},
    )
    message = phone.theirs('Two')
    expect(message).to_contain_text('Card A')
    expect(message).to_contain_text('Card B')
    expect(message.get_by_role('img', name='Picture')).to_have_count(2)


def test_the_business_quotes_and_reacts(gateway, phone):
    phone.write('Is it there?')
    expect(phone.theirs('You said: Is it there?')).to_be_visible()
    wamid = gateway.backend.messages(direction='inbound')[0]['wamid']
    send(gateway, phone, 'text', {'body': 'Yes'}, context={'message_id': wamid})
    expect(phone.theirs('Yes').get_by_role('blockquote')).to_contain_text('Is it there?')
    send(gateway, phone, 'reaction', {'message_id': wamid, 'emoji': '🎉'})
    expect(phone.mine('Is it there?').get_by_title('Reactions')).to_have_text('🎉')


def test_what_the_page_does_not_know_is_shown_as_it_came(gateway, phone):
    body = {
        'messaging_product': 'whatsapp',
        'to': phone.number,
        'type': 'pin',
        'pin': {'type': 'pin', 'message_id': 'x'},
    }
    url = f'{gateway.stand_in.url}/v26.0/{PHONE_NUMBER_ID}/messages'
    requests.post(url, json=body, headers={'Authorization': 'Bearer any'}, timeout=10)
    phone.theirs('pin').get_by_text('pin').first.click()
    expect(phone.theirs('pin').locator('pre')).to_contain_text('"message_id": "x"')


SCRIPT = 'javascript:window.harmed=true'
HOSTILE = [
    ('document', {'link': LINK, 'blob': SCRIPT, 'filename': HARM}),
    (
        'contacts',
        [{'name': {'formatted_name': HARM, 'first_name': HARM}, 'phones': [{'phone': HARM}]}],
    ),
    ('location', {'latitude': 1, 'longitude': 2, 'name': HARM, 'address': HARM}),
    (
        'interactive',
        {'type': 'product', 'action': {'catalog_id': '9', 'product_retailer_id': HARM[:100]}},
    ),
    (
        'interactive',
        {
            'type': 'carousel',
            'body': {'text': HARM},
            'action': {
                'cards': [
                    {
                        **CARD,
                        'header': {'type': 'constructor', 'constructor': {}},
                        'body': {'text': HARM},
                        'action': {
                            'name': 'cta_url',
                            'parameters': {'display_text': HARM[:20], 'url': SCRIPT},
                        },
                    }
                ]
                * 2
            },
        },
    ),
    (
        'interactive',
        {
            'type': 'cta_url',
            'body': {'text': HARM},
            'header': {'type': 'document', 'document': {'link': SCRIPT, 'id': '../../phone'}},
            'action': {'parameters': {'display_text': 'x', 'url': SCRIPT}},
        },
    ),
]


def test_hostile_contents_are_words(gateway, phone):
    """Past the gateway, whatever that lets through."""
    for kind, content in HOSTILE:
        body = {'messaging_product': 'whatsapp', 'to': phone.number, 'type': kind, kind: content}
        url = f'{gateway.stand_in.url}/v26.0/{PHONE_NUMBER_ID}/messages'
        assert requests.post(url, json=body, headers={'Authorization': 'Bearer any'}, timeout=10).ok
    expect(phone.messages.locator('.theirs')).to_have_count(len(HOSTILE))
    phone.page.get_by_role('button', name='View item').click()
    phone.fill('Order')
    expect(phone.mine('img src')).to_be_visible()
    assert phone.page.locator('a[href^=javascript]').count() == 0
    assert not phone.harmed()
    phone.forgive('shown as JSON')


@pytest.mark.parametrize('scheme', ['light', 'dark'])
def test_words_can_be_read_in_the_light_and_in_the_dark(gateway, phone, scheme):
    phone.page.emulate_media(color_scheme=scheme)
    send(
        gateway,
        phone,
        'interactive',
        {'type': 'button', 'body': {'text': 'Choose'}, 'action': buttons('Yes')},
    )
    phone.write('Hello')
    expect(phone.theirs('You said: Hello')).to_be_visible()
    phone.page.get_by_role('button', name='Send something else').click()
    assert phone.page.evaluate(CONTRAST) == []
