"""Events for those who ask: a list that waits for the next one, and one delivered once more."""

import threading
import time
from collections.abc import Collection
from dataclasses import asdict
from uuid import UUID

from flask import Blueprint

from service.content.message_schema import check
from service.events import delivery_list, event, event_body, event_list, redelivery
from service.events.endpoint import Endpoint
from service.events.event import Event
from service.events.event_list import Look, Wanted
from service.events.event_types import TYPES
from service.runtime.db import no_connection
from service.runtime.errors import Conflict, NotFound, TooManyRequests
from service.runtime.queues import EVENTS, wake
from service.runtime.watchdog import watchdog
from service.web import event_answers, pagination, request_input
from service.web.auth import current_key, find_account, guard, require_key_still, scope, visible
from service.web.described import describe
from service.web.endpoint_schemas import resend_schema
from service.web.request_input import query_parameters
from service.web.responses import Answer, JSONObject

blueprint = guard(Blueprint('events', __name__))

MAX_WAIT = 20  # seconds
# Of a process, and of half of its threads: each of those that wait holds one.
MAX_WAITERS = 8
LOOK_SECONDS = 0.1  # between two looks: eight who wait cost a process 3 % of a core
WALK_SECONDS = 5  # that a request looks through events of other types
NOW = 'now'  # instead of an id: what has not happened yet
NO_SUCH_EVENT = 'There is no such event.'

waiters = threading.BoundedSemaphore(MAX_WAITERS)


@blueprint.get('/events')
@scope('read')
@query_parameters('chatbot_id', 'type', 'after', 'cursor', 'wait', 'limit')
@describe(event_answers.EventPage, problems=('unknown_chatbot', 'too_many_waiters'))
def index() -> JSONObject:
    """List events, the oldest first; with `wait` wait so many seconds for the first one.

    Who asks is taken to listen for an hour: so long events are written, as for an endpoint.
    """
    wanted = Wanted(_chatbot_ids(), request_input.choice('type', TYPES))
    limit = pagination.page_size()
    seconds = _seconds_to_wait()
    after = _after()
    event_list.listen(wanted.chatbot_ids)
    found = _look(wanted, after, limit)
    if seconds and not found.events and not found.has_more:
        found = _wait(wanted, found, limit, seconds)
    return {
        'data': event_body.bodies(found.events),
        'next_cursor': found.after if found.has_more else None,
        'after': found.after,
    }


def _chatbot_ids() -> Collection[str] | None:
    """Of which chatbots events are wanted and may be seen; None for all."""
    chatbot_id = request_input.parameter('chatbot_id')
    if chatbot_id is None:
        return current_key().chatbot_ids
    return [find_account(chatbot_id).chatbot_id]


def _seconds_to_wait() -> int:
    value = request_input.parameter('wait') or '0'
    if not value.isascii() or not value.isdigit() or int(value[:9]) > MAX_WAIT:
        raise request_input.invalid('wait', f'Must be whole seconds, 0 to {MAX_WAIT}.')
    return int(value)


def _after() -> str | None:
    """Behind which id the list begins; `cursor` is another name for it, as in other lists."""
    if request_input.parameter('after') == NOW:
        return event_list.horizon()
    return request_input.identifier('after') or request_input.identifier('cursor')


def _look(wanted: Wanted, after: str | None, limit: int) -> Look:
    """Look on while nothing is found, but for some time at most."""
    until = time.monotonic() + WALK_SECONDS
    found = event_list.look(wanted, after, limit)
    while found.has_more and not found.events and time.monotonic() < until:
        found = event_list.look(wanted, found.after, limit)
    return found


def _wait(wanted: Wanted, found: Look, limit: int, seconds: int) -> Look:
    """Look again and again, and hold no connection to the database in between."""
    if not waiters.acquire(blocking=False):
        sentence = f'{MAX_WAITERS} callers wait already; ask without "wait", or a little later.'
        raise TooManyRequests(sentence, code='too_many_waiters')
    try:
        until = time.monotonic() + seconds
        while not found.events and not watchdog.hurries and time.monotonic() < until:
            with no_connection():
                time.sleep(LOOK_SECONDS)
            require_key_still()
            found = _look(wanted, found.after, limit)
        return found
    finally:
        waiters.release()


@blueprint.get('/events/<uuid:event_id>')
@scope('read')
@describe(event_answers.DeliveredEvent)
def show(event_id: UUID) -> JSONObject:
    """Show an event, and what became of it for each endpoint."""
    found = _find(event_id)
    if found.type == event.RELAY:
        raise NotFound(NO_SUCH_EVENT)
    (body,) = event_body.bodies([found])
    return body | {'deliveries': _deliveries(found)}


def _find(event_id: UUID) -> Event:
    found = event.find([str(event_id)])
    if not found or not current_key().sees(found[0].chatbot_id):
        raise NotFound(NO_SUCH_EVENT)
    return found[0]


def _deliveries(found: Event) -> list[JSONObject]:
    """To the endpoints that the key sees."""
    rows = delivery_list.of_event(found.id, current_key().chatbot_ids)
    return [asdict(row) for row in rows]


@blueprint.post('/events/<uuid:event_id>/resend')
@scope('manage')
@describe(event_answers.Resent, 202, body=resend_schema, problems=('conflict',))
def resend(event_id: UUID) -> Answer:
    """Deliver an event once more, to one endpoint or to all that want it."""
    _find(event_id)
    data = check(resend_schema, request_input.optional_json_object())
    found = deliver_anew(event_id, data.get('endpoint_id'))
    return {'id': found.id, 'type': found.type, 'deliveries': _deliveries(found)}, 202


def deliver_anew(event_id: UUID, endpoint_id: str | None) -> Event:
    """Deliver an event once more; None: to all that want it. Raises NotFound or Conflict."""
    found = _find(event_id)
    wanting = redelivery.who_wants(found.id, current_key().chatbot_ids)
    if endpoint_id is not None:
        wanting = [id_ for id_ in [_endpoint_id(endpoint_id)] if id_ in wanting]
    if not wanting:
        raise Conflict('No endpoint wants this event.')
    redelivery.resend(found.id, wanting)
    wake(EVENTS)
    return found


def _endpoint_id(given: str) -> str:
    """The id of an endpoint that there is, and that the key sees. Raises NotFound."""
    return str(visible(Endpoint.find(str(UUID(given)))).id)
