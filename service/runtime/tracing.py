"""One trace from a webhook to the Graph call, by OpenTelemetry, where the environment asks for it.

The trace travels with the rows: what one process has begun another one goes on with, by the id of
the webhook, the conversation or the message. Off, as it is by default, nothing is imported and
nothing written. Spans hold ids and outcomes, never a text or a number.
"""

import logging
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from peewee import PeeweeException
from playhouse.pool import MaxConnectionsExceeded

from service.runtime.config import settings
from service.runtime.db import connection, execute, fetch, reason
from service.runtime.rows import Uuid, execute_bulk

log = logging.getLogger(__name__)

KEEP_HOURS = 24  # after that nothing goes on with a trace
EXIT_MILLISECONDS = 2000  # for the last spans of a process that ends


@dataclass(frozen=True, slots=True)
class RowTrace:
    """The trace that goes on with a row."""

    id: Uuid
    traceparent: str


@dataclass(frozen=True, slots=True)
class Heir:
    """A row that goes on with the trace of another one, `of`."""

    id: Uuid
    of: Uuid


SAVE = """
INSERT INTO row_trace (id, traceparent) SELECT id, traceparent FROM {rows}
ON CONFLICT (id) DO UPDATE SET traceparent = EXCLUDED.traceparent, at = now()
"""
INHERIT = """
INSERT INTO row_trace (id, traceparent)
SELECT n.id, t.traceparent FROM {rows} JOIN row_trace t ON t.id = n.of
ON CONFLICT (id) DO NOTHING
"""
FIND = 'SELECT id, traceparent FROM row_trace WHERE id = ANY(%(ids)s::uuid[])'
DELETE_OLD = "DELETE FROM row_trace WHERE at < now() - %s * interval '1 hour'"

_provider: Any = None  # of this process, None: tracing is off


def is_on() -> bool:
    return _provider is not None


def start(process: str) -> None:
    """Trace this process, `web` or a worker's name, if OTEL_EXPORTER_OTLP_ENDPOINT is set.

    The other variables of OpenTelemetry hold, too: OTEL_SERVICE_NAME, OTEL_TRACES_SAMPLER, …
    """
    if settings.OTEL_EXPORTER_OTLP_ENDPOINT:
        otlp = import_module('opentelemetry.exporter.otlp.proto.http.trace_exporter')
        export = import_module('opentelemetry.sdk.trace.export')
        install(process, export.BatchSpanProcessor(otlp.OTLPSpanExporter()))


def install(process: str, processor: Any) -> None:
    """Let spans of this process go to a span processor of OpenTelemetry's."""
    global _provider
    sdk = import_module('opentelemetry.sdk.trace')
    resources = import_module('opentelemetry.sdk.resources')
    named = {'service.name': 'whatsapp-gateway', 'process.type': process}
    own = resources.Resource(named).merge(resources.OTELResourceDetector().detect())
    _provider = sdk.TracerProvider(resource=resources.Resource.create().merge(own))
    _provider.add_span_processor(processor)


def stop() -> None:
    """Hand over the last spans; nothing is traced any more."""
    global _provider
    if _provider is not None:
        _provider.force_flush(EXIT_MILLISECONDS)
        _provider = None


@contextmanager
def span(
    name: str, parent: str | None = None, began: int | None = None, **attributes: Any
) -> Iterator[str | None]:
    """A span around a block, or since `began` (nanoseconds); gives its traceparent, None when off.

    `parent`: the traceparent that it belongs to; without one it begins a trace.
    """
    if _provider is None:
        yield None
        return
    tracer = _provider.get_tracer('whatsapp-gateway')
    context = _propagator().extract({'traceparent': parent} if parent else {}, _no_context())
    found = tracer.start_span(name, context, attributes=attributes, start_time=began)
    try:
        yield _traceparent(found)
    finally:
        found.end()


def row_span(name: str, row_id: str) -> AbstractContextManager[str | None]:
    """A span that goes on with the trace of a row, for a thread without a connection."""
    return span(name, recall([row_id]).get(row_id), row=row_id)


def begin(name: str, row_ids: Iterable[str]) -> None:
    """Begin a trace with each of these rows."""
    if _provider is not None:
        traces = {}
        for row_id in row_ids:
            with span(name, row=row_id) as traceparent:
                traces[row_id] = traceparent
        remember(traces)


def remember(traces: Mapping[str, str | None]) -> None:
    """Let whoever goes on with these rows find their traces: {id: traceparent}."""
    if _provider is not None:
        execute_bulk(SAVE, [RowTrace(row_id, traces[row_id] or '') for row_id in sorted(traces)])


def inherit(of_rows: Mapping[str, str]) -> None:
    """Let rows go on with the traces of others: {id: id of the other}."""
    if _provider is not None:
        execute_bulk(INHERIT, [Heir(row_id, of_rows[row_id]) for row_id in sorted(of_rows)])


def recall(row_ids: Iterable[str]) -> dict[str, str]:
    """The traces of rows, {id: traceparent}; nothing when it cannot be read: work goes on."""
    ids = list(row_ids)
    if _provider is None or not ids:
        return {}
    try:
        with connection():
            return dict(fetch(FIND, {'ids': ids}))
    except (PeeweeException, MaxConnectionsExceeded) as error:
        log.warning('a trace is cut', extra={'reason': reason(error)})
        return {}


def delete_old() -> None:
    """Delete what nobody goes on with."""
    execute(DELETE_OLD, (KEEP_HOURS,))


def now() -> int:
    """When a span begins, for span()."""
    return time.time_ns()


def _propagator() -> Any:
    return import_module(
        'opentelemetry.trace.propagation.tracecontext'
    ).TraceContextTextMapPropagator()


def _no_context() -> Any:
    return import_module('opentelemetry.context').Context()


def _traceparent(found: Any) -> str | None:
    carrier: dict[str, str] = {}
    trace = import_module('opentelemetry.trace')
    _propagator().inject(carrier, trace.set_span_in_context(found, _no_context()))
    return carrier.get('traceparent')
