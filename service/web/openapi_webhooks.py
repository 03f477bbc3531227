"""What this gateway posts to the platform, for the OpenAPI document: an entry for each type."""

from collections.abc import Iterator

from marshmallow import Schema

from service.events.event_types import TYPES
from service.web.described import JSON
from service.web.event_answers import DATA, DATA_OF_FAMILY, Event, ReplyRequested
from service.web.json_schema import Components
from service.web.responses import JSONObject

QUESTION = 'reply.requested'
HEADERS: dict[str, str] = {
    'webhook-id': 'The id of the event, the same at every try.',
    'webhook-timestamp': 'Seconds since 1970.',
    'webhook-signature': '`v1,` and a signature by Standard Webhooks; two after a rotation.',
}
TO_EVENTS: JSONObject = {
    '2XX': {'description': 'It is taken. Any other answer is a failure, and it is tried again.'},
    '410': {'description': 'The endpoint is paused at once.'},
}
TO_QUESTION: JSONObject = {
    '200': {
        'description': "What is said: bodies of Meta's without a recipient, sent in this order.",
        'content': {
            JSON: {
                'schema': {
                    'type': 'object',
                    'required': ['messages'],
                    'properties': {'messages': {'type': 'array', 'items': {'type': 'object'}}},
                }
            }
        },
    },
    '202': {'description': 'It answers later, by POST /send with `in_reply_to`.'},
    '204': {'description': 'Nothing is said.'},
}


def describe_webhooks(components: Components) -> Iterator[tuple[str, JSONObject]]:
    """(type, path item) of every event, and of the question to a responder."""
    event = components.refer(Event())
    for kind in TYPES:
        fields = DATA[kind] if kind in DATA else DATA_OF_FAMILY[kind.partition('.')[0]]
        data = components.refer(Schema.from_dict({**fields})())
        told = {'properties': {'type': {'const': kind}, 'data': data}}
        about = f'{kind}, to an endpoint of kind events.'
        yield kind, _webhook(kind, about, {'allOf': [event, told]}, TO_EVENTS)
    question = components.refer(ReplyRequested())
    yield QUESTION, _webhook(QUESTION, ReplyRequested.__doc__ or '', question, TO_QUESTION)


def _webhook(kind: str, about: str, body: JSONObject, answers: JSONObject) -> JSONObject:
    return {
        'post': {
            'operationId': f'on_{kind.replace(".", "_")}',
            'tags': ['events'],
            'summary': about,
            'security': [],
            'parameters': [_header(name, text) for name, text in HEADERS.items()],
            'requestBody': {'required': True, 'content': {JSON: {'schema': body}}},
            'responses': answers,
        }
    }


def _header(name: str, about: str) -> JSONObject:
    schema = {'type': 'string'}
    return {'name': name, 'in': 'header', 'required': True, 'description': about, 'schema': schema}
