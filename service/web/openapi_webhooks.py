"""What this gateway posts to the platform, for the OpenAPI document: an entry for each type."""

from collections.abc import Iterator

from marshmallow import Schema

from service.events.event_types import TYPES
from service.web.described import JSON
from service.web.event_answers import DATA, DATA_OF_FAMILY, Event
from service.web.json_schema import Components
from service.web.responses import JSONObject

TAG = 'events'
HEADERS: dict[str, str] = {
    'webhook-id': 'The id of the event, the same at every try.',
    'webhook-timestamp': 'Seconds since 1970.',
    'webhook-signature': '`v1,` and a signature by Standard Webhooks; two after a rotation.',
}
ANSWERS: JSONObject = {
    '2XX': {'description': 'It is taken. Any other answer is a failure, and it is tried again.'},
    '410': {'description': 'The endpoint is paused at once.'},
}


def describe_webhooks(components: Components) -> Iterator[tuple[str, JSONObject]]:
    """(type, path item) of every event."""
    for kind in TYPES:
        yield kind, {'post': _describe(kind, components)}


def _describe(kind: str, components: Components) -> JSONObject:
    fields = DATA[kind] if kind in DATA else DATA_OF_FAMILY[kind.partition('.')[0]]
    data = components.refer(Schema.from_dict({**fields})())
    event = components.refer(Event())
    told = {'properties': {'type': {'const': kind}, 'data': data}}
    return {
        'operationId': f'on_{kind.replace(".", "_")}',
        'tags': [TAG],
        'summary': f'{kind}, to an endpoint of kind events.',
        'security': [],
        'parameters': [
            {
                'name': name,
                'in': 'header',
                'required': True,
                'description': about,
                'schema': {'type': 'string'},
            }
            for name, about in HEADERS.items()
        ],
        'requestBody': {
            'required': True,
            'content': {JSON: {'schema': {'allOf': [event, told]}}},
        },
        'responses': ANSWERS,
    }
