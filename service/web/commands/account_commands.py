"""`flask account …`: connect, list, show, give a new token, deactivate."""

from collections.abc import Iterator

import click

from service.accounts.account import SEND_STATES
from service.web.commands.gateway_command import GatewayGroup, show, table
from service.web.commands.local_request import account_path, ask, pages
from service.web.commands.secret_option import SecretOption
from service.web.responses import JSONObject

access_token = click.option(
    '--access-token',
    cls=SecretOption,
    needed=True,
    envvar='ACCOUNT_ACCESS_TOKEN',
    help="Meta's token: ACCOUNT_ACCESS_TOKEN, else asked for.",
)


@click.group(cls=GatewayGroup)
def account() -> None:
    """Accounts: one chatbot each, with its number."""


@account.command(
    'add',
    examples=[
        'flask account add acme --phone-number-id 300155500044477 --waba-id 880011223344557',
        'flask account add acme --phone-number-id 300155500044477 --name Acme < token.txt',
        'flask account add acme --phone-number-id 300155500044477 --app-secret --verify-token',
    ],
)
@click.argument('chatbot_id')
@click.option('--phone-number-id', required=True)
@click.option('--waba-id')
@click.option('--name')
@click.option('--max-mps', type=int, help='Messages a second.')
@click.option('--no-responder', is_flag=True, help='Nobody answers; else the AI_* variables do.')
@access_token
@click.option(
    '--app-secret',
    cls=SecretOption,
    envvar='ACCOUNT_APP_SECRET',
    help='Of a Meta app of its own: ACCOUNT_APP_SECRET, else asked for.',
)
@click.option(
    '--verify-token',
    'webhook_verify_token',
    cls=SecretOption,
    envvar='ACCOUNT_VERIFY_TOKEN',
    help='Of a webhook of its own: ACCOUNT_VERIFY_TOKEN, else asked for.',
)
def add(chatbot_id: str, no_responder: bool, **given: object) -> None:
    """Connect a number, or change what is given of an account.

    Secrets are never typed as arguments: they come from the environment, are asked for, or are
    lines of standard input, in the order of the options above.
    """
    fields = {name: value for name, value in given.items() if value is not None}
    responder = {'responder': {'kind': 'none'}} if no_responder else {}
    show(ask('POST', '/account', {'chatbot_id': chatbot_id, **fields, **responder}), lines)


@account.command('list', examples=['flask account list', 'flask account list --state held --json'])
@click.option('--state', type=click.Choice(SEND_STATES), help='Only those that are in it.')
@click.option('--limit', type=click.IntRange(1), default=1000, show_default=True)
def list_accounts(state: str | None, limit: int) -> None:
    """List accounts, the newest first."""
    names = ('chatbot_id', 'phone_number_id', 'name', 'active', 'send_state')
    show(pages('/accounts', limit, send_state=state), lambda page: table(page['data'], *names))


@account.command('show', examples=['flask account show acme', 'flask account show acme --json'])
@click.argument('chatbot_id')
def show_account(chatbot_id: str) -> None:
    """Show an account, and what Meta last said of it."""
    show(ask('GET', account_path(chatbot_id)), lines)


@account.command(
    'set-token',
    examples=['flask account set-token acme', 'flask account set-token acme < token.txt'],
)
@click.argument('chatbot_id')
@access_token
def set_token(chatbot_id: str, access_token: str) -> None:
    """Give an account a new access token; it is active again, and what was held is sent."""
    # a misspelt one is unknown, and not new with fields missing
    ask('GET', account_path(chatbot_id))
    body = {'chatbot_id': chatbot_id, 'access_token': access_token}
    show(ask('POST', '/account', body), lines)


@account.command('deactivate', examples=['flask account deactivate acme'])
@click.argument('chatbot_id')
def deactivate(chatbot_id: str) -> None:
    """Send nothing more; what comes in is stored, and not answered."""
    show(ask('POST', f'{account_path(chatbot_id)}/deactivate'), lines)


def lines(answer: JSONObject) -> Iterator[str]:
    """The members of an object that hold a single value, a line each."""
    plain = {name: value for name, value in answer.items() if not isinstance(value, dict | list)}
    width = max(map(len, plain))
    for name, value in plain.items():
        yield f'{name:<{width}}  {"-" if value is None else value}'
