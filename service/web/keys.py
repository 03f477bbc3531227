"""API keys: make one that sees less, list them, delete them. Only a key of API_KEYS may."""

from typing import Any
from uuid import UUID

from flask import Blueprint, Response

from service.accounts import api_key
from service.content import message_schema
from service.web import key_answers, pagination, request_examples, request_input
from service.web.auth import guard, scope
from service.web.described import describe
from service.web.key_schemas import key_schema
from service.web.known_keys import known_keys
from service.web.request_input import query_parameters
from service.web.responses import Answer, JSONObject

blueprint = guard(Blueprint('keys', __name__))


@blueprint.post('/keys')
@scope('root')
@describe(key_answers.NewApiKey, 201, body=key_schema, examples=request_examples.KEYS)
def create() -> Answer:
    """Make a key, which is shown this once."""
    order: dict[str, Any] = message_schema.check(key_schema, request_input.json_object())
    key_id, text = api_key.create(**order)
    return {**api_key.find(key_id), 'key': text}, 201


@blueprint.get('/keys')
@scope('root')
@query_parameters('limit', 'cursor')
@describe(key_answers.ApiKeyPage)
def index() -> JSONObject:
    """List keys, the newest first."""
    return pagination.page_of_rows(api_key.list_keys, dict)


@blueprint.get('/keys/<uuid:key_id>')
@scope('root')
@describe(key_answers.ApiKey)
def show(key_id: UUID) -> JSONObject:
    """Show a key, but for the key itself."""
    return api_key.find(str(key_id))


@blueprint.delete('/keys/<uuid:key_id>')
@scope('root')
@describe(None, 204)
def delete(key_id: UUID) -> Response:
    """Delete a key; every process refuses it within two seconds."""
    api_key.delete(str(key_id))
    known_keys.forget(str(key_id))
    return Response(status=204)
