"""What the content of a message says about it, without a database."""

from service.content.message_types import TEXT_LIMIT
from service.sending.outbound_message import OutboundMessage
from service.templates.template import Template, TemplateKey

SALE = TemplateKey('sale', 'en_US')
SENT = {'name': SALE.name, 'language': {'code': SALE.language}}
KNOWN = {SALE: Template(SALE.name, SALE.language, 'PAUSED', 'marketing', None, None, 'spam')}


def test_a_text_has_no_template():
    message = OutboundMessage('c', {'to': '+1', 'text': {'body': 'Hi'}}, KNOWN)
    assert (message.type, message.content) == ('text', {'body': 'Hi'})
    assert (message.template_key, message.template, message.is_marketing) == (None, None, False)
    assert (message.is_one_time_code, message.relates_to) == (False, None)
    assert message.parts() == [message]


def test_a_template_is_what_meta_told_of_it():
    message = OutboundMessage('c', {'type': 'template', 'template': SENT}, KNOWN)
    assert (message.template_key, message.template) == (SALE, KNOWN[SALE])
    assert message.is_marketing
    assert not OutboundMessage('c', message.body, {}).is_marketing


def test_a_text_is_marketing_when_its_fallback_is():
    body = {'type': 'text', 'text': {'body': 'Hi'}, 'fallback_template': SENT}
    message = OutboundMessage('c', body, KNOWN)
    assert (message.template, message.is_marketing) == (None, True)
    assert message.fallback().template == KNOWN[SALE]


def test_a_reaction_relates_to_its_message():
    body = {'type': 'reaction', 'reaction': {'message_id': 'wamid.A', 'emoji': '👍'}}
    assert OutboundMessage('c', body, {}).relates_to == 'wamid.A'


def test_only_the_first_part_of_a_long_text_quotes_and_none_is_lost():
    text = 'word ' * TEXT_LIMIT
    body = {'type': 'text', 'text': {'body': text, 'preview_url': True}, 'split': True}
    body |= {'context': {'message_id': 'wamid.A'}, 'fallback_template': SENT}
    first, *others = OutboundMessage('c', body, KNOWN).parts()
    assert len(others) >= 4
    assert 'context' in first.body
    for part in others:
        assert not {'context', 'fallback_template'} & part.body.keys()
        assert part.content['preview_url']
    assert all(len(part.content['body']) <= TEXT_LIMIT for part in (first, *others))
    words = ' '.join(part.content['body'] for part in (first, *others)).split()
    assert words == text.split()
