"""`flask send`: a message to one customer."""

import json
import sys
import time
from collections.abc import Iterator

import click

from service.messages.state_machine import WAITING
from service.web.commands.gateway_command import GatewayCommand, progress, show
from service.web.commands.local_request import ask
from service.web.responses import JSONObject

LOOK_SECONDS = 0.3
FAILED = ('failed', 'expired', 'cancelled', 'unknown', 'held')


@click.command(
    cls=GatewayCommand,
    examples=[
        "flask send acme +12025550143 --text 'Your order is ready'",
        'flask send acme +12025550143 --template hello_world --language en_US --wait 30',
        "echo 'A text from a pipe' | flask send acme +12025550143 --text -",
    ],
)
@click.argument('chatbot_id')
@click.argument('to')
@click.option('--text', help='A text; - reads it from standard input.')
@click.option('--template', help='The name of a template without parameters.')
@click.option('--language', help='The language of the template, like en_US.')
@click.option('--message', help="Meta's send body as JSON, without to; - reads standard input.")
@click.option('--client-reference', help='Your own name for it.')
@click.option('--idempotency-key', help='The same again sends nothing twice.')
@click.option('--force', is_flag=True, help='Also where the 24-hour window is known to be closed.')
@click.option('--wait', type=click.IntRange(0), default=0, help='Seconds to wait for Meta.')
def send(
    chatbot_id: str,
    to: str,
    text: str | None,
    template: str | None,
    language: str | None,
    message: str | None,
    client_reference: str | None,
    idempotency_key: str | None,
    force: bool,
    wait: int,
) -> None:
    """Send a message to one customer.

    TO is a phone number. The exit code is 1 when it was refused, or, with --wait, has failed or
    not left in that time.
    """
    body = _message(text, template, language, message)
    options = {'client_reference': client_reference, 'force': force or None}
    body |= {name: value for name, value in options.items() if value is not None}
    headers = {'Idempotency-Key': idempotency_key} if idempotency_key else {}
    sent = ask('POST', '/send', {**body, 'chatbot_id': chatbot_id, 'to': to}, headers)
    if wait:
        sent = _wait_for(sent, wait)
    show(sent, _lines)
    if wait and sent['status'] in (*FAILED, *WAITING):
        click.get_current_context().exit(1)


def _message(
    text: str | None, template: str | None, language: str | None, message: str | None
) -> JSONObject:
    """The message in Meta's form."""
    if sum(given is not None for given in (text, template, message)) != 1:
        raise click.UsageError('Give exactly one of --text, --template and --message.')
    if (template is None) != (language is None):
        raise click.UsageError('--template and --language belong together.')
    if text is not None:
        return {'type': 'text', 'text': {'body': _read(text)}}
    if message is None:
        return {
            'type': 'template',
            'template': {'name': template, 'language': {'code': language}},
        }
    try:
        found = json.loads(_read(message))
    except (ValueError, RecursionError):
        raise click.UsageError('--message is not JSON.') from None
    if not isinstance(found, dict):
        raise click.UsageError('--message is not a JSON object.')
    return found


def _read(given: str) -> str:
    if given != '-':
        return given
    return sys.stdin.read().removesuffix('\n')


def _wait_for(message: JSONObject, seconds: int) -> JSONObject:
    """The message when it waits for nothing here any more, or after so many seconds."""
    until = time.monotonic() + seconds
    with progress(seconds, 'Waiting') as bar:
        while message['status'] in WAITING and time.monotonic() < until:
            time.sleep(LOOK_SECONDS)
            message = ask('GET', f'/messages/{message["id"]}')
            bar.update(max(0, int(seconds - (until - time.monotonic())) - bar.pos))
    return message


def _lines(message: JSONObject) -> Iterator[str]:
    yield f'{message["id"]} {message["status"]}'
    if error := message.get('error'):
        yield f'{error["code"]}: {message.get("explanation") or error["title"]}'
