"""The words by which a text is found: what counts as one, and what does not matter in it."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.content.search_words import (
    MAX_WORD,
    MAX_WORDS,
    formerly_wanted_words,
    wanted_words,
    words,
)


@pytest.mark.parametrize(
    ('written', 'searched'),
    [
        ('Ação', 'ACAO'),
        ('ａｃａｏ １２', 'Acao 12'),
        ('Straße', 'STRASSE'),
        ('Łódź', 'lodz'),
        ('smørrebrød', 'Smorrebrod'),
        ('Æsir', 'aesir'),
        ('İstanbul', 'istanbul'),
        ('DIYARBAKIR', 'dıyarbakır'),
        ('ΟΔΥΣΣΕΥΣ', 'Οδυσσεύς'),
        ('Ёлка', 'елка'),
        ('مُحَمَّد', 'محمد'),
        ('أحمد', 'احمد'),
        ('שָׁלוֹם', 'שלום'),
        ('٣٤', '34'),
        ('ﾊﾟﾝ', 'パン'),
        ('한국어', '한국어'),
        ('नमस्ते', 'नमस्ते'),
        ('𝓗𝓮𝓵𝓵𝓸', 'hello'),
        ('soft\u00adhyphen zero\u200bwidth', 'softhyphen zero width'),
        ('*bold* _italic_ ~gone~', 'bold italic gone'),
        ('ana.silva@acme.com', 'silva acme com ana'),
        ('R$ 1.250,00', '250 1 00'),
        ("don't", 'don t'),
        ('thanks 👍🏽', '👍'),
        ('❤️', '❤'),
    ],
)
def test_how_it_is_written_does_not_matter(written, searched):
    assert set(wanted_words(searched)) <= set(words(written))
    assert wanted_words(searched)


APOSTROPHES = "'‘’ʼʻꞌꞋ＇"


@pytest.mark.parametrize('text', ['п~ять сім~я', 'o~zbek', 'Hawai~i', '~okina', 'c~h', 'l~a~o'])
def test_any_apostrophe_is_found_by_any_other(text):
    forms = [text.replace('~', one) for one in APOSTROPHES]
    assert len({tuple(sorted(words(form))) for form in forms}) == 1
    assert len({tuple(wanted_words(form)) for form in forms}) == 1


def test_words_of_earlier_versions_differ_only_with_apostrophes_that_are_letters():
    assert formerly_wanted_words('моя Пʼять') == ['моя', 'пʼять']
    for text in ("п'ять", 'п’ять', 'Ação', 'plain text'):
        assert formerly_wanted_words(text) == wanted_words(text)


def test_what_is_another_letter_to_its_readers_is_another_word():
    for one, other in (('が', 'か'), ('की', 'का'), ('ש', 'ס'), ('ab', 'a b')):
        assert words(one) != words(other)


def test_of_scripts_without_blanks_any_part_is_found():
    text = words('请问我的订单到哪里了')
    for part in ('订单', '我的订单', '哪里', '请问'):
        assert set(wanted_words(part)) <= set(text)
    assert any(word.startswith('单') for word in text)  # of one sign
    assert not set(wanted_words('订到')) <= set(text)
    assert set(wanted_words('ครับ')) <= set(words('สวัสดีครับ'))
    assert set(wanted_words('東京 タワー')) <= set(words('東京タワーに行きたい'))


def test_the_last_word_of_a_search_is_the_last_one():
    assert wanted_words('order of order') == ['of', 'order']
    assert wanted_words('  where?! ') == ['where']
    assert wanted_words('… — !!') == wanted_words('') == []


def test_neither_a_long_word_nor_many_make_it_large():
    assert words('x' * 10_000) == ['x' * MAX_WORD] == wanted_words('x' * 500)
    assert len(words(' '.join(map(str, range(10_000))))) == MAX_WORDS
    assert len(words(''.join(map(chr, range(0x4E00, 0x9FFF))))) == MAX_WORDS


@given(st.text())
def test_whatever_is_written_is_found_by_itself(text):
    found = set(words(text))
    *whole, last = wanted_words(text) or ['']
    assert set(whole) <= found
    assert any(word.startswith(last) for word in found) or not last
    # nothing that means something in a tsvector or a tsquery
    assert not set("'\\:&|!<>()*~ \0") & set(''.join(found))


@given(st.text(st.characters(codec='ascii')))
def test_a_text_in_ascii_has_the_words_that_it_has_beside_another_letter(text):
    assert set(words(text)) == set(words(f'{text} я')) - {'я'}


def test_a_strangers_text_costs_its_length():
    text = ''.join(chr(0x80 + n * 7919 % 0xD000) for n in range(1_000_000)) + '\ufdfa' * 1_000_000
    began = time.monotonic()
    words(text)
    assert time.monotonic() - began < 10
