"""The books of the crashes of PostgreSQL find what they are kept for (`python -m tests.bench
crashes`).
"""

from dataclasses import dataclass, field, replace

import pytest

from tests.bench.crash_ledger import CrashLedger
from tests.bench.crash_load import Call, read_ask
from tests.bench.fault_ledger import Row

TURNS = 4  # of one customer
PHONE = '12022000001'


def text(n):
    return f'{n} is the blue kayak still in stock?'


def asked(n, **ids):
    """The n-th turn's ask, as the gateway tells of it: with the turns before it."""
    known = {'question': f'in-{n}', 'conversation': 'c-1', 'webhook_id': f'in-{n}', **ids}
    messages = [
        {'direction': direction, 'text': text(m), 'id': f'{kind}-{m}'}
        for m in range(n)
        for direction, kind in (('inbound', 'in'), ('outbound', 'out'))
    ]
    messages.append({'direction': 'inbound', 'text': text(n), 'id': known['question']})
    conversation = {'id': known['conversation'], 'wa_id': PHONE}
    body = {'conversation': conversation, 'messages': messages}
    return read_ask(known['webhook_id'], body)


@dataclass
class Books:
    """Books in which all went well, until somebody changes them."""

    written: list = field(default_factory=lambda: [text(n) for n in range(TURNS)])
    asks: list = field(default_factory=lambda: [asked(n) for n in range(TURNS)])
    calls: list = field(
        default_factory=lambda: [Call(f'out-{n}', PHONE, text(n)) for n in range(TURNS)]
    )
    rows: list = field(
        default_factory=lambda: [
            Row(f'out-{n}', 'bench', text(n), 'read', 0, None, 3, 1000.0) for n in range(TURNS)
        ]
    )

    def __post_init__(self):
        last = asked(TURNS - 1).told
        answer = replace(asked(0).about, kind='outbound', what=text(3), id='out-3')
        self.known = [*last, answer]

    def change(self, n, **fields):
        self.rows[n] = replace(self.rows[n], **fields)

    def forget(self, kind, what):
        self.known = [one for one in self.known if (one.kind, one.what) != (kind, what)]

    def ledger(self):
        return CrashLedger(self.written, self.asks, self.calls, self.rows, self.known)

    def found(self):
        return {what for what, cases in self.ledger().findings().items() if cases}


@pytest.fixture
def books():
    return Books()


def test_where_all_went_well_there_is_nothing(books):
    assert books.found() == set()
    assert set(books.ledger().allowed().values()) == {0}


@pytest.mark.parametrize(
    ('spoil', 'found'),
    [
        (lambda books: books.written.append('lost'), 'lost: answered with 200, not stored'),
        (lambda books: books.rows.pop(), 'lost: never answered'),
        (lambda books: books.calls.pop(), 'lost: told as sent, not at Meta'),
        (lambda books: books.change(1, told=2), 'lost: a status'),
        (lambda books: books.change(1, status='failed', last_try='unknown'), 'told wrong'),
        (lambda books: books.change(1, text='hello'), 'told wrong'),
        (lambda books: books.calls.append(Call('gone', PHONE, 'hello')), 'told wrong'),
        (lambda books: books.known.append(asked(2).about), 'doubled: stored twice'),
        (
            lambda books: books.rows.append(replace(books.rows[1], id='again')),
            'doubled: two answers to one text',
        ),
        (lambda books: books.calls.append(books.calls[1]), 'doubled: Graph calls of one id'),
        (
            lambda books: books.calls.append(replace(books.calls[1], id='out-9')),
            'doubled: a text sent twice to a customer',
        ),
        (lambda books: books.asks.append(asked(1, question='9')), 'ids: told, then another one'),
        (
            lambda books: books.asks.append(asked(1, conversation='c-2')),
            'ids: told, then another one',
        ),
        (lambda books: books.forget('outbound', text(1)), 'ids: told, not in the database'),
        (lambda books: books.forget('conversation', PHONE), 'ids: told, not in the database'),
        (
            lambda books: books.asks.append(asked(1, webhook_id='in-0')),
            'ids: webhook-id is not that of the question',
        ),
    ],
)
def test_what_breaks_a_promise_is_found(books, spoil, found):
    spoil(books)
    assert found in books.found()


def test_who_is_asked_again_with_the_same_ids_may_be(books):
    books.asks.append(asked(1))
    assert books.found() == set()
    assert books.ledger().allowed()['asked again, with the same ids'] == 1


def test_a_call_whose_end_nobody_knows_may_fail_if_meta_has_nothing_of_it(books):
    books.change(1, status='failed', last_try='unknown', told=0)
    del books.calls[1]
    assert books.found() == set()
    books.change(1, last_try='failed')
    assert books.found() == {'told wrong'}
