"""Commands for operators: `flask rotate-keys`, `flask send-bulk`, `flask lift-brakes`."""

import sys
import time
from contextlib import suppress

import click
from flask.cli import with_appcontext
from redis import RedisError

from service.accounts.account import Account
from service.messages.state_machine import WAITING
from service.runtime import config, db, encryption, logs, queues
from service.runtime.db import connection, execute
from service.runtime.errors import GatewayError
from service.runtime.timestamps import to_rfc3339
from service.sending import batch as batches
from service.sending import brake
from service.sending.batch import Batch
from service.web.batches import order_from, read_csv, store

LOOK_EVERY = 0.3  # seconds


def init_app(app):
    app.cli.add_command(rotate_keys)
    app.cli.add_command(send_bulk)
    app.cli.add_command(lift_brakes)


class GatewayCommand(click.Command):
    """A command that checks the environment when it begins, not when it is only asked for its
    --help.
    """

    def invoke(self, ctx: click.Context) -> object:
        config.check('command')
        logs.configure()
        db.configure()
        return super().invoke(ctx)


@click.command(cls=GatewayCommand)
def rotate_keys():
    """Encrypt every stored secret with the first of ENCRYPTION_KEYS; the older keys can be removed
    afterwards.
    """
    try:
        click.echo(f'{_rotate()} accounts re-encrypted.')
    except encryption.Undecryptable as error:
        raise click.ClickException(f'{error}; nothing was changed.') from None


def _rotate():
    with connection(), db.db.atomic():
        accounts = list(Account.select().for_update())
        for account in accounts:
            secrets = {name: encryption.rotate(getattr(account, name)) for name in Account.SECRETS}
            columns = ', '.join(f'{name} = %s' for name in secrets)
            execute(
                f'UPDATE whatsapp_cloud_account SET {columns} WHERE chatbot_id = %s',
                (*secrets.values(), account.chatbot_id),
            )  # noqa: S608
    return len(accounts)


@click.command(cls=GatewayCommand)
@click.argument('chatbot_id')
def lift_brakes(chatbot_id: str) -> None:
    """Send at the full rate again: take the brakes of this account's number, WABA and app off.

    What waits because of them goes at once; where Meta is away, a probe does. Meta may complain
    again.
    """
    try:
        with connection():
            told = brake.lift(Account.find(chatbot_id))
        queues.enqueue_drain(queues.SEND)
    except GatewayError as error:
        raise click.ClickException(_told(error)) from None
    for one in told['lifted']:
        pause = f', paused until {to_rfc3339(one["paused_until"])}' if one['paused_until'] else ''
        click.echo(f'{one["scope"]}: was at {one["factor"]:.0%} of its rate{pause}')
    probe = '; Meta is away, a probe goes now' if told['probe'] else ''
    click.echo(f'{len(told["lifted"])} brakes lifted, {told["messages"]} messages due{probe}.')


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
def send_bulk(file, chatbot_id, yes, no_wait, **kind):
    """Send one message to everybody in FILE, a CSV with a header; exit code 1 when a row was
    rejected or failed.

    Who may not get this message now (window, opt-out) is told of and left out; that is no failure.
    """
    given = {name: value for name, value in kind.items() if value is not None}
    try:
        order = order_from({'chatbot_id': chatbot_id, **given})
        recipients = read_csv(order, file)
        _report(recipients)
        yes or click.confirm(f'Send to {len(recipients.accepted)} recipients?', abort=True)
        with connection(), db.db.atomic():
            batch = store(Account.find_active(chatbot_id), order, recipients)
    except GatewayError as error:
        raise click.ClickException(_told(error)) from None
    with suppress(RedisError):  # the clock finds them
        queues.enqueue_drain(queues.SEND)
    _report_rows(batch['dropped_rows'])
    click.echo(f'Batch {batch["id"]}: {batch["accepted"]} queued, {batch["dropped"]} dropped')
    well = no_wait or _follow(batch)
    sys.exit(0 if well and not recipients.rejected else 1)


def _told(error):
    named = [f'  {name}: {" ".join(sentences)}' for name, sentences in (error.errors or {}).items()]
    return '\n'.join([error.detail or error.title, *named])


def _report(recipients):
    _report_rows(recipients.rejected_rows)
    click.echo(
        f'{recipients.total} rows, {recipients.rejected} rejected, {recipients.duplicates} duplicates'
    )


def _report_rows(rows):
    for row in rows:
        told = '; '.join(
            f'{name}: {" ".join(sentences)}' for name, sentences in row['errors'].items()
        )
        click.echo(f'line {row["line"]}: {told}', err=True)


def _follow(batch):
    """Show how it goes on until nothing of it can leave; True when everything went."""
    with click.progressbar(length=batch['accepted'], label='Sending') as bar:
        while True:
            with connection():
                (batch,) = batches.serialize([Batch.find(batch['id'])])
            waiting = sum(count for status, count in batch['counts'].items() if status in WAITING)
            bar.update(max(0, batch['accepted'] - waiting - bar.pos))
            if batch['status'] != 'running' or batch['counts'].get('held') == waiting:
                break
            time.sleep(LOOK_EVERY)
    click.echo(
        f'{batch["status"]}: '
        + ', '.join(f'{count} {name}' for name, count in sorted(batch['counts'].items()))
    )
    if batch['reason']:
        click.echo(f'{batch["reason"]["explanation"]} {batch["reason"]["fix"]}', err=True)
    return batch['status'] == 'done' and not {'failed', 'expired'} & batch['counts'].keys()
