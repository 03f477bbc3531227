"""GET /metrics: how the gateway is doing, for Prometheus; and the counting of requests."""

import time
from collections.abc import Iterable

from flask import Blueprint, Flask, Response, g, request
from prometheus_client import CONTENT_TYPE_PLAIN_0_0_4, generate_latest
from prometheus_client.core import Metric
from prometheus_client.registry import Collector

from service.runtime import metrics
from service.runtime.config import settings
from service.web import gauges
from service.web.auth import bearer_token, is_one_of, require_key, scope
from service.web.described import describe
from service.web.openapi import path_of
from service.web.plain_shapes import TEXT
from service.web.request_input import check_query

blueprint = Blueprint('metrics', __name__)


class Scrape(Collector):
    """What is found for one answer."""

    def collect(self) -> Iterable[Metric]:
        return gauges.collect()


def init_app(app: Flask) -> None:
    app.before_request(start_clock)
    app.after_request(count_request)


def start_clock() -> None:
    g.began = time.perf_counter()


def count_request(answer: Response) -> Response:
    """Count a request by its route, `none` where there is no such address."""
    route = path_of(request.url_rule) if request.url_rule else 'none'
    seconds = time.perf_counter() - g.began
    metrics.http_requests.labels(route, f'{answer.status_code // 100}xx').observe(seconds)
    return answer


@blueprint.before_request
def require_token() -> None:
    """Let in METRICS_TOKEN, and root keys."""
    token = settings.METRICS_TOKEN
    if not (token and is_one_of(bearer_token(), (token,))):
        require_key()
    check_query()


@blueprint.get('/metrics')
@scope('root')
@describe(TEXT, content_type='text/plain')
def show() -> Response:
    """Tell of all processes, in Prometheus' text format. `METRICS_TOKEN` opens it, too."""
    return Response(generate_latest(Scrape()), content_type=CONTENT_TYPE_PLAIN_0_0_4)
