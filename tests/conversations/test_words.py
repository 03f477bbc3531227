"""The words with which a customer stops marketing, and brings it back."""

import time
import unicodedata

import pytest

from service.conversations.opt_out_keywords import OPT_IN, OPT_OUT, match_keyword, normalize


def text(body):
    return {'type': 'text', 'text': {'body': body}}


@pytest.mark.parametrize(('kind', 'words'), [('opt_out', OPT_OUT), ('opt_in', OPT_IN)])
def test_every_default_word_is_heard_in_any_case_with_and_without_accents(kind, words):
    for word in words:
        bare = ''.join(
            c for c in unicodedata.normalize('NFD', word) if not unicodedata.combining(c)
        )
        for said in (
            word,
            word.upper(),
            word.title(),
            bare,
            unicodedata.normalize('NFD', word),
            f' {word}.\n',
        ):
            assert match_keyword(text(said)) == (kind, normalize(word)), said
    assert {normalize(word) for word in OPT_OUT}.isdisjoint(normalize(word) for word in OPT_IN)


@pytest.mark.parametrize('said', ['Від’єднати', "від'єднати!", 'відʼєднати', 'відʻєднати'])
def test_any_apostrophe_of_a_keyword_is_as_good_as_another(said):
    for own in ("від'єднати", 'відʼєднати'):
        assert match_keyword(text(said), [own], []) == ('opt_out', 'від єднати')


@pytest.mark.parametrize(
    'said',
    [
        'STOP',
        'stop!!!',
        ' "Stop" ',
        '*STOP*',
        '¡stop!',
        '🛑 STOP 🛑',
        'ＳＴＯＰ',
        'Stop.',
        '_stop_',
        '\u200bstop',
        'stop-all',
        'Opt-Out',
        'OPT  OUT',
    ],
)
def test_what_stands_around_a_word_does_not_matter(said):
    assert match_keyword(text(said))[0] == 'opt_out'


@pytest.mark.parametrize(
    'said',
    [
        'stop it',
        'please stop',
        'nonstop',
        'stop stop',
        'the bus stop',
        '',
        ' ',
        '!!!',
        '🛑',
        's t o p',
        'стоп',
        None,
        7,
        ['stop'],
        'stop' * 1000,
        'stop' + '!' * 5000,
    ],
)
def test_a_word_within_something_else_is_none(said):
    assert match_keyword(text(said)) is None


def test_a_long_text_costs_nothing():
    began = time.perf_counter()
    for body in (' ' * 4095 + 'a', '!' * 4096, 'stop ' * 800):
        for _ in range(100):
            match_keyword(text(body))
    assert time.perf_counter() - began < 5


def button(title):
    return {
        'type': 'interactive',
        'interactive': {'type': 'button_reply', 'button_reply': {'id': '1', 'title': title}},
    }


def row(title, description='No more offers'):
    chosen = {'id': 'stop', 'title': title, 'description': description}
    return {'type': 'interactive', 'interactive': {'type': 'list_reply', 'list_reply': chosen}}


def quick_reply(text):
    return {'type': 'button', 'button': {'payload': text, 'text': text}}


@pytest.mark.parametrize('choose', [button, row, quick_reply])
@pytest.mark.parametrize(
    'said',
    [
        'Stop',
        'STOP',
        'Stop promotions',
        'Unsubscribe',
        'Opt out',
        'Darme de baja',
        'Detener promociones',
        'Descadastrar',
        'Parar promoções',
    ],
)
def test_an_unmistakable_word_is_heard_from_buttons_and_lists_alike(choose, said):
    assert match_keyword(choose(said)) == ('opt_out', normalize(said))


@pytest.mark.parametrize('choose', [button, row, quick_reply])
@pytest.mark.parametrize(
    'said',
    [
        'Remover',
        'Sair',
        'Parar',
        'Pare',
        'Basta',
        'Baja',
        'Detener',
        'Dar de baja',
        'Cancelar suscripción',
        'Cancelar assinatura',
        'Cancelar inscrição',
        'Voltar',
        'Alta',
        'Retomar',
        'Reanudar',
        'Remove',
        'Cancel',
        'Stop it',
    ],
)
def test_what_a_cart_or_a_menu_may_mean_is_no_wish(choose, said):
    assert match_keyword(choose(said)) is None


@pytest.mark.parametrize('choose', [button, row, quick_reply])
def test_an_accounts_own_words_count_on_buttons_too(choose):
    assert match_keyword(choose('Remover'), ['remover'], None) == ('opt_out', 'remover')
    assert match_keyword(choose('Stop'), ['halt'], None) is None
    assert match_keyword(choose('Voltar'), None, ['voltar']) == ('opt_in', 'voltar')
    assert match_keyword(choose('Start')) == ('opt_in', 'start')


@pytest.mark.parametrize(
    ('message', 'heard'),
    [
        ({'type': 'button', 'button': {'payload': 'STOP', 'text': 'No, thanks'}}, 'opt_out'),
        ({'type': 'button', 'button': {'payload': 'p-1', 'text': 'Stop promotions'}}, 'opt_out'),
        (
            {
                'type': 'interactive',
                'interactive': {
                    'type': 'button_reply',
                    'button_reply': {'id': '1', 'title': 'Start'},
                },
            },
            'opt_in',
        ),
        ({'type': 'image', 'image': {'caption': 'stop'}}, None),
        ({'type': 'reaction', 'reaction': {'emoji': 'stop'}}, None),
        ({'type': 'text'}, None),
        ({'type': ['text'], 'text': {'body': 'stop'}}, None),
        ({'type': 'text', 'text': 'stop'}, None),
        ({'type': 'interactive', 'interactive': {'button_reply': 'stop'}}, None),
        ({}, None),
        ({'type': 'interactive', 'interactive': {'list_reply': ['stop']}}, None),
        (
            {
                'type': 'interactive',
                'interactive': {'list_reply': {'id': 'stop', 'description': 'stop', 'title': 7}},
            },
            None,
        ),
        (
            {
                'type': 'interactive',
                'interactive': {'nfm_reply': {'title': 'stop', 'name': 'stop'}},
            },
            None,
        ),
    ],
)
def test_buttons_speak_too(message, heard):
    found = match_keyword(message)
    assert (found and found[0]) == heard


def test_an_account_may_have_its_own_words_or_none():
    assert match_keyword(text('Halt'), ['HALT!'], None) == ('opt_out', 'halt')
    assert match_keyword(text('stop'), ['halt'], None) is None
    assert match_keyword(text('stop'), [], None) is None
    assert match_keyword(text('start'), None, []) is None
    assert match_keyword(text('genug  jetzt'), ['Genug jetzt'], None) == ('opt_out', 'genug jetzt')
    assert match_keyword(text(' 🛑 '), ['🛑'], None) == ('opt_out', '🛑')
    assert match_keyword(text('x'), ['x'], ['x'])[0] == 'opt_out'
