"""The mark of a view for the OpenAPI document: what it takes, what it answers, how it refuses.

What the document can see by itself is not repeated here: the path, the query, the scope, the
docstring, and the refusals that come before a view.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from marshmallow import Schema

from service.web.answer_fields import Answer
from service.web.responses import JSONObject

View = TypeVar('View', bound=Callable[..., Any])
# Of an answer: a schema, one of several, or JSON Schema as it is.
Shape = type[Answer] | tuple[type[Answer], ...] | JSONObject
Bodies = Mapping[str, Schema | JSONObject]  # by content type
JSON = 'application/json'
IDEMPOTENCY_KEY: JSONObject = {
    'name': 'Idempotency-Key',
    'in': 'header',
    'description': 'The same key and request give the first answer again, and do nothing twice. '
    'Of the chatbot, kept for at least 24 hours.',
    'schema': {'type': 'string', 'minLength': 1, 'maxLength': 255},
    'example': 'order-17',
}


@dataclass(frozen=True, slots=True)
class Description:
    """`answers`: by HTTP status, the content type and what it holds; None: no body.

    `problems`: codes of its refusals (runtime/errors.py). `examples`: of its body, by name.
    """

    answers: Mapping[int, tuple[str, Shape] | None]
    bodies: Bodies = field(default_factory=dict)
    problems: tuple[str, ...] = ()
    headers: tuple[JSONObject, ...] = ()
    examples: Mapping[str, Any] = field(default_factory=dict)
    refuses_as_meta: bool = False
    also: Mapping[str, JSONObject] = field(default_factory=dict)


def describe(
    shape: Shape | None,
    *statuses: int,
    content_type: str = JSON,
    body: Schema | None = None,
    bodies: Bodies | None = None,
    problems: tuple[str, ...] = (),
    headers: tuple[JSONObject, ...] = (),
    examples: Mapping[str, Any] | None = None,
    refuses_as_meta: bool = False,
    also: Mapping[str, JSONObject] | None = None,
) -> Callable[[View], View]:
    """Mark a view. `statuses`: those of its answers that are no refusal, 200 when none is named.

    `body`: the JSON that it takes; `bodies`: of several content types, or another one.
    `refuses_as_meta`: in the form of Meta's errors, and with Meta's own, too. `also`: what it
    answers to those who accept another content type.
    """
    answer = None if shape is None else (content_type, shape)
    taken = {JSON: body} if body else bodies or {}
    found = Description(
        answers=dict.fromkeys(statuses or (200,), answer),
        bodies=taken,
        problems=problems,
        headers=headers,
        examples=examples or {},
        refuses_as_meta=refuses_as_meta,
        also=also or {},
    )

    def mark(view: View) -> View:
        view.description = found  # type: ignore[attr-defined]
        return view

    return mark
