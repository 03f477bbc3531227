"""What a process counts, for `GET /metrics`, named as Prometheus wants it (docs/metrics.md).

Labels have few values, all of them ours: never a number, a person or a chatbot. Each process keeps
its counts in memory, heartbeat.py writes them to its row, and a scrape adds up the rows. So any web
process tells of all processes, on whatever machine, and no count falls when one ends.
"""

from collections.abc import Iterator, Mapping
from contextlib import suppress
from itertools import product
from typing import TypeVar

from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.core import Metric
from prometheus_client.samples import Sample

CALL_SECONDS = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 60)  # of a call to somebody else

registry = CollectorRegistry()
_owners: dict[str, Counter | Histogram] = {}  # by the name of a sample

Counting = TypeVar('Counting', Counter, Histogram)


def _own(
    metric: Counting, labels: Mapping[str, tuple[str, ...]], samples: tuple[str, ...]
) -> Counting:
    """Let all series be there from the beginning: what appears at 1 was never seen to rise."""
    _owners.update(dict.fromkeys(samples, metric))
    for values in product(*labels.values()) if labels else ():
        metric.labels(*values)
    return metric


def _counter(name: str, about: str, **labels: tuple[str, ...]) -> Counter:
    """A counter; each label with its values, or () where they are not known beforehand."""
    counter = Counter(name, about, tuple(labels), registry=registry)
    return _own(counter, labels, (name,))


def _histogram(
    name: str, about: str, buckets: tuple[float, ...], **labels: tuple[str, ...]
) -> Histogram:
    """The same for seconds. Other buckets are another histogram: they need another name."""
    histogram = Histogram(name, about, tuple(labels), buckets=buckets, registry=registry)
    return _own(histogram, labels, (f'{name}_bucket', f'{name}_sum', f'{name}_count'))


http_requests = _histogram(
    'whatsapp_http_request_duration_seconds',
    'Requests to the API until their answer is made, by route and class of status.',
    (0.01, 0.025, 0.05, 0.1, 0.25, 1, 5, 30),
    route=(),
    status=(),
)
webhooks = _counter(
    'whatsapp_webhooks_total',
    'Webhooks of Meta: stored, failed (not stored, 503), refused (wrong signature).',
    outcome=('stored', 'failed', 'refused'),
)
webhook_commits = _histogram(
    'whatsapp_webhook_commit_duration_seconds',
    'Commits of signed webhooks, each of all that came together.',
    (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 2, 10),
)
messages_queued = _counter(
    'whatsapp_messages_queued_total',
    'Messages that were stored to be sent.',
    source=('reply', 'single', 'bulk'),
)
webhook_items = _counter(
    'whatsapp_webhook_items_total',
    'Parts of webhooks that were worked off.',
    kind=('message', 'echo', 'status', 'value_error', 'change'),
    outcome=('stored', 'duplicate', 'orphan', 'refused', 'ignored', 'invalid'),
)
send_attempts = _counter(
    'whatsapp_send_attempts_total',
    'Attempts to send a message, by what came of each.',
    result=('accepted', 'retry', 'failed', 'held', 'unknown', 'expired'),
)
graph_calls = _histogram(
    'whatsapp_graph_call_duration_seconds',
    "Calls of Meta's Graph API, by what was answered.",
    CALL_SECONDS,
    outcome=('success', 'refused', 'server_error', 'no_answer', 'unreachable'),
)
replies = _counter(
    'whatsapp_replies_total',
    'Asks for a reply, by what came of each.',
    outcome=('queued', 'retry', 'failed', 'overtaken', 'paused', 'stale', 'late'),
)
responder_calls = _histogram(
    'whatsapp_responder_duration_seconds',
    'Asks of a responder until its answer, or until there was none.',
    CALL_SECONDS,
    outcome=('answered', 'failed'),
)
event_deliveries = _counter(
    'whatsapp_event_delivery_attempts_total',
    'Attempts to tell an endpoint of an event; not_made: the endpoint was not asked.',
    outcome=('delivered', 'failed', 'not_made'),
)
event_delivery_seconds = _histogram(
    'whatsapp_event_delivery_duration_seconds',
    "Endpoints' time for an event, answered or not.",
    CALL_SECONDS,
)


def _series(sample: Sample) -> str:
    """One line of text for a series: its name and labels, which hold no blanks."""
    return ' '.join((sample.name, *(f'{key}={value}' for key, value in sample.labels.items())))


def _samples(metric: Metric) -> Iterator[Sample]:
    return (sample for sample in metric.samples if not sample.name.endswith('_created'))


def counts() -> dict[str, float]:
    """What this process has counted, by series, without what is zero."""
    samples = (sample for metric in registry.collect() for sample in _samples(metric))
    return {_series(sample): sample.value for sample in samples if sample.value}


def collect(totals: Mapping[str, float]) -> Iterator[Metric]:
    """All metrics with these values; a series that nobody has counted is zero.

    A series of another version, which this one does not know, is left out.
    """
    for series in totals:
        _make_known(series)
    for metric in registry.collect():
        found = Metric(metric.name, metric.documentation, metric.type)
        for sample in _samples(metric):
            found.add_sample(sample.name, sample.labels, totals.get(_series(sample), 0))
        yield found


def _make_known(series: str) -> None:
    """Let this process's registry have a series that another one has counted."""
    name, *pairs = series.split(' ')
    labels = dict(pair.split('=', 1) for pair in pairs)
    labels.pop('le', None)
    if name in _owners:
        with suppress(ValueError):  # it had other labels
            _owners[name].labels(**labels)
