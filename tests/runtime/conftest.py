"""The ways from this process to PostgreSQL: directly, or by a pooler."""

import pytest

from service.runtime import db
from service.runtime.config import settings
from tests.bouncer import StrictProxy


@pytest.fixture
def by_way_of(database):
    """by_way_of(url): this process's PostgreSQL is there, until the test ends."""

    def change(url, prepare='auto'):
        patch.setenv('DATABASE_URL', url)
        patch.setenv('DATABASE_PREPARE', prepare)
        settings.forget()
        db.db.close()
        db.configure()

    with pytest.MonkeyPatch.context() as patch:
        yield change
    db.db.close()
    settings.forget()
    db.configure()


@pytest.fixture
def strict(postgres, by_way_of):
    port = int(postgres.url.rsplit(':', 1)[1].split('/')[0])
    with StrictProxy(port) as proxy:
        by_way_of(proxy.before(postgres.url))
        yield proxy


@pytest.fixture(params=['direct', 'pooled', 'hidden pooler'])
def way(request, postgres, by_way_of):
    """How PostgreSQL is reached."""
    if request.param == 'pooled':
        request.getfixturevalue('strict')
    else:
        by_way_of(postgres.url, 'no' if request.param == 'hidden pooler' else 'auto')
    return request.param
