"""The books of the big fault run find what they are kept for (`python -m tests.bench faults`)."""

from dataclasses import replace

import pytest

from tests.bench.fault_ledger import Ledger, Row
from tests.bench.fault_traffic import CAREFUL, KEEN, Traffic

MESSAGES = 80  # in, and as many out: five rounds to sixteen people


class Books:
    """Books in which all went well, until somebody changes them."""

    def __init__(self):
        self.traffic = Traffic(['http://127.0.0.1:9'], MESSAGES, a_second=1)
        texts = [
            (number, one)
            for (number, _, _), texts in self.traffic.outbound().items()
            for one in texts
        ]
        texts += [(KEEN.chatbot_id, one) for one in self.traffic.replies()]
        self.rows = [
            Row(f'id-{n}', *text, 'read', 0, None, 3, 1000.0 + n) for n, text in enumerate(texts)
        ]
        self.sends = [
            {'wamid': f'w.{row.id}', 'opaque': row.id, 'wall': 900.0} for row in self.rows
        ]
        self.inbound = [(f'wamid.in.{n}', f'in {n}') for n, _, _ in self.traffic.inbound()]
        people = {(number.chatbot_id, phone) for _, number, phone in self.traffic.inbound()}
        self.conversations = len(people) + len(self.traffic.outbound())
        self.moves = [(row.id, 'sent', 'read') for row in self.rows]

    def change(self, n, **fields):
        self.rows[n] = replace(self.rows[n], **fields)

    def ledger(self):
        sends = [entry | {'index': index} for index, entry in enumerate(self.sends)]
        return Ledger(self.traffic, sends, self.rows, self.inbound, self.moves, self.conversations)

    def found(self):
        return {what for what, cases in self.ledger().findings().items() if cases}


@pytest.fixture
def books():
    return Books()


def again(books, n, wall):
    """Meta takes a message a second time."""
    books.sends.append(books.sends[n] | {'wamid': 'w.again', 'wall': wall})


def test_where_all_went_well_there_is_nothing(books):
    assert books.found() == set()
    assert len(books.inbound) == MESSAGES
    assert len(books.rows) == MESSAGES + len(books.traffic.replies())


@pytest.mark.parametrize(
    ('spoil', 'found'),
    [
        (lambda books: books.inbound.pop(), 'in: lost'),
        (lambda books: books.inbound.append(books.inbound[0]), 'in: doubled'),
        (lambda books: setattr(books, 'conversations', 3), 'in: conversations too many or too few'),
        (lambda books: books.rows.pop(), 'out: lost'),
        (lambda books: books.sends.pop(), 'out: lost'),
        (lambda books: again(books, 3, 950.0), 'out: doubled'),
        (lambda books: books.change(3, status='failed', last_try='unknown'), 'out: told wrong'),
        (lambda books: books.change(3, text='hello'), 'out: told wrong'),
        (lambda books: books.change(3, told=2), 'statuses: lost'),
        (lambda books: books.moves.append((3, 'read', 'delivered')), 'statuses: backwards'),
        (lambda books: books.moves.append((3, 'delivered', 'sent')), 'statuses: backwards'),
        (lambda books: books.moves.append((3, 'accepted', 'queued')), 'statuses: backwards'),
        (lambda books: books.moves.append((3, 'failed', 'sent')), 'statuses: backwards'),
        (lambda books: books.sends.insert(0, books.sends.pop(1)), 'order: reversed'),
    ],
)
def test_what_breaks_a_promise_is_found(books, spoil, found):
    spoil(books)
    assert found in books.found()


def test_a_message_whose_answer_was_lost_may_be_resent_once_where_that_is_wished_for(
    books,
):
    keen = next(n for n, row in enumerate(books.rows) if row.chatbot_id == KEEN.chatbot_id)
    books.change(keen, resends=1)
    again(books, keen, books.rows[keen].first_told - 1)
    assert books.found() == set()
    again(books, keen, books.rows[keen].first_told - 1)
    assert books.found() == {'out: doubled'}


def test_one_of_which_a_status_had_told_may_not(books):
    keen = next(n for n, row in enumerate(books.rows) if row.chatbot_id == KEEN.chatbot_id)
    books.change(keen, resends=1)
    again(books, keen, books.rows[keen].first_told + 1)
    assert books.found() == {'out: doubled'}


def test_one_that_never_reached_meta_may_be_failed(books):
    careful = next(n for n, row in enumerate(books.rows) if row.chatbot_id == CAREFUL.chatbot_id)
    books.change(careful, status='failed', last_try='unknown', told=0, first_told=None)
    books.sends = [entry for entry in books.sends if entry['opaque'] != books.rows[careful].id]
    assert books.found() == set()
