"""What all commands of the gateway share: help with examples, --json, errors, exit codes.

Exit codes: 0 done, 1 something failed, 2 the command was not understood. What is asked for goes to
stdout; problems, questions and progress go to stderr.
"""

import json
import logging
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import click
from flask import current_app
from flask.cli import ScriptInfo

from service.runtime import config, db, logs, queues
from service.runtime.errors import GatewayError
from service.runtime.timestamps import to_rfc3339
from service.web.responses import JSONObject, problem_body

AS_JSON = 'service.web.commands.as_json'  # in the context's meta
RING_SECONDS = 5  # that a command waits for Redis when it ends


def _keep_as_json(context: click.Context, parameter: click.Parameter, value: bool) -> None:
    context.meta[AS_JSON] = value


class GatewayCommand(click.Command):
    """A command with --json and examples; they stand below its help.

    It checks the environment when it runs, not when only its --help is read; `is_local`: whether
    it needs that of a gateway at all.
    """

    def __init__(
        self, *given: Any, examples: Sequence[str], is_local: bool = True, **options: Any
    ) -> None:
        super().__init__(*given, **options)
        self.examples = examples
        self.is_local = is_local
        self.params.append(
            click.Option(
                ['--json'],
                is_flag=True,
                is_eager=True,
                expose_value=False,
                callback=_keep_as_json,
                help='Show one JSON document.',
            )
        )

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section('Examples'):
            for example in self.examples:
                formatter.write(f'{"":>{formatter.current_indent}}{example}\n')

    def invoke(self, ctx: click.Context) -> object:
        if not self.is_local:
            return super().invoke(ctx)
        config.check('command')
        logs.configure(sys.stderr, least=logging.ERROR)
        db.configure()
        if not current_app:
            ctx.with_resource(ctx.ensure_object(ScriptInfo).load_app().app_context())
        try:
            return super().invoke(ctx)
        except GatewayError as error:
            raise Refused(_problem(error)) from None
        finally:
            queues.finish(RING_SECONDS)


class GatewayGroup(click.Group):
    """A group of commands: `flask account list`."""

    command_class = GatewayCommand


class Refused(click.ClickException):
    """The gateway refused what was asked: `problem` is its answer (RFC 9457).

    With --json it goes to stdout, as an answer does; its sentences always go to stderr.
    """

    def __init__(self, problem: JSONObject) -> None:
        problems: Mapping[str, list[str]] = problem.get('errors') or {}
        named = [f'  {name}: {" ".join(sentences)}' for name, sentences in problems.items()]
        super().__init__('\n'.join([problem['detail'], *named]))
        self.problem = problem
        self.is_shown = is_json()

    def show(self, file: Any = None) -> None:
        if self.is_shown:
            _write(self.problem)
        super().show(file)


def _problem(error: GatewayError) -> JSONObject:
    body = problem_body(
        error.status, error.title, error.detail, error.errors, error.code, **error.members
    )
    problem: JSONObject = json.loads(body)
    return problem


def is_json() -> bool:
    """Whether the command that runs was given --json."""
    context = click.get_current_context(silent=True)
    return bool(context and context.meta.get(AS_JSON))


def show(answer: JSONObject, as_text: Callable[[JSONObject], Iterable[str]]) -> None:
    """Show the answer of a command: the lines that `as_text` makes of it, or all of it as JSON."""
    if is_json():
        _write(answer)
        return
    for line in as_text(answer):
        click.echo(line)


def _write(document: JSONObject) -> None:
    click.echo(json.dumps(document, indent=2, ensure_ascii=False, default=to_rfc3339))


def table(rows: Sequence[JSONObject], *names: str) -> Iterator[str]:
    """Lines with these members of each row below their names; a dash where there is none."""
    cells = [names, *(tuple(map(_cell, map(row.get, names))) for row in rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    for row in cells:
        padded = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        yield '  '.join(padded).rstrip()


def _cell(value: object) -> str:
    if value is None:
        return '-'
    if isinstance(value, bool):
        return 'yes' if value else 'no'
    return ' '.join(map(str, value)) if isinstance(value, list) else str(value)


@contextmanager
def progress(length: int, label: str) -> Iterator[Any]:
    """A progress bar on stderr, seen on a terminal only; `.update(n)` moves it on."""
    hidden = is_json() or not sys.stderr.isatty()
    with click.progressbar(length=length, label=label, file=sys.stderr, hidden=hidden) as bar:
        yield bar
