"""However many rows a page of the dashboard shows, it asks PostgreSQL as often."""

import pytest

from service.runtime import session
from tests.dashboard import Person
from tests.people import Customers, contact, envelope, sql, text_message
from tests.web.tenants import TEMPLATE, TENANTS, fill

NUMBER, WABA, PHONE = TENANTS['acme']


@pytest.fixture
def statements(monkeypatch):
    """The statements that were run so far."""
    found = []
    execute = session.Cursor.execute

    def note(cursor, statement, *parameters):
        found.append(statement)
        return execute(cursor, statement, *parameters)

    monkeypatch.setattr(session.Cursor, 'execute', note)
    return found


def more(backend, customers, numbers):
    """More of everything, one for each number below ten."""
    for n in numbers:
        backend.account(f'more{n}', f'30011223344560{n}', waba_id=WABA[:-1] + str(n))
        backend.post('/endpoints', {'url': f'http://127.0.0.1:9/{n}', 'chatbot_id': 'acme'})
        sql(TEMPLATE, WABA, f'more{n}')
        phone = f'1202555020{n}'
        said = text_message('shared', f'wamid.more.{n}', phone)
        customers.tell(envelope([said], contacts=[contact(f'N{n}', phone)], number=NUMBER))
        again = text_message('shared', f'wamid.again.{n}', PHONE)
        customers.tell(envelope([again], contacts=[contact('acme', PHONE)], number=NUMBER))
        bulk = {'text': {'body': 'shared'}}
        order = {'chatbot_id': 'acme', 'message': bulk, 'recipients': [f'+{phone}']}
        assert backend.post('/send/bulk', order).status_code == 202


def test_a_page_of_many_rows_takes_no_more_statements(
    application, backend, meta, workers, statements
):
    acme = fill(backend, meta, workers)['acme']
    person, customers = Person(application).log_in(), Customers(meta, workers)
    paths = (
        '',
        '/accounts',
        '/batches',
        '/endpoints',
        f'/endpoints/{acme.endpoint_id}',
        '/inbox',
        '/inbox?q=shared',
        f'/inbox/{acme.conversation_id}',
        '/templates?chatbot_id=acme',
        '/webhooks',
    )

    def count(path):
        assert person.get(path).status_code == 200, path
        statements.clear()
        size = len(person.get(path).text)
        return len(statements), size

    more(backend, customers, range(2))
    few = {path: count(path) for path in paths}
    more(backend, customers, range(2, 10))
    for path in paths:
        taken, size = count(path)
        assert taken <= few[path][0], path
        assert size > few[path][1], path
