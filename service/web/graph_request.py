"""Bodies of the Graph door: whatever form Meta takes them in.

A parameter may stand in the query or in a form as well as in the JSON, and an object may be given
as its JSON text. What the gateway does not know yet is left to Meta to judge.
"""

import json
from collections.abc import Collection, Iterable
from typing import Any

from flask import request
from marshmallow import ValidationError

from service.content.fields import fits_in, without_nulls
from service.content.interactive import INTERACTIVE
from service.content.message_schema import MessageSchema, RecipientSchema, check
from service.content.template_parameters import storable_throughout
from service.conversations.identity_store import known_phones
from service.runtime import strict_json
from service.runtime.errors import BadRequest, Invalid
from service.runtime.untrusted import is_deep
from service.sending.outbox import HANDED_ON

JSONObject = dict[str, Any]
FORMS = ('application/x-www-form-urlencoded', 'multipart/form-data')
# What would take the place of the account's token.
CREDENTIALS = ('access_token', 'appsecret_proof', 'appsecret_time')
OTHERS_IN_BODY = ('ids', 'batch')  # what names further objects in a body
ONE_OBJECT = 'The parameter "{}" is not handed on: ask for one object.'
OBJECTS = (*MessageSchema.KNOWN, 'context', 'typing_indicator')
MOST_OF_OTHERS = 4096  # characters as JSON, of fields that only Meta knows
NO_JSON = 'The body is no JSON object.'


class KnownRecipientSchema(RecipientSchema):
    """The same to a phone number under which Meta knows a customer."""

    is_known = True


message_schema = RecipientSchema()
known_message_schema = KnownRecipientSchema()
KNOWN_FIELDS = {field.data_key or name for name, field in message_schema.fields.items()}
IN_QUERY = {*KNOWN_FIELDS, *OBJECTS, 'status', 'message_id'}


def body() -> JSONObject:
    """What was sent, wherever it stood, without credentials. Raises BadRequest."""
    given = dict(request.form) if request.mimetype in FORMS else _json(request.get_data())
    require_one_object([*request.args, *given], OTHERS_IN_BODY)
    query = {name: value for name, value in request.args.items() if name in IN_QUERY}
    return {
        name: _read(name, value)
        for name, value in (query | given).items()
        if name not in CREDENTIALS
    }


def require_one_object(names: Iterable[str], refused: Collection[str]) -> None:
    """Raise BadRequest for a parameter that would make one call into several."""
    for name in map(plain, names):
        if name in refused:
            raise BadRequest(ONE_OBJECT.format(name))


def plain(name: str) -> str:
    """A parameter's name; Meta takes `ids[0]` for a part of `ids`."""
    return name.partition('[')[0].strip()


def _json(data: bytes) -> JSONObject:
    if not data.strip():
        return {}
    try:
        value = strict_json.loads(data)
    except (ValueError, RecursionError):
        raise BadRequest(NO_JSON, code='malformed_json') from None
    if not isinstance(value, dict):
        raise BadRequest(NO_JSON, code='malformed_json')
    if is_deep(value):  # it could be stored, but never be written out again
        raise BadRequest('The body is nested too deeply.', code='nested_too_deeply')
    return value


def _read(name: str, value: Any) -> Any:
    """A value as JSON has it: an object that was given as a text, a number that names somebody."""
    if name in OBJECTS and isinstance(value, str) and value.lstrip().startswith(('{', '[')):
        try:
            parsed = strict_json.loads(value)
        except (ValueError, RecursionError):
            return value
        return value if is_deep(parsed) else parsed
    is_number = isinstance(value, int) and not isinstance(value, bool)
    return str(value) if name == 'to' and is_number else value


def message(chatbot_id: str, given: JSONObject) -> JSONObject:
    """The checked message of a body. Raises Invalid."""
    wanted, others = _for_us(given)
    return _check(chatbot_id, wanted) | ({HANDED_ON: others} if others else {})


def _check(chatbot_id: str, wanted: JSONObject) -> JSONObject:
    try:
        return check(message_schema, wanted)
    except Invalid as refusal:
        if 'to' in (refusal.errors or {}) and known_phones(chatbot_id, [wanted.get('to')]):
            return check(known_message_schema, wanted)
        raise


def _for_us(given: JSONObject) -> tuple[JSONObject, JSONObject]:
    """The body as our schema wants it, unchecked where Meta may know more than we do; the rest."""
    context = given.get('context')
    if isinstance(context, dict):
        given = {**given, 'context': without_nulls(context) or None}  # an empty one quotes nothing
    wanted = {name: value for name, value in given.items() if value is not None}
    if 'to' in wanted:
        wanted.pop('recipient', None)  # of two recipients Meta takes this one (section 4.4)
    kind = wanted.get('type')
    content = wanted.get(kind) if isinstance(kind, str) else None
    if isinstance(content, dict | list) and not _is_known(kind, content):
        wanted['validate'] = False
    others = _unknown_of(wanted, kind)
    _require_few(others)
    return {name: value for name, value in wanted.items() if name not in others}, others


def _unknown_of(wanted: JSONObject, kind: object) -> JSONObject:
    """Fields that only Meta can know; none where one of them may be what is to be sent."""
    if kind is None and not wanted.keys() & MessageSchema.KNOWN.keys():
        return {}
    known = (*KNOWN_FIELDS, *MessageSchema.KNOWN, kind)
    return {name: value for name, value in wanted.items() if name not in known}


def _require_few(others: JSONObject) -> None:
    """Raise Invalid for unknown fields that are too much to keep, or cannot be kept."""
    try:
        fits_in(others, MOST_OF_OTHERS)
        storable_throughout(others)
    except ValidationError as error:
        raise Invalid(
            'Unknown fields are too much.', dict.fromkeys(others, error.messages)
        ) from None


def _is_known(kind: object, content: Any) -> bool:
    """Whether we know a type of message, or of an interactive one."""
    if kind != 'interactive' or not isinstance(content, dict):
        return kind in MessageSchema.KNOWN
    inner = content.get('type')
    return not isinstance(inner, str) or inner in INTERACTIVE


def dumps(answer: JSONObject) -> str:
    """JSON as Meta writes it: ASCII alone."""
    return json.dumps(answer, separators=(',', ':'))
