"""Commands for operators: `flask rotate-keys`, `flask send-bulk`, `flask lift-brakes`.

`flask listen` is for developers and stands apart (listen.py).
"""

import sys
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import BinaryIO

import click
from flask import Flask
from flask.cli import with_appcontext
from redis import RedisError

from service.accounts.account import Account
from service.events import endpoint
from service.messages.state_machine import WAITING
from service.runtime import config, db, encryption, logs, queues
from service.runtime.db import connection
from service.runtime.errors import GatewayError
from service.runtime.rows import execute_bulk
from service.runtime.timestamps import to_rfc3339
from service.sending import batch as batches
from service.sending import brake
from service.sending.batch import Batch
from service.sending.recipients import RecipientList
from service.web.bulk_order import check_order, read_csv, store
from service.web.listen import listen
from service.web.responses import JSONObject

PROGRESS_SECONDS = 0.3  # between two looks at a batch


def init_app(app: Flask) -> None:
    app.cli.add_command(rotate_keys)
    app.cli.add_command(send_bulk)
    app.cli.add_command(lift_brakes)
    app.cli.add_command(listen)


class GatewayCommand(click.Command):
    """A command that checks the environment when it runs, not when only its --help is read."""

    def invoke(self, ctx: click.Context) -> object:
        config.check('command')
        logs.configure()
        db.configure()
        return super().invoke(ctx)


@click.command(cls=GatewayCommand)
def rotate_keys() -> None:
    """Encrypt every stored secret with the first of ENCRYPTION_KEYS.

    The older keys can be removed afterwards.
    """
    try:
        accounts, endpoints = _rotate()
        click.echo(f'{accounts} accounts and {endpoints} endpoints re-encrypted.')
    except encryption.DecryptionError as error:
        raise click.ClickException(f'{error}; nothing was changed.') from None


@dataclass(slots=True)
class Secrets:
    """The encrypted columns of one account."""

    chatbot_id: str
    access_token: str | None
    app_secret: str | None
    webhook_verify_token: str | None
    responder_secret: str | None
    former_responder_secret: str | None


REPLACE_SECRETS = """
UPDATE whatsapp_cloud_account a SET access_token = n.access_token, app_secret = n.app_secret,
  webhook_verify_token = n.webhook_verify_token, responder_secret = n.responder_secret,
  former_responder_secret = n.former_responder_secret
FROM {rows} WHERE a.chatbot_id = n.chatbot_id
"""


def _rotate() -> tuple[int, int]:
    """How many accounts and endpoints have got their secrets encrypted anew."""
    with connection(), db.db.atomic():
        accounts = list(Account.select().for_update())
        count = execute_bulk(REPLACE_SECRETS, [_rotated(account) for account in accounts])
        return count, endpoint.encrypt_anew()


def _rotated(account: Account) -> Secrets:
    secrets = {name: encryption.rotate(getattr(account, name)) for name in Account.SECRETS}
    return Secrets(account.chatbot_id, **secrets)


@click.command(cls=GatewayCommand)
@click.argument('chatbot_id')
def lift_brakes(chatbot_id: str) -> None:
    """Send at the full rate again: take the brakes of this account's number, WABA and app off.

    What waits because of them goes at once; where Meta is away, a probe does. Meta may complain
    again.
    """
    try:
        with connection():
            result = brake.lift(Account.find(chatbot_id))
        queues.enqueue_drain(queues.SEND)
    except GatewayError as error:
        raise click.ClickException(_describe(error)) from None
    for one in result['lifted']:
        pause = f', paused until {to_rfc3339(one["paused_until"])}' if one['paused_until'] else ''
        click.echo(f'{one["scope"]}: was at {one["factor"]:.0%} of its rate{pause}')
    probe = '; Meta is away, a probe goes now' if result['probe'] else ''
    click.echo(f'{len(result["lifted"])} brakes lifted, {result["messages"]} messages due{probe}.')


@click.command(cls=GatewayCommand)
@click.argument('file', type=click.File('rb'))
@click.option('--chatbot-id', required=True)
@click.option('--text', help='A text; {{name}} stands for the column of this name.')
@click.option('--template', help='The name of a template; the columns are its parameters.')
@click.option('--language', help='The language of the template, like en_US.')
@click.option('--message', help="Meta's send body as JSON, without to and recipient.")
@click.option(
    '--force',
    is_flag=True,
    default=None,
    help='Also where the 24-hour window is known to have closed.',
)
@click.option('--yes', is_flag=True, help='Do not ask before it is sent.')
@click.option('--no-wait', is_flag=True, help='Do not follow it until it is done.')
@with_appcontext
def send_bulk(file: BinaryIO, chatbot_id: str, yes: bool, no_wait: bool, **options: object) -> None:
    """Send one message to everybody in FILE, a CSV with a header.

    Who may not get this message now (window, opt-out) is told of and left out; that is no failure.
    The exit code is 1 when a row was rejected or a message failed.
    """
    given = {name: value for name, value in options.items() if value is not None}
    try:
        order = check_order({'chatbot_id': chatbot_id, **given})
        recipients = read_csv(order, file)
        _report(recipients)
        if not yes:
            click.confirm(f'Send to {len(recipients.accepted)} recipients?', abort=True)
        with connection(), db.db.atomic():
            batch = store(Account.find_active(chatbot_id), order, recipients)
    except GatewayError as error:
        raise click.ClickException(_describe(error)) from None
    with suppress(RedisError):  # the clock finds them
        queues.enqueue_drain(queues.SEND)
    _report_rows(batch['dropped_rows'])
    click.echo(f'Batch {batch["id"]}: {batch["accepted"]} queued, {batch["dropped"]} dropped')
    is_good = no_wait or _follow(batch)
    sys.exit(0 if is_good and not recipients.rejected else 1)


def _describe(error: GatewayError) -> str:
    problems = error.errors or {}
    named = [f'  {name}: {" ".join(sentences)}' for name, sentences in problems.items()]
    return '\n'.join([error.detail or error.title, *named])


def _report(recipients: RecipientList) -> None:
    _report_rows(recipients.rejected_rows)
    counts = f'{recipients.rejected} rejected, {recipients.duplicates} duplicates'
    click.echo(f'{recipients.total} rows, {counts}')


def _report_rows(rows: list[JSONObject]) -> None:
    for row in rows:
        problems = [f'{name}: {" ".join(sentences)}' for name, sentences in row['errors'].items()]
        click.echo(f'line {row["line"]}: {"; ".join(problems)}', err=True)


def _follow(batch: JSONObject) -> bool:
    """Show how it goes on until nothing of it can leave; True when everything went."""
    with click.progressbar(length=batch['accepted'], label='Sending') as bar:
        while True:
            with connection():
                (batch,) = batches.serialize([Batch.find(batch['id'])])
            counts = batch['counts']
            waiting = sum(count for status, count in counts.items() if status in WAITING)
            bar.update(max(0, batch['accepted'] - waiting - bar.pos))
            if batch['status'] != 'running' or counts.get('held') == waiting:
                break
            time.sleep(PROGRESS_SECONDS)
    by_status = ', '.join(f'{count} {name}' for name, count in sorted(counts.items()))
    click.echo(f'{batch["status"]}: {by_status}')
    if batch['reason']:
        click.echo(f'{batch["reason"]["explanation"]} {batch["reason"]["fix"]}', err=True)
    return batch['status'] == 'done' and not {'failed', 'expired'} & counts.keys()
