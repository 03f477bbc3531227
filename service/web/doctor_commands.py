"""`flask doctor` finds what is not as it should be; `flask subscribe` mends what Meta's side needs.

The doctor runs also when the environment is wrong, or PostgreSQL, Redis or Meta are away.
"""

import json
import sys
import textwrap
from contextlib import suppress

import click

from service.accounts.account import Account
from service.doctor import subscription
from service.doctor.check import EXIT_CODES, Check, worst
from service.doctor.examination import examine
from service.graph.error_codes import explain
from service.graph.management_client import ManagementError
from service.runtime import config, db
from service.runtime.db import connection
from service.runtime.encryption import DecryptionError
from service.runtime.errors import GatewayError

COLOURS = {'ok': 'green', 'warn': 'yellow', 'fail': 'red'}
WIDTH = 100  # letters of a line


@click.command()
@click.argument('chatbot_id', required=False)
@click.option('--json', 'as_json', is_flag=True, help='One JSON object instead of lines.')
def doctor(chatbot_id: str | None, as_json: bool) -> None:
    """Look at everything that the gateway needs and, with CHATBOT_ID, at that account at Meta.

    Each line is ok, warn or fail; below it stands what mends it. The exit code is 0 when all is ok,
    1 with a warn, 2 with a fail. Takes up to 22 seconds when something hangs.

    \b
    flask doctor
    flask doctor acme
    flask doctor acme --json
    """
    with suppress(config.ConfigError):  # a check says so
        db.configure()
    checks = examine(chatbot_id)
    result = worst(checks)
    if as_json:
        click.echo(json.dumps({'ok': result == 'ok', 'checks': checks}, indent=2))
    else:
        for check in checks:
            _show(check)
    sys.exit(EXIT_CODES[result])


def _show(check: Check) -> None:
    mark = click.style(f'{check["result"]:4}', fg=COLOURS[check['result']])
    lines = textwrap.wrap(check['detail'], WIDTH - 24) or ['']
    click.echo(f'{mark}  {check["check"]:16}  {lines[0]}')
    for line in lines[1:]:
        click.echo(f'{"":24}{line}')
    if check['fix']:
        for line in textwrap.wrap(check['fix'], WIDTH - 26):
            click.echo(f'{"":24}> {line}')


@click.command()
@click.argument('chatbot_id')
@click.option('--json', 'as_json', is_flag=True, help='One JSON object instead of a sentence.')
def subscribe(chatbot_id: str, as_json: bool) -> None:
    """Let the app of an account's token hear of its WABA: without that no webhook comes.

    Does nothing when it does already, so that an override of the callback URL stays.

    \b
    flask subscribe acme
    """
    config.check('command')
    db.configure()
    try:
        with connection():
            account = Account.find(chatbot_id)
        done = subscription.subscribe(account)
    except GatewayError as error:
        raise click.ClickException(error.detail or error.title) from None
    except DecryptionError as error:
        raise click.ClickException(f'{error}.') from None
    except ManagementError as error:
        reason = error.outcome.reason
        fix = explain(reason.get('cause') or reason['code'])['fix']
        raise click.ClickException(f'Meta: {reason["title"]}. {fix}') from None
    if as_json:
        click.echo(json.dumps(done, indent=2))
        return
    app = f'App {done["app_id"]}' if done['app_id'] else 'The app of the token'
    state = 'is now subscribed' if done['changed'] else 'was subscribed already'
    click.echo(f'{app} {state} to the WABA {done["waba_id"]}.')
