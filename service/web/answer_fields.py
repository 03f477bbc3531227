"""The fields of answers, as the OpenAPI document shows them.

An answer is written out by the package of its noun; a schema here only says what is in it, and
the suite holds every answer that it sees against it.
"""

from typing import Any

from marshmallow import Schema, fields, validate

Described = fields.Field[Any]


class Answer(Schema):
    """What this API answers. A field that is not optional always stands there, if as null."""


def _field(kind: type[Described], about: str, options: dict[str, Any]) -> Described:
    """`null`: may be null; `optional`: may be missing; `example`: a value of it."""
    examples = [options.pop('example')] if 'example' in options else []
    return kind(
        required=not options.pop('optional', False),
        allow_none=options.pop('null', False),
        metadata={'description': about, 'examples': examples},
        **options,
    )


def string(about: str = '', **options: Any) -> Described:
    return _field(fields.String, about, options)


def word(*choices: str, about: str = '', **options: Any) -> Described:
    """One of a few words."""
    return _field(fields.String, about, options | {'validate': validate.OneOf(choices)})


def identifier(about: str = '', **options: Any) -> Described:
    """An id of ours."""
    return _field(fields.UUID, about, options)


def whole(about: str = '', **options: Any) -> Described:
    return _field(fields.Integer, about, options)


def number(about: str = '', **options: Any) -> Described:
    return _field(fields.Float, about, options)


def flag(about: str = '', **options: Any) -> Described:
    return _field(fields.Boolean, about, options)


def moment(about: str = '', **options: Any) -> Described:
    """A time: RFC 3339, UTC."""
    return _field(fields.DateTime, about, {'example': '2026-11-22T17:54:33.625519Z'} | options)


def day(about: str = '', **options: Any) -> Described:
    return _field(fields.Date, about, {'example': '2026-11-22'} | options)


def anything(about: str = '', **options: Any) -> Described:
    """Whatever it is that Meta or a caller gave."""
    return _field(fields.Raw, about, options)


def any_object(about: str = '', **options: Any) -> Described:
    return _field(fields.Dict, about, options)


def part(schema: type[Schema], about: str = '', **options: Any) -> Described:
    """An object of its own."""
    found: Described = fields.Nested(
        schema,
        required=not options.get('optional', False),
        allow_none=options.get('null', False),
        metadata={'description': about},
    )
    return found


def many(inner: Described | type[Schema], about: str = '', **options: Any) -> Described:
    """A list."""
    one = inner if isinstance(inner, fields.Field) else fields.Nested(inner)
    found: Described = fields.List(
        one,
        required=not options.get('optional', False),
        allow_none=options.get('null', False),
        metadata={'description': about},
    )
    return found


def page_of(schema: type[Schema], **more: Described) -> type[Answer]:
    """One page of a list."""
    return type(
        f'{schema.__name__}Page',
        (Answer,),
        {
            '__doc__': 'One page of a list.',
            'data': many(schema),
            'next_cursor': string('Pass it on as `cursor`; null on the last page.', null=True),
            **more,
        },
    )
