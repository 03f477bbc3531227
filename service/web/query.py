"""The query string.

A route names the parameters that it takes, others are refused: a misspelt filter finds everything.

`takes` marks a view, `check` runs before each view of a guarded blueprint.
"""

from collections.abc import Callable, Iterable

from flask import current_app, request

from service.runtime.errors import Invalid

SHOWN = 100  # characters of a name that is not ours


def takes(*names: str) -> Callable:
    """The query parameters of a view; one that is not marked takes none."""

    def mark(view: Callable) -> Callable:
        view.parameters = names
        return view

    return mark


def check() -> None:
    """Raises Invalid."""
    check_names(getattr(current_app.view_functions[request.endpoint], 'parameters', ()))


def check_names(known: Iterable[str]) -> None:
    """Raises Invalid for a parameter that is none of these, or is given more than once."""
    known = list(known)
    those = f'Known here: {", ".join(known)}.' if known else 'None is known here.'
    problems = {}
    for name, values in request.args.lists():
        if name not in known:
            problems[name[:SHOWN]] = [f'Unknown query parameter. {those}']
        elif len(values) > 1:
            problems[name] = ['Given more than once.']
    if problems:
        raise Invalid(f'One or more query parameters are not valid; see errors. {those}', problems)
