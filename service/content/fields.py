"""Pure: the kinds of fields that what callers send is made of.

Each text and each list has a most.
"""

import json
from collections.abc import Callable, Collection, Hashable, Iterable, Mapping, Sized
from typing import Any

from marshmallow import Schema, ValidationError, fields, validate

from service.content.characters import is_visible, variable_problem
from service.runtime.untrusted import UNSTORABLE

MAX_LINK, MAX_WORD, MAX_TEXT = (
    2000,
    255,
    1000,
)  # characters: of a link, of an id or a name, of a text without a limit
MAX_OPAQUE = 512  # characters of biz_opaque_callback_data
MAX_CONTENT = 131_072  # characters of a whole content as JSON, whatever it holds
ASK = 'To send it all the same, add "validate": false.'
FREE_FORM = (
    'flow_action_payload',
    'flow_action_data',
)  # a caller's own data for a Flow, of any shape


def without_nulls(value: Any) -> Any:
    """A copy without the fields that are null: for Meta that is as if they were left out."""
    if isinstance(value, list):
        return list(map(without_nulls, value))
    if not isinstance(value, dict):
        return value
    kept = {}
    for (
        name,
        part,
    ) in value.items():  # no comprehension: as deep as a body may be nested, each would count twice
        if part is not None:
            kept[name] = part if name in FREE_FORM else without_nulls(part)
    return kept


class Body(Schema):
    """The schema of what a caller sends.

    A field that is null is left out, unless null is a value of it; an unknown one is named all the
    same. `ALSO_KNOWN`: what may stand in the body beside its fields.
    """

    ALSO_KNOWN: Collection[str] = ()

    def load(self, data: Any, **options: Any) -> Any:
        return super().load(self.given(data), **options)

    def given(self, data: Any) -> Any:
        """The body without such nulls."""
        if not isinstance(data, dict):
            return data
        keeps_null = dict.fromkeys(self.ALSO_KNOWN, False) | {
            field.data_key or name: field.allow_none for name, field in self.fields.items()
        }
        return {
            name: value
            for name, value in data.items()
            if value is not None or keeps_null.get(name, True)
        }


def storable(value: str) -> None:
    """A validator: text that a text column can hold."""
    if UNSTORABLE.search(value):
        raise ValidationError('Holds a character that is not allowed (NUL or a lone surrogate).')


def visible(value: str) -> None:
    """A validator: a text that a person sees something of."""
    if value and not is_visible(value):
        raise ValidationError('Shows nothing: it is nothing but blanks or invisible characters.')


def as_variable(value: str) -> None:
    """A validator: a text that may become a variable of a template."""
    if problem := variable_problem(value):
        raise ValidationError(problem)


def fits_in(value: object, most: int = MAX_CONTENT) -> None:
    """A validator: a value of any shape that is not too much as a whole."""
    count = len(json.dumps(value, ensure_ascii=False))
    if count > most:
        raise ValidationError(
            f'At most {most:,} characters as JSON are allowed, this has {count:,}.'
        )


class Count:
    """A validator: how many characters, or elements of a list, there may be."""

    def __init__(self, least: int, most: int, what: str = 'characters') -> None:
        self.least, self.most, self.what = least, most, what

    def __call__(self, value: Sized) -> None:
        if not self.least <= len(value) <= self.most:
            allowed = f'{self.least} to {self.most} {self.what} are allowed, this has {len(value)}.'
            raise ValidationError(allowed)


class Flag(fields.Boolean):
    """A field: true or false, and no text or number that might mean one of them."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> Any:
        if not isinstance(value, bool):
            raise ValidationError('Must be true or false.')
        return value


def text(most: int = MAX_TEXT, least: int = 1, **arguments: Any) -> fields.String:
    """A field: a string of so many characters; one that is needed has to be visible."""
    validators: list[Callable[[Any], None]] = [Count(least, most)]
    if least:
        validators.append(visible)
    return fields.String(validate=validators, **arguments)


def opaque_data() -> fields.String:
    """A field: what a caller wants to have back with each status (docs/meta.md, section 6.1)."""
    return fields.String(validate=[Count(0, MAX_OPAQUE), storable])


def variable(**arguments: Any) -> fields.String:
    """A field: a text that becomes a part of a template's."""
    return fields.String(validate=as_variable, **arguments)


def link(**arguments: Any) -> fields.String:
    """A field: an http or https address."""
    form = validate.Regexp(
        r'(?i)\Ahttps?://[^\s/?#]\S*\Z', error='Must be a link: http:// or https:// and no space.'
    )
    return fields.String(validate=[Count(1, MAX_LINK), form], **arguments)


def exactly(word: str, **arguments: Any) -> fields.String:
    """A field: this word and no other."""
    return fields.String(validate=validate.Equal(word, error=f'Must be "{word}".'), **arguments)


def parts(
    schema: type[Schema] | fields.Field[Any], least: int, most: int, what: str, **arguments: Any
) -> fields.List[Any]:
    """A field: a list of so many objects."""
    inner = schema if isinstance(schema, fields.Field) else fields.Nested(schema)
    return fields.List(inner, validate=Count(least, most, what), **arguments)


def optional_strings(*names: str) -> type[Schema]:
    """A schema of optional texts."""
    return Schema.from_dict({name: text(least=0) for name in names})


def refuse_repeated(
    values: Iterable[Hashable], path: Callable[[int], tuple[str | int, ...]], what: str
) -> None:
    """Raise ValidationError at the first value that stood before.

    `path`: where a value stands in the body, from its position.
    """
    seen: set[Hashable] = set()
    for position, value in enumerate(values):
        if value is not None and value in seen:
            messages: list[Any] | dict[Any, Any] = [f'Stands twice: {what} must be unique.']
            for name in reversed(path(position)):
                messages = {name: messages}
            raise ValidationError(messages)
        seen.add(value)


class ForbiddenField(fields.Field[Any]):
    """A field that may not be given, and why."""

    def __init__(self, sentence: str) -> None:
        super().__init__()
        self.sentence = sentence

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> Any:
        raise ValidationError(self.sentence)


class ByType(fields.Field[Any]):
    """An object that is checked by the schema that its `type` names.

    `any_case`: Meta takes IMAGE for image here.
    """

    def __init__(
        self,
        schemas: Mapping[str, Schema],
        any_case: bool = False,
        default: str | None = None,
        **arguments: Any,
    ) -> None:
        super().__init__(**arguments)
        self.schemas = schemas
        self.any_case = any_case
        self.default = default

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> Any:
        if not isinstance(value, dict):
            raise ValidationError('Must be an object.')
        kind = value.get('type', self.default)
        if kind is None:
            raise ValidationError({'type': [f'Missing. Known: {", ".join(self.schemas)}.']})
        name = kind.lower() if self.any_case and isinstance(kind, str) else kind
        if not isinstance(name, str) or name not in self.schemas:
            raise ValidationError({'type': [f'Not a known one ({", ".join(self.schemas)}). {ASK}']})
        return self.schemas[name].load(value)


class AsGiven(fields.Nested):
    """An object that is checked and then passed on as it was given, without nulls."""

    def _deserialize(
        self,
        value: Any,
        attr: str | None,
        data: Mapping[str, Any] | None,
        partial: Any = None,
        **kwargs: Any,
    ) -> Any:
        value = without_nulls(value)
        super()._deserialize(value, attr, data, partial, **kwargs)
        return value
