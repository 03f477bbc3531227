"""Markdown as models write it, as WhatsApp shows it."""

import time

import pytest

from service.content.whatsapp_format import to_whatsapp

SHOWN = {
    # marks
    '**b**': '*b*',
    '__b__': '*b*',
    'a **b** c **d e**, **f**.': 'a *b* c *d e*, *f*.',
    '*i* and **b**': '_i_ and *b*',
    '***b and i***': '*_b and i_*',
    '**b *i* b**': '*b _i_ b*',
    '~~s~~': '~s~',
    '~~**a**~~': '~*a*~',
    '价格**重点**内容': '价格*重点*内容',
    '\\*no mark\\*': '*no mark*',
    # headings
    '# Prices': '*Prices*',
    '### **Our** prices ###': '*Our prices*',
    'Prices\n======\nfrom 10': '*Prices*\nfrom 10',
    '#hashtag and #1': '#hashtag and #1',
    '# [our page](https://e.example)': '*our page*: https://e.example',
    '## See https://e.example': '*See* https://e.example',
    '> ## Quoted\n> text': '> *Quoted*\n> text',
    '- ## Listed\n- text': '- *Listed*\n- text',
    # links
    '[our page](https://e.example/k)': 'our page: https://e.example/k',
    '![a kayak](https://e.example/k_(1).png "Kayak")': 'a kayak: https://e.example/k_(1).png',
    '[https://e.example](https://e.example)': 'https://e.example',
    '**[our page](https://e.example)**': '*our page*: https://e.example',
    '[**our** page](https://e.example)': 'our page: https://e.example',
    '**https://e.example**': 'https://e.example',
    '**See https://e.example**, *or https://f.example*': '*See* https://e.example, _or_ '
    'https://f.example',
    '<https://e.example/a> <mailto:a@e.example>': 'https://e.example/a a@e.example',
    'https://e.example/a__b__c_d **b**': 'https://e.example/a__b__c_d *b*',
    # lists, quotes, rules
    '* a\n+ b\n- c\n  * **d**': '- a\n- b\n- c\n  - *d*',
    '1. **a**\n2. b': '1. *a*\n2. b',
    '> **a**': '> *a*',
    'a\n\n---\n\nb': 'a\n\n———\n\nb',
    'a<br>b<br />c': 'a\nb\nc',
    # code and tables
    'Run `a**b**` **now**': 'Run `a**b**` *now*',
    '```python\nx = a ** b  # **no**\n```\n**b**': '```\nx = a ** b  # **no**\n```\n*b*',
    '~~~\n# no heading\n~~~': '```\n# no heading\n```',
    '```\nnever closed': '```\nnever closed\n```',
    '```a = 1```': '```a = 1```',
    '| Size | **Price** |\n|:---|---:|\n| S | **10** |\n| a\\|b | 20 '
    '|\n\nend': '*Size* | *Price*\nS | *10*\na|b | 20\n\nend',
    'Size | Price\n--- | ---\nS | 10': '*Size* | *Price*\nS | 10',
    # nothing to do
    'It costs 5 * 3 * 2 = 30, and 2**3 is 8 ** 1': 'It costs 5 * 3 * 2 = 30, and 2**3 is 8 ** 1',
    'f(*args, **kwargs) of self.__init__() in snake__case__name': 'f(*args, **kwargs) of '
    'self.__init__() in snake__case__name',
    '**never closed': '**never closed',
    'Already *bold*, _italic_, ~struck~ and `code`': 'Already *bold*, _italic_, ~struck~ and '
    '`code`',
    'Just a text.\nWith two lines | and a pipe': 'Just a text.\nWith two lines | and a pipe',
    '': '',
}


@pytest.mark.parametrize(('markdown', 'shown'), SHOWN.items())
def test_markdown_is_shown_as_whatsapp_can(markdown, shown):
    assert to_whatsapp(markdown) == shown


@pytest.mark.parametrize('shown', SHOWN.values())
def test_what_is_whatsapps_own_stays(shown):
    if not any(sign in shown for sign in ('**', '__', '](')):
        assert to_whatsapp(shown) == shown


WORST = [
    '**',
    '**a',
    '*a **b~~c** d~~ e* ',
    '*',
    '[',
    '[a](',
    '[a](b "',
    '`',
    '``a',
    '|',
    '|a|\n|-|\n',
    '# ',
    '#',
    '- ',
    '__',
    '\\',
    '<br>',
    '<',
    'https://',
    ' ',
    '\n',
    ' \n',
    '***a',
    '```',
    '```\n',
    '![',
    '-',
    '=',
    'a\n===\n',
    '[a](' + 'x' * 300,
    '**a: https://b** ',
    '**: ',
]


@pytest.mark.parametrize('piece', WORST, ids=lambda piece: repr(piece[:20]))
def test_the_time_grows_with_the_length(piece):
    """Four times as much may take four times as long, and on a busy machine twice that; not sixteen
    times.
    """

    def seconds(length):
        text, best = '**x** ' + piece * (length // len(piece)), 60
        for _ in range(3):
            began = time.process_time()
            to_whatsapp(text)
            best = min(best, time.process_time() - began)
        return best

    assert seconds(100_000) < 8 * max(seconds(25_000), 0.005)
