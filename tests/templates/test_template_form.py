"""What a person fills in to send a template, and the send that it makes."""

import pytest

from service.templates import template_form, validation
from service.templates.template import Template

TEXT = {'type': 'BODY', 'text': 'Hello {{1}}, your order {{2}} is ready.'}
NAMED = {'type': 'BODY', 'text': 'Hello {{name}}'}
FILE = '01930000-0000-7000-8000-000000000000'


def header(kind, **more):
    return {'type': 'HEADER', 'format': kind, **more}


def buttons(*given):
    return {'type': 'BUTTONS', 'buttons': list(given)}


def template(components):
    return Template('sale', 'en_US', 'APPROVED', 'utility', components, None, None)


CASES = {
    'nothing': ([{'type': 'BODY', 'text': 'Hello'}], {}, []),
    'numbers': (
        [TEXT],
        {'body.1': 'Ines', 'body.2': '17'},
        [
            {
                'type': 'body',
                'parameters': [{'type': 'text', 'text': 'Ines'}, {'type': 'text', 'text': '17'}],
            }
        ],
    ),
    'names': (
        [NAMED],
        {'body.name': 'Ines'},
        [
            {
                'type': 'body',
                'parameters': [{'type': 'text', 'parameter_name': 'name', 'text': 'Ines'}],
            }
        ],
    ),
    'a title': (
        [header('TEXT', text='For {{1}}'), {'type': 'BODY', 'text': 'Hello'}],
        {'header.1': 'you'},
        [{'type': 'header', 'parameters': [{'type': 'text', 'text': 'you'}]}],
    ),
    'a picture by its address': (
        [header('IMAGE')],
        {'header.file': 'https://shop.example/a.jpg'},
        [
            {
                'type': 'header',
                'parameters': [{'type': 'image', 'image': {'link': 'https://shop.example/a.jpg'}}],
            }
        ],
    ),
    'a document of ours': (
        [header('DOCUMENT')],
        {'header.file': FILE},
        [{'type': 'header', 'parameters': [{'type': 'document', 'document': {'id': FILE}}]}],
    ),
    'a place': (
        [header('LOCATION')],
        {'header.latitude': '-26.9', 'header.longitude': '-48.6', 'header.name': 'Harbour'},
        [
            {
                'type': 'header',
                'parameters': [
                    {
                        'type': 'location',
                        'location': {
                            'latitude': '-26.9',
                            'longitude': '-48.6',
                            'name': 'Harbour',
                        },
                    }
                ],
            }
        ],
    ),
    'buttons': (
        [
            buttons(
                {'type': 'QUICK_REPLY', 'text': 'Yes'},
                {'type': 'URL', 'text': 'Look', 'url': 'https://shop.example/{{1}}'},
                {'type': 'COPY_CODE', 'text': 'Copy'},
            )
        ],
        {'button.1': 'a17', 'button.2': 'SAVE5'},
        [
            {
                'type': 'button',
                'sub_type': 'url',
                'index': 1,
                'parameters': [{'type': 'text', 'text': 'a17'}],
            },
            {
                'type': 'button',
                'sub_type': 'copy_code',
                'index': 2,
                'parameters': [{'type': 'coupon_code', 'coupon_code': 'SAVE5'}],
            },
        ],
    ),
}


@pytest.mark.parametrize(('components', 'given', 'sent'), CASES.values(), ids=CASES)
def test_what_is_filled_in_fits_the_template(components, given, sent):
    assert template_form.obstacle(components) is None
    needed = {one.place for one in template_form.blanks(components) if one.is_needed}
    assert needed <= given.keys() <= {one.place for one in template_form.blanks(components)}
    assert template_form.fill_in(components, given) == sent
    assert validation.problems(template(components), {'components': sent}) == {}


@pytest.mark.parametrize('components', [case[0] for case in CASES.values() if case[1]])
def test_what_is_left_out_is_for_the_check_to_refuse(components):
    sent = template_form.fill_in(components, {})
    assert sent == []
    assert validation.problems(template(components), {'components': sent})


def test_examples_of_meta_are_told():
    by_number = {**TEXT, 'example': {'body_text': [['Ines', 'A-17']]}}
    assert [one.example for one in template_form.blanks([by_number])] == ['Ines', 'A-17']
    named = [{'param_name': 'name', 'example': 'Ines'}]
    by_name = {**NAMED, 'example': {'body_text_named_params': named}}
    assert [one.example for one in template_form.blanks([by_name])] == ['Ines']
    title = header('TEXT', text='For {{1}}', example={'header_text': ['you']})
    assert [one.example for one in template_form.blanks([title])] == ['you']


@pytest.mark.parametrize(
    'components',
    [
        [{'type': 'BODY', 'add_security_recommendation': True}],
        [{'type': 'CAROUSEL', 'cards': [{'components': [TEXT]}]}],
        [buttons({'type': 'MPM', 'text': 'See'})],
        [header('PRODUCT')],
        [{'type': 'LIMITED_TIME_OFFER', 'limited_time_offer': {'has_expiration': True}}],
    ],
)
def test_what_a_form_cannot_hold_is_left_to_the_api(components):
    assert template_form.obstacle(components)


def test_a_preview_reads_like_the_message():
    card = {'components': [{'type': 'BODY', 'text': 'Blue'}]}
    components = [
        header('IMAGE'),
        TEXT,
        {'type': 'FOOTER', 'text': 'Your shop'},
        buttons({'type': 'URL', 'text': 'Look', 'url': 'https://shop.example'}, {'type': 'OTP'}),
        {'type': 'CAROUSEL', 'cards': [card]},
    ]
    assert template_form.preview(components) == [
        ('header', '[image]'),
        ('body', TEXT['text']),
        ('footer', 'Your shop'),
        ('button', 'Look https://shop.example'),
        ('button', 'OTP'),
        ('card 1, body', 'Blue'),
    ]


@pytest.mark.parametrize('components', [None, 7, [7], [{}], [{'type': 7, 'text': 7}], 'x'])
def test_odd_components_never_raise(components):
    assert template_form.fill_in(components, {'body.1': 'x'}) == []
    assert template_form.blanks(components) == []
    assert isinstance(template_form.preview(components), list)
    assert template_form.obstacle(components) is None
