"""STOP through the door: typed, on a button or in a list; and nobody answers it."""

import pytest

from tests.people import CUSTOMER, Customers, envelope, sql


@pytest.fixture
def people(platform, meta, workers):
    return Customers(meta, workers)


def press(people, kind, title):
    chosen = {
        'id': 'cart-7',
        'title': title,
        **({'description': 'No more offers'} if kind == 'list_reply' else {}),
    }
    people.tell(
        envelope(
            [
                {
                    'from': CUSTOMER,
                    'id': 'wamid.press',
                    'timestamp': '1790000000',
                    'type': 'interactive',
                    'interactive': {'type': kind, kind: chosen},
                }
            ]
        )
    )


def opted_out(backend):
    (contact,) = backend.get('/contacts', query_string={'phone': CUSTOMER}).json['data']
    return contact['marketing']['opted_out']


def answers(backend):
    return len(backend.messages(direction='outbound'))


@pytest.mark.parametrize('kind', ['button_reply', 'list_reply'])
@pytest.mark.parametrize(
    ('title', 'is_out'),
    [
        ('Stop', True),
        ('Stop promotions', True),
        ('Remover', False),
        ('Sair', False),
        ('Baja', False),
        ('Parar', False),
    ],
)
def test_a_button_and_a_row_of_a_list_are_heard_alike(backend, people, kind, title, is_out):
    press(people, kind, title)
    assert opted_out(backend) is is_out
    assert answers(backend) == (0 if is_out else 1), 'what is no STOP is answered as ever'


@pytest.mark.parametrize(
    'said', ['STOP', 'stop!', 'Unsubscribe', 'Baja', 'sair', 'não quero receber']
)
def test_a_lone_stop_is_not_answered(backend, people, platform, said):
    people.write(said)
    assert opted_out(backend) is True
    assert sql('SELECT reply_due_at FROM conversation') == [(None,)]
    assert (answers(backend), platform.asks) == (0, [])


def test_what_is_more_than_a_stop_is_answered(backend, people):
    people.write('Stop by at nine?')
    people.write('START')
    assert answers(backend) == 2


def test_a_question_beside_a_stop_is_answered(backend, people, setting):
    setting('REPLY_QUIET_SECONDS', 30)
    people.write('Where is my order?')
    people.write('STOP')
    assert sql('SELECT reply_due_at IS NOT NULL FROM conversation') == [(True,)]


def test_an_account_without_stop_words_answers_them_all(backend, people):
    backend.account(opt_out_words=[])
    people.write('stop')
    assert answers(backend) == 1
