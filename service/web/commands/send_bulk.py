"""`flask send-bulk`: one message to everybody in a file."""

import time
from collections.abc import Iterator
from typing import BinaryIO

import click

from service.accounts.account import Account
from service.messages.state_machine import WAITING
from service.runtime import db
from service.runtime.db import connection
from service.runtime.queues import SEND, wake
from service.sending.recipients import RecipientList
from service.web.bulk_order import check_order, read_csv, store
from service.web.commands.gateway_command import GatewayCommand, is_json, progress, show
from service.web.commands.local_request import ask
from service.web.responses import JSONObject

PROGRESS_SECONDS = 0.3  # between two looks at a batch


@click.command(
    cls=GatewayCommand,
    examples=[
        "flask send-bulk people.csv --chatbot-id acme --text 'Hello {{name}}'",
        'flask send-bulk people.csv --chatbot-id acme --template sale --language en_US --yes',
        'flask send-bulk - --chatbot-id acme --text Hello --yes --no-wait --json < people.csv',
    ],
)
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
def send_bulk(file: BinaryIO, chatbot_id: str, yes: bool, no_wait: bool, **options: object) -> None:
    """Send one message to everybody in FILE, a CSV with a header.

    Who may not get this message now (window, opt-out) is told of and left out; that is no failure.
    The exit code is 1 when a row was rejected or a message failed.
    """
    given = {name: value for name, value in options.items() if value is not None}
    order = check_order({'chatbot_id': chatbot_id, **given})
    recipients = read_csv(order, file)
    _report(recipients)
    if not yes:
        click.confirm(f'Send to {len(recipients.accepted)} recipients?', abort=True, err=True)
    with connection(), db.db.atomic():
        batch = store(Account.find_active(chatbot_id), order, recipients)
    wake(SEND)
    _report_rows(batch['dropped_rows'])
    if not is_json():
        click.echo(f'Batch {batch["id"]}: {batch["accepted"]} queued, {batch["dropped"]} dropped')
    if not no_wait:
        batch |= _follow(batch)
        show(batch, _outcome)
    elif is_json():
        show(batch, _outcome)
    is_good = no_wait or _went(batch)
    click.get_current_context().exit(0 if is_good and not recipients.rejected else 1)


def _report(recipients: RecipientList) -> None:
    _report_rows(recipients.rejected_rows)
    counts = f'{recipients.rejected} rejected, {recipients.duplicates} duplicates'
    click.echo(f'{recipients.total} rows, {counts}', err=is_json())


def _report_rows(rows: list[JSONObject]) -> None:
    for row in rows:
        problems = [f'{name}: {" ".join(sentences)}' for name, sentences in row['errors'].items()]
        click.echo(f'line {row["line"]}: {"; ".join(problems)}', err=True)


def _follow(batch: JSONObject) -> JSONObject:
    """The batch when nothing of it can leave any more; a progress bar until then."""
    with progress(batch['accepted'], 'Sending') as bar:
        while True:
            found = ask('GET', f'/batches/{batch["id"]}')
            counts = found['counts']
            waiting = sum(count for status, count in counts.items() if status in WAITING)
            bar.update(max(0, found['accepted'] - waiting - bar.pos))
            if found['status'] != 'running' or counts.get('held') == waiting:
                return found
            time.sleep(PROGRESS_SECONDS)


def _outcome(batch: JSONObject) -> Iterator[str]:
    by_status = ', '.join(f'{count} {name}' for name, count in sorted(batch['counts'].items()))
    yield f'{batch["status"]}: {by_status}'
    if batch['reason']:
        yield f'{batch["reason"]["explanation"]} {batch["reason"]["fix"]}'


def _went(batch: JSONObject) -> bool:
    return batch['status'] == 'done' and not {'failed', 'expired'} & batch['counts'].keys()
