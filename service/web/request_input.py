"""What a request brings: the JSON of its body, and the parameters of its query.

A view names its query parameters with `@query_parameters`. Any other is refused, because a
misspelt filter would find everything; so are fields where a view takes no body. `check_query` and
`check_body` run before each view of a guarded blueprint.
"""

import re
import uuid
from collections.abc import Callable, Collection, Iterable
from datetime import datetime
from typing import Any, TypeVar

from flask import current_app, request
from werkzeug.exceptions import BadRequest as NotJSON

from service.runtime.errors import BadRequest, Invalid
from service.runtime.timestamps import from_rfc3339
from service.runtime.untrusted import UNSTORABLE, is_deep

NAME_SHOWN = 100  # characters of a parameter's name that an answer repeats
PARAMETER_MAX = 2000  # characters
BODY_TOO_DEEP = 'The body is nested too deeply.'
SAYS_NOTHING = re.compile(rb'\s*(?:\{\s*\}\s*)?')  # a body
View = TypeVar('View', bound=Callable[..., Any])


def query_parameters(*names: str) -> Callable[[View], View]:
    """Mark a view with its query parameters; a view without this mark takes none."""

    def mark(view: View) -> View:
        view.parameters = names  # type: ignore[attr-defined]
        return view

    return mark


def check_query() -> None:
    """Check the query against the view of this request. Raises Invalid."""
    view = current_app.view_functions[request.endpoint or '']
    check_names(getattr(view, 'parameters', ()))


def check_names(known: Iterable[str]) -> None:
    """Raise Invalid for a parameter that is not known here, or that is given more than once."""
    known = list(known)
    advice = f'Known here: {", ".join(known)}.' if known else 'None is known here.'
    problems = {}
    for name, values in request.args.lists():
        if name not in known:
            problems[name[:NAME_SHOWN]] = [f'Unknown query parameter. {advice}']
        elif len(values) > 1:
            problems[name] = ['Given more than once.']
    if problems:
        raise Invalid(f'One or more query parameters are not valid; see errors. {advice}', problems)


def parameter(name: str) -> str | None:
    """The text of a query parameter, None when it is absent or empty. Raises Invalid."""
    value = request.args.get(name)
    if value is not None and UNSTORABLE.search(value):
        raise invalid(name, 'Holds a character that is not allowed.')
    if value is not None and len(value) > PARAMETER_MAX:
        raise invalid(name, f'At most {PARAMETER_MAX:,} characters are allowed.')
    return value or None


def required(name: str) -> str:
    """A query parameter that a caller must give. Raises Invalid."""
    value = parameter(name)
    if value is None:
        raise Invalid(f'{name} is required.', {name: ['Missing data for required field.']})
    return value


def choice(name: str, allowed: Collection[str]) -> str | None:
    """A query parameter that is one of a few words. Raises Invalid."""
    value = parameter(name)
    if value is not None and value not in allowed:
        raise invalid(name, f'Must be one of: {", ".join(allowed)}.')
    return value


def identifier(name: str) -> str | None:
    """A query parameter that is the id of one of our rows. Raises Invalid."""
    value = parameter(name)
    try:
        return str(uuid.UUID(value)) if value else None
    except ValueError:
        raise invalid(name, 'Not an id of ours.') from None


def timestamp(name: str) -> datetime | None:
    """A query parameter that is a time with its offset. Raises Invalid."""
    value = (parameter(name) or '').replace(' ', '+')  # a plus that was not escaped
    found = from_rfc3339(value)
    if value and found is None:
        raise invalid(name, 'Not a time like 2026-11-22T17:00:00Z.')
    return found


def invalid(name: str, problem: str) -> Invalid:
    """The error of one parameter whose value is wrong."""
    return Invalid(f'{name} is not valid.', {name: [problem]})


def json_object() -> dict[str, Any]:
    """The body as a dict. Raises 400 for malformed JSON, 415 for another content type."""
    try:
        body = request.get_json()
    except RecursionError:
        raise BadRequest(BODY_TOO_DEEP, code='nested_too_deeply') from None
    except NotJSON:
        raise BadRequest('The body is not valid JSON.', code='malformed_json') from None
    if not isinstance(body, dict):
        raise BadRequest('The body is not a JSON object.', code='malformed_json')
    if is_deep(body):  # it could be stored, but never be written out again
        raise BadRequest(BODY_TOO_DEEP, code='nested_too_deeply')
    return body


def optional_json_object() -> dict[str, Any]:
    """The body as a dict, empty when there is no body, or one that says nothing, of any type."""
    return {} if SAYS_NOTHING.fullmatch(request.get_data()) else json_object()


def check_body() -> None:
    """Refuse the fields of a body where the view of this POST takes none. Raises as json_object."""
    view: Any = current_app.view_functions[request.endpoint or '']
    if request.method != 'POST' or view.description.bodies:
        return
    if given := optional_json_object():
        problems = {name[:NAME_SHOWN]: ['Unknown field. None is known here.'] for name in given}
        raise Invalid('The body has fields, and none is known here; see errors.', problems)
