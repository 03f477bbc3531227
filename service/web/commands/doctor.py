"""`flask doctor`: what is not as it should be, and what mends it.

It runs also when the environment is wrong, or PostgreSQL, Redis or Meta are away.
"""

import sys
import textwrap
from collections.abc import Iterator
from contextlib import suppress

import click

from service.doctor.check import EXIT_CODES, Check, worst
from service.doctor.examination import examine
from service.runtime import config, db
from service.web.commands.gateway_command import GatewayCommand, show
from service.web.responses import JSONObject

COLOURS = {'ok': 'green', 'warn': 'yellow', 'fail': 'red'}
WIDTH = 100  # letters of a line
EXAMPLES = ['flask doctor', 'flask doctor acme', 'flask doctor acme --json']


@click.command(cls=GatewayCommand, examples=EXAMPLES, is_local=False)
@click.argument('chatbot_id', required=False)
def doctor(chatbot_id: str | None) -> None:
    """Look at everything that the gateway needs and, with CHATBOT_ID, at that account at Meta.

    Each line is ok, warn or fail; below it stands what mends it. The exit code is 0 when all is ok,
    1 with a warn, 2 with a fail. Takes up to 22 seconds when something hangs.
    """
    with suppress(config.ConfigError):  # a check says so
        db.configure()
    checks = examine(chatbot_id)
    result = worst(checks)
    show({'ok': result == 'ok', 'checks': checks}, _lines)
    sys.exit(EXIT_CODES[result])


def _lines(answer: JSONObject) -> Iterator[str]:
    for check in answer['checks']:
        yield from _lines_of(check)


def _lines_of(check: Check) -> Iterator[str]:
    mark = click.style(f'{check["result"]:4}', fg=COLOURS[check['result']])
    first, *rest = textwrap.wrap(check['detail'], WIDTH - 24)
    yield f'{mark}  {check["check"]:16}  {first}'
    for line in rest:
        yield f'{"":24}{line}'
    for line in textwrap.wrap(check['fix'] or '', WIDTH - 26):
        yield f'{"":24}> {line}'
