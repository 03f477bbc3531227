"""JSON Schema of marshmallow's schemas: what this API takes and answers, for its OpenAPI document.

A schema with a name of its own becomes a component, which others refer to; one that was made on
the fly stands where it is used.
"""

import re
from collections.abc import Callable
from typing import Any

from marshmallow import INCLUDE, Schema, fields, validate

from service.content.characters import MAX_VARIABLE
from service.content.fields import Body, ByType, Count, ForbiddenField, as_variable
from service.web.answer_fields import Answer
from service.web.input_descriptions import ABOUT
from service.web.responses import JSONObject

REFERENCE = '#/components/schemas/'
MADE_ON_THE_FLY = 'GeneratedSchema'
# The most special class comes first.
TYPES: dict[type[fields.Field[Any]], JSONObject] = {
    fields.URL: {'type': 'string', 'format': 'uri'},
    fields.UUID: {'type': 'string', 'format': 'uuid'},
    fields.String: {'type': 'string'},
    fields.Integer: {'type': 'integer'},
    fields.Number: {'type': 'number'},
    fields.Boolean: {'type': 'boolean'},
    fields.Date: {'type': 'string', 'format': 'date'},
    fields.DateTime: {'type': 'string', 'format': 'date-time'},
    fields.Dict: {'type': 'object'},
}


class Components:
    """The schemas that the document refers to, each under a name of its own."""

    def __init__(self) -> None:
        self.schemas: JSONObject = {}
        self._names: dict[Any, str] = {}

    def refer(self, schema: Schema) -> JSONObject:
        """A reference to a schema, or the schema itself when it has no name."""
        if type(schema).__name__ == MADE_ON_THE_FLY:
            return self._of_schema(schema)
        name = self._names.get(_key(schema))
        if name is None:
            name = self._names[_key(schema)] = self._free_name(type(schema))
            self.schemas[name] = {}  # its place, also for a schema that has itself in it
            self.schemas[name] = self._of_schema(schema)
        return {'$ref': f'{REFERENCE}{name}'}

    def _free_name(self, kind: type[Schema]) -> str:
        """Its own; of what callers give with `Input`, as answers often have the shorter one."""
        ending = '' if issubclass(kind, Answer) else 'Input'
        name = kind.__name__.removesuffix('Schema') + ending
        if name not in self.schemas:
            return name
        module = kind.__module__.rpartition('.')[2].title().replace('_', '')
        return f'{module}{name}'

    def _of_schema(self, schema: Schema) -> JSONObject:
        known = {one.data_key or name: one for name, one in schema.fields.items()}
        known |= getattr(schema, 'KNOWN', {})  # the contents of a message, by its type
        found: JSONObject = {
            'type': 'object',
            'properties': {
                name: _about(schema, name) | self._of_member(schema, one)
                for name, one in known.items()
                if not isinstance(one, ForbiddenField)
            },
        }
        is_answer = isinstance(schema, Answer)
        if required := [name for name, one in known.items() if _is_required(schema, name, one)]:
            found['required'] = required
        if schema.unknown != INCLUDE and not is_answer:
            found['additionalProperties'] = False
        return _described(type(schema)) | found

    def _of_member(self, schema: Schema, field: fields.Field[Any]) -> JSONObject:
        """What a field of a schema takes: null in a request is as if it were left out."""
        found = self.of_field(field)
        is_settled = field.allow_none or field.required or isinstance(schema, Answer)
        return found if is_settled else _or_null(found)

    def of_field(self, field: fields.Field[Any]) -> JSONObject:
        """What a field takes."""
        found = self._of_kind(field)
        for validator in field.validators:
            found |= _limits(validator, found.get('type'))
        if field.load_default is not None and isinstance(field.load_default, bool | int | str):
            found['default'] = field.load_default
        if field.allow_none:
            found = _or_null(found)
        return found | _annotations(field)

    def _of_kind(self, field: fields.Field[Any]) -> JSONObject:
        match field:
            case fields.Nested():
                return self.refer(field.schema)
            case fields.List():
                return {'type': 'array', 'items': self.of_field(field.inner)}
            case ByType():
                return {'oneOf': [self._of_type(*one) for one in field.schemas.items()]}
        return next((dict(kind) for known, kind in TYPES.items() if isinstance(field, known)), {})

    def _of_type(self, name: str, schema: Schema) -> JSONObject:
        found = self.refer(schema)
        return {'title': name} | found


def _about(schema: Schema, name: str) -> JSONObject:
    """What a field of a request is for; those of Meta's own objects are explained by Meta."""
    if isinstance(schema, Body) and name in getattr(schema, 'KNOWN', {}):
        return {'description': f'Of a message of type {name}, as Meta wants it.'}
    is_known = isinstance(schema, Body) and name in ABOUT
    return {'description': ABOUT[name]} if is_known else {}


def _key(schema: Schema) -> Any:
    return type(schema), str(schema.unknown), str(schema.partial), tuple(schema.fields)


def _is_required(schema: Schema, name: str, field: fields.Field[Any]) -> bool:
    is_partial = schema.partial is True or name in (schema.partial or ())
    return bool(field.required) and not is_partial


def _described(kind: type[Schema]) -> JSONObject:
    """Its docstring, if it is its own; marshmallow's own is about marshmallow."""
    text = kind.__dict__.get('__doc__')
    return {'description': unwrapped(text)} if text else {}


def unwrapped(text: str) -> str:
    """A docstring, each paragraph in one line."""
    paragraphs = re.split(r'\n\s*\n', text.strip())
    return '\n\n'.join(' '.join(one.split()) for one in paragraphs)


def _or_null(found: JSONObject) -> JSONObject:
    if 'const' in found:
        found = {'enum': [found['const']]} | {
            name: value for name, value in found.items() if name != 'const'
        }
    if 'enum' in found:
        found = found | {'enum': [*found['enum'], None]}
    if 'type' in found:
        return found | {'type': [found['type'], 'null']}
    return {'anyOf': [found, {'type': 'null'}]} if found else found


def _annotations(field: fields.Field[Any]) -> JSONObject:
    return {
        name: field.metadata[name]
        for name in ('description', 'examples')
        if field.metadata.get(name)
    }


def _limits(validator: Callable[[Any], Any], kind: object) -> JSONObject:
    """What a validator says that JSON Schema can say, too."""
    match validator:
        case Count():
            return _sizes(kind, validator.least, validator.most)
        case validate.Length():
            equal = validator.equal
            return _sizes(
                kind,
                validator.min if equal is None else equal,
                validator.max if equal is None else equal,
            )
        case validate.Range():
            return _given(minimum=validator.min, maximum=validator.max)
        case validate.OneOf():
            return {'enum': list(validator.choices)}
        case validate.Equal():
            return {'const': validator.comparable}
        case validate.Regexp():
            return {'pattern': _ecma(str(validator.regex.pattern))}
    return {'maxLength': MAX_VARIABLE} if validator is as_variable else {}


def _sizes(kind: object, least: int | None, most: int | None) -> JSONObject:
    what = 'Items' if kind == 'array' else 'Length'
    return _given(**{f'min{what}': least or None, f'max{what}': most})


def _given(**values: Any) -> JSONObject:
    return {name: value for name, value in values.items() if value is not None}


def _ecma(pattern: str) -> str:
    r"""A pattern of Python's as JSON Schema has it: \A and \Z are ^ and $ there."""
    return re.sub(r'^\(\?i\)', '', pattern).replace(r'\A', '^').replace(r'\Z', '$')
