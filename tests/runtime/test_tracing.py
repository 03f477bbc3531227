"""One trace from a webhook to the Graph call, through the rows; nothing at all where it is off."""

import subprocess
import sys

import pytest
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from service.runtime import tracing
from service.runtime.config import ConfigError, settings
from service.runtime.db import connection
from tests.people import CUSTOMER, envelope, sql, text_message
from tests.stack import ROOT


@pytest.fixture
def spans(database):
    """spans(): what was traced, {name: [span]}."""
    exporter = InMemorySpanExporter()
    tracing.install('test', SimpleSpanProcessor(exporter))

    def read():
        found = {}
        for one in exporter.get_finished_spans():
            found.setdefault(one.name, []).append(one)
        return found

    yield read
    tracing.stop()


def trace_of(found, name):
    (one,) = found[name]
    return one.context.trace_id


def test_a_trace_leads_from_the_webhook_to_the_call_of_its_answer(
    platform, meta, stand_in, workers, spans
):
    meta.webhook(envelope([text_message()]))
    workers.incoming()
    workers.send()
    found = spans()
    assert set(found) == {'webhook', 'process webhook', 'ask responder', 'send message'}
    assert len({trace_of(found, name) for name in found}) == 1
    (first,), (second,) = found['webhook'], found['process webhook']
    assert first.parent is None
    assert second.parent.span_id == first.context.span_id
    for name in ('ask responder', 'send message'):
        assert found[name][0].parent.span_id == second.context.span_id
    (wanted,) = sql("SELECT id FROM message WHERE direction = 'outbound'")
    assert dict(found['send message'][0].attributes) == {'row': wanted[0]}


def test_each_send_of_the_platform_begins_a_trace_of_its_own(backend, stand_in, workers, spans):
    backend.account()
    for _ in range(2):
        backend.send(f'+{CUSTOMER}')
    workers.send()
    found = spans()
    begun = {one.context.trace_id for one in found['queue message']}
    assert len(begun) == 2
    assert {one.context.trace_id for one in found['send message']} == begun


def test_spans_hold_no_text_and_no_number(platform, meta, stand_in, workers, spans):
    meta.webhook(envelope([text_message('A secret of mine')]))
    workers.incoming()
    workers.send()
    text = ' '.join(one.to_json() for found in spans().values() for one in found)
    assert CUSTOMER not in text
    assert 'secret' not in text
    assert 'acme' not in text


def test_a_trace_that_cannot_be_read_stops_nobody(backend, stand_in, workers, spans, monkeypatch):
    backend.account()
    sent = backend.send(f'+{CUSTOMER}')
    monkeypatch.setattr(tracing, 'FIND', 'SELECT no_such_column FROM row_trace')
    workers.send()
    assert backend.get(f'/messages/{sent["id"]}').json['status'] == 'accepted'
    assert len(spans()['send message']) == 1


def test_traces_of_rows_are_forgotten_after_a_day(spans):
    with connection():
        tracing.begin('webhook', [f'01930000-0000-7000-8000-00000000000{n}' for n in range(2)])
        sql("UPDATE row_trace SET at = now() - interval '25 h' WHERE id::text LIKE '%0'")
        tracing.delete_old()
    assert sql('SELECT count(*) FROM row_trace') == [(1,)]


def test_off_nothing_is_written_and_nothing_imported(backend, meta, workers):
    backend.account(responder={'kind': 'none'})
    backend.send(f'+{CUSTOMER}')
    meta.webhook(envelope([text_message()]))
    workers.incoming()
    assert sql('SELECT count(*) FROM row_trace') == [(0,)]
    program = (
        'import sys, workers.__main__ as entry, service.web.door; '
        "[entry.load(name) for name in [*entry.ROOMS, 'clock']]; "
        "print(sys.modules.keys() & {'opentelemetry.sdk.trace', 'sentry_sdk'})"
    )
    done = subprocess.run(
        [sys.executable, '-c', program], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout == 'set()\n'


def test_it_is_on_where_the_environment_says_so(setting):
    tracing.start('test')
    assert not tracing.is_on()
    setting('OTEL_EXPORTER_OTLP_ENDPOINT', 'http://127.0.0.1:9')
    tracing.start('test')
    assert tracing.is_on()
    tracing.stop()
    assert not tracing.is_on()


def test_a_package_that_is_missing_is_named(setting, monkeypatch):
    monkeypatch.setattr('service.runtime.env_values.find_spec', lambda name: None)
    setting('OTEL_EXPORTER_OTLP_ENDPOINT', 'http://127.0.0.1:4318')
    setting('SENTRY_DSN', 'https://key@sentry.example.com/1')
    for name in ('OTEL_EXPORTER_OTLP_ENDPOINT', 'SENTRY_DSN'):
        with pytest.raises(ConfigError, match=f'{name} is for .* not installed'):
            getattr(settings, name)
