"""An account that is as it should be, at the gateway and at Meta."""

from types import SimpleNamespace

import pytest

from service.doctor.examination import examine
from service.runtime.connection_plan import WORKERS
from tests.people import CHATBOT, Customers, sql

WABA = '880011223344556'
PROCESS = "INSERT INTO process (id, kind, host, pid) VALUES (gen_random_uuid(), %s, 'here', 1)"


@pytest.fixture
def healthy(backend, meta, workers, stand_in):
    """All is well: workers live, a customer has written, Meta knows it all. `.find()` examines."""
    stand_in.config(webhook_url='https://gateway.example/whatsapp-cloud/webhook')
    backend.account(waba_id=WABA, responder={'kind': 'none'})
    Customers(meta, workers).write('Hello')
    workers.errands()  # the list of templates is read
    for kind in WORKERS:
        sql(PROCESS, kind)
    return SimpleNamespace(backend=backend, stand_in=stand_in, find=find)


def find(chatbot_id=CHATBOT, **options):
    """The checks by their names."""
    return {check['check']: check for check in examine(chatbot_id, **options)}
