"""The error table: every code of docs/meta.md, what is decided for it, and the page that shows
it.
"""

import subprocess
import sys
from dataclasses import FrozenInstanceError

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.graph import error_codes, error_docs
from service.graph.error_class import CLASSES, SCOPES, ErrorClass, KnownError
from service.graph.error_codes import TABLE, explain, look_up
from service.graph.own_errors import OUR_OWN, UNKNOWN
from tests.stack import ROOT

# Section 7 of docs/meta.md, decided where it leaves a choice
SHEET = {
    ErrorClass.TRANSIENT: [
        1, 2, 4, 17, 32, 613, 80007, 80008, 130429, 131000, 131016, 131056, 133000, 133004, 135000,
        2494100,
    ],
    ErrorClass.DEFERRED: [131049, 131057, 131064, 132015, 132069, 133015, 134101],
    ErrorClass.ACCOUNT: [
        0, 3, 10, 33, 104, 190, *range(200, 300), 368, 131005, 131031, 131037, 131042, 131044,
        131045, 131048, 131063, 132068, 133005, 133006, 133008, 133009, 133010, 133016, 134011,
    ],
    ErrorClass.PERMANENT: [
        100, 130403, 130472, 130497, 131008, 131009, 131021, 131026, 131030, 131047, 131050, 131051,
        131052, 131053, 131055, 131059, 131060, 131062, 131200, 131299, 132000, 132001, 132005,
        132007, 132008, 132012, 132016, 132018, 134100, 134102, 137000, 138000, 138999, 139000,
        139103, 147001, 147005, 2388000, 2388999,
    ],
}  # fmt: skip
DELAYS = {131049: 86400, 131057: 60, 131064: 3600, 132069: 3600, 133015: 300, 134101: 600}
SCOPED = {
    4: 'app',
    80007: 'waba',
    80008: 'waba',
    130429: 'number',
    131048: 'bulk',
    131056: 'pair',
    132015: 'template',
}
EVERY = [*TABLE.values(), *OUR_OWN.values(), *UNKNOWN.values()]


@pytest.mark.parametrize('error_class', SHEET)
def test_every_code_of_the_fact_sheet_has_its_class(error_class):
    assert {code: look_up(code).error_class for code in SHEET[error_class]} == dict.fromkeys(
        SHEET[error_class], error_class
    )


def test_the_table_holds_no_code_that_the_fact_sheet_does_not():
    listed = {code for codes in SHEET.values() for code in codes}
    assert {key for key in TABLE if isinstance(key, int)} <= listed
    assert all(set(key) <= listed for key in TABLE if isinstance(key, tuple))


def test_no_code_stands_in_the_table_twice():
    assert len(error_codes.BY_CODE) == sum(1 if isinstance(key, int) else len(key) for key in TABLE)


def test_only_some_codes_have_a_delay_or_a_scope():
    assert {
        code: known.delay for code, known in error_codes.BY_CODE.items() if known.delay
    } == DELAYS
    assert {
        code: known.scope for code, known in error_codes.BY_CODE.items() if known.scope
    } == SCOPED


def test_what_waits_has_a_delay_or_a_template_to_wait_for():
    assert all(
        known.delay or known.scope == 'template'
        for known in EVERY
        if known.error_class == ErrorClass.DEFERRED
    )
    assert all(known.delay is None for known in EVERY if known.error_class != ErrorClass.DEFERRED)


def test_only_a_lost_answer_is_ambiguous():
    assert [
        word for word, known in OUR_OWN.items() if known.error_class == ErrorClass.AMBIGUOUS
    ] == [
        'no_answer',
        'worker_stopped',
        'internal',
        'no_id',
        'http_5xx',
    ]
    assert not any(known.error_class == ErrorClass.AMBIGUOUS for known in TABLE.values())


@pytest.mark.parametrize('known', EVERY, ids=lambda known: known.sentence[:40])
def test_every_entry_speaks_in_sentences_that_a_table_can_hold(known):
    for text in (known.sentence, known.fix):
        assert text[0].isupper()
        assert text.endswith('.')
        assert '|' not in text
        assert '  ' not in text
    assert known.error_class in CLASSES
    assert known.scope is None or known.scope in SCOPES


def test_an_entry_cannot_be_changed():
    with pytest.raises(FrozenInstanceError):
        look_up(190).error_class = ErrorClass.TRANSIENT


@pytest.mark.parametrize('code', ['131047', ' 131047 ', 131047.0])
def test_a_code_may_come_as_text_or_with_a_point(code):
    assert look_up(code) is look_up(131047)


@pytest.mark.parametrize(
    ('status', 'error_class'),
    [
        (500, ErrorClass.TRANSIENT),
        (503, ErrorClass.TRANSIENT),
        (429, ErrorClass.TRANSIENT),
        (401, ErrorClass.ACCOUNT),
        (400, ErrorClass.PERMANENT),
        (None, ErrorClass.PERMANENT),
    ],
)
@pytest.mark.parametrize(
    'code', [None, 999999, '', 'x', '131_047', '١٩٠', -1, 1.5, float('nan'), True, [190], {}]
)
def test_a_code_that_nobody_knows_is_judged_by_the_http_status(code, status, error_class):
    known = look_up(code, status)
    assert known.error_class == error_class
    assert 'not known here' in known.sentence


def test_a_known_code_is_not_judged_by_the_http_status():
    assert look_up(131047, 500).error_class == ErrorClass.PERMANENT
    assert look_up(131016, 400).error_class == ErrorClass.TRANSIENT


@given(
    st.one_of(st.none(), st.integers(), st.floats(), st.text(), st.lists(st.integers())),
    st.integers(200, 599),
)
def test_whatever_meta_sends_finds_an_entry(code, status):
    assert isinstance(look_up(code, status), KnownError)


def test_a_person_reads_what_happened_and_what_to_do():
    assert explain(131047) == {
        'explanation': 'The customer last wrote more than 24 hours ago, so only a template may '
        'be sent.',
        'fix': 'Send a template. If the customer did write since, it is a rare fault of Meta: '
        'send it again.',
    }
    assert explain('190') == explain(190)
    assert explain(None)['fix']


@pytest.mark.parametrize('word', OUR_OWN)
def test_our_own_outcomes_are_explained_by_their_word(word):
    assert look_up(word) is OUR_OWN[word]
    assert explain(word) == {'explanation': OUR_OWN[word].sentence, 'fix': OUR_OWN[word].fix}


def test_the_page_of_the_docs_is_the_table():
    written = (ROOT / 'docs' / 'errors.md').read_text(encoding='utf-8')
    assert written == error_docs.page(), 'run: python -m service.graph.error_docs > docs/errors.md'


def test_the_module_prints_the_page():
    done = subprocess.run(
        [sys.executable, '-m', 'service.graph.error_docs'],
        cwd=ROOT,
        capture_output=True,
        check=True,
        timeout=30,
    )
    assert done.stdout.decode() == error_docs.page()
