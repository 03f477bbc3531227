"""The message that is tried first after an outage is found among those that may go."""

from service.graph import outage
from service.runtime.db import connection
from service.sending import outage_probe
from tests.people import CHATBOT, sql
from tests.stack import PHONE_NUMBER_ID

AWAY = """
INSERT INTO graph_outage
  (scope, phone_number_id, error, failures, since, failed_at, away_since, probe_at)
VALUES (%s, %s, '{}', 10, now(), now(), now(), now())
"""


def test_a_person_who_has_to_wait_does_not_hide_the_others(backend, monkeypatch):
    backend.account()
    for text in ('1', '2', '3'):
        backend.send(text=text)
    sql("UPDATE conversation SET send_after = now() + interval '2 min'")
    other = backend.send('+12025550144')
    scope = outage.scope_of(PHONE_NUMBER_ID)
    sql(AWAY, scope, PHONE_NUMBER_ID)
    few = outage_probe.FIND_PROBE.replace(f'LIMIT {outage_probe.LOOKED_AT}', 'LIMIT 2')
    monkeypatch.setattr(outage_probe, 'FIND_PROBE', few)
    with connection():
        (probe,) = outage_probe.claim(scope, [CHATBOT], 30)
    assert probe.id == other['id']
