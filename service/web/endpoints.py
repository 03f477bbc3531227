"""Endpoints: where the platform is told, what became of it, and what is told once more."""

import threading
from dataclasses import asdict
from datetime import UTC, datetime
from uuid import UUID

from flask import Blueprint

from service.content.message_schema import check
from service.events import delivery_list, endpoint, endpoint_trial, redelivery
from service.events.endpoint import PAUSED_BY_CALLER, Endpoint
from service.runtime.db import db, no_connection
from service.runtime.errors import Conflict, TooManyRequests
from service.runtime.queues import EVENTS, wake
from service.web import endpoint_schemas, event_answers, pagination, request_examples, request_input
from service.web.auth import (
    chatbots_to_list,
    current_key,
    find_account,
    guard,
    scope,
    visible,
)
from service.web.described import describe
from service.web.endpoint_schemas import SECRET_SCHEMAS, check_change, endpoint_schema
from service.web.request_input import query_parameters
from service.web.responses import Answer, JSONObject

blueprint = guard(Blueprint('endpoints', __name__))

MAX_TRIALS = 4  # of a process at a time: each holds one of its threads

trials = threading.BoundedSemaphore(MAX_TRIALS)


@blueprint.post('/endpoints')
@scope('manage')
@describe(
    event_answers.EndpointWithSecret,
    201,
    body=endpoint_schema,
    problems=('unknown_chatbot', 'conflict'),
    examples=request_examples.ENDPOINTS,
)
def create() -> Answer:
    """Create an endpoint; a secret that was not given is made, and shown this once."""
    data = check(endpoint_schema, request_input.json_object())
    _require_owner(data['chatbot_id'])
    secret = data.get('secret') or endpoint.new_secret(data['kind'])
    created = endpoint.create(data, secret)
    return _with_secret(created, None if 'secret' in data else secret), 201


def _require_owner(chatbot_id: str | None) -> None:
    """Raise unless the key may say where others hear of this chatbot, or of all."""
    if chatbot_id is not None:
        find_account(chatbot_id)
    elif not current_key().sees(None):
        raise request_input.invalid('chatbot_id', 'Name one: this key does not see all of them.')


def _with_secret(shown: Endpoint, secret: str | None) -> JSONObject:
    return shown.to_dict() | ({'secret': secret} if secret else {})


def _find(endpoint_id: UUID) -> Endpoint:
    return visible(Endpoint.find(str(endpoint_id)))


@blueprint.get('/endpoints')
@scope('read')
@query_parameters('chatbot_id', 'kind', 'limit', 'cursor')
@describe(event_answers.EndpointPage)
def index() -> JSONObject:
    """List endpoints, the newest first."""
    query = Endpoint.select().where(Endpoint.kind.in_(endpoint.KINDS))
    if kind := request_input.choice('kind', endpoint.KINDS):
        query = query.where(Endpoint.kind == kind)
    chatbots = chatbots_to_list(request_input.parameter('chatbot_id'))
    return pagination.page(query, Endpoint, _serialize, chatbots)


def _serialize(endpoints: list[Endpoint]) -> list[JSONObject]:
    return [one.to_dict() for one in endpoints]


@blueprint.get('/endpoints/<uuid:endpoint_id>')
@scope('read')
@describe(event_answers.Endpoint)
def show(endpoint_id: UUID) -> JSONObject:
    """Show an endpoint, without its secret."""
    return _find(endpoint_id).to_dict()


@blueprint.post('/endpoints/<uuid:endpoint_id>')
@scope('manage')
@describe(
    event_answers.Endpoint,
    body=endpoint_schemas.ChangeSchema(),
    examples=request_examples.ENDPOINT_CHANGES,
)
def change(endpoint_id: UUID) -> JSONObject:
    """Change what is given; another address is tried at once."""
    found = _find(endpoint_id)
    data = check_change(found, request_input.optional_json_object())
    with db.atomic():
        endpoint.change(found, data)
        if 'secret' in data:
            endpoint.rotate_secret(found, data['secret'])
        if data.get('url', found.url) != found.url:
            redelivery.hasten(found.id)
    wake(EVENTS)
    return show(endpoint_id)


@blueprint.delete('/endpoints/<uuid:endpoint_id>')
@scope('manage')
@describe(None, 204)
def delete(endpoint_id: UUID) -> tuple[str, int]:
    """Delete an endpoint, and what it would still have been told."""
    endpoint.delete(_find(endpoint_id).id)
    return '', 204


@blueprint.post('/endpoints/<uuid:endpoint_id>/rotate-secret')
@scope('manage')
@describe(event_answers.EndpointWithSecret, body=SECRET_SCHEMAS['relay'])
def rotate_secret(endpoint_id: UUID) -> JSONObject:
    """Sign with another secret, and for a day with the former one as well."""
    found = _find(endpoint_id)
    data = check(SECRET_SCHEMAS[found.kind], request_input.optional_json_object())
    secret = data.get('secret') or endpoint.new_secret(found.kind)
    endpoint.rotate_secret(found, secret)
    return _with_secret(_find(endpoint_id), None if 'secret' in data else secret)


@blueprint.post('/endpoints/<uuid:endpoint_id>/test')
@scope('manage')
@describe(event_answers.Tried, problems=('too_many_requests',))
def test(endpoint_id: UUID) -> JSONObject:
    """Tell it something now; answer with what came of it, be it good or bad."""
    found = _find(endpoint_id)
    if not trials.acquire(blocking=False):
        raise TooManyRequests(f'{MAX_TRIALS} endpoints are being tested; try again a little later.')
    try:
        with no_connection():
            attempt = endpoint_trial.attempt(found)
    finally:
        trials.release()
    return {name: getattr(attempt, name) for name in ('status', 'milliseconds', 'error')}


@blueprint.post('/endpoints/<uuid:endpoint_id>/pause')
@scope('manage')
@describe(event_answers.Endpoint)
def pause(endpoint_id: UUID) -> JSONObject:
    """Let what it is to be told wait."""
    endpoint.pause(_find(endpoint_id).id, PAUSED_BY_CALLER)
    return show(endpoint_id)


@blueprint.post('/endpoints/<uuid:endpoint_id>/resume')
@scope('manage')
@describe(event_answers.Endpoint)
def resume(endpoint_id: UUID) -> JSONObject:
    """Tell it again, beginning with what waits."""
    found = _find(endpoint_id)
    with db.atomic():
        endpoint.resume(found.id)
        redelivery.hasten(found.id)
    wake(EVENTS)
    return show(endpoint_id)


@blueprint.post('/endpoints/<uuid:endpoint_id>/replay')
@scope('manage')
@describe(
    event_answers.Replayed,
    202,
    body=endpoint_schemas.replay_schema,
    problems=('conflict',),
    examples=request_examples.REPLAY,
)
def replay(endpoint_id: UUID) -> Answer:
    """Deliver all of a time once more, and what the endpoint was not told then."""
    _find(endpoint_id)
    data = check(endpoint_schemas.replay_schema, request_input.json_object())
    since, until = data['since'], data.get('until') or datetime.now(UTC)
    count = replay_stretch(endpoint_id, since, until)
    return {'events': count, 'since': since, 'until': until}, 202


def replay_stretch(endpoint_id: UUID, since: datetime, until: datetime) -> int:
    """Deliver a stretch of time once more; how many events. Raises NotFound or Conflict."""
    found = _find(endpoint_id)
    if redelivery.count_wanted(found.id, since, until) > redelivery.MAX_REPLAYED:
        sentence = f'These are more than {redelivery.MAX_REPLAYED:,} events; name a shorter time.'
        raise Conflict(sentence)
    count = redelivery.replay(found.id, since, until)
    wake(EVENTS)
    return count


@blueprint.get('/endpoints/<uuid:endpoint_id>/deliveries')
@scope('read')
@query_parameters('status', 'limit', 'cursor')
@describe(event_answers.DeliveryPage)
def deliveries(endpoint_id: UUID) -> JSONObject:
    """List what became of each event for this endpoint, the newest event first."""
    found = _find(endpoint_id)
    status = request_input.choice('status', delivery_list.STATUSES)
    limit = pagination.page_size()
    cursor = request_input.identifier('cursor')
    rows = delivery_list.of_endpoint(found.id, status, cursor, limit + 1)
    last = rows[limit - 1].event_id if len(rows) > limit else None
    return {'data': [asdict(row) for row in rows[:limit]], 'next_cursor': last}
