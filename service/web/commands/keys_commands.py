"""`flask keys …`: keys that see less than those of API_KEYS."""

from collections.abc import Iterator

import click

from service.accounts.api_key import SCOPES
from service.web.commands.gateway_command import GatewayGroup, show, table
from service.web.commands.local_request import ask, pages
from service.web.responses import JSONObject

COLUMNS = ('id', 'name', 'chatbot_ids', 'scopes', 'last4', 'last_used_at', 'expires_at')


@click.group(cls=GatewayGroup)
def keys() -> None:
    """API keys that see some chatbots, and may do some things."""


@keys.command(
    'make',
    examples=[
        'flask keys make shop --chatbot-id acme --scope send --scope read',
        'KEY=$(flask keys make shop --chatbot-id acme --scope send)',
    ],
)
@click.argument('name')
@click.option('--chatbot-id', 'chatbot_ids', multiple=True, required=True, help='Again for more.')
@click.option('--scope', 'scopes', multiple=True, required=True, type=click.Choice(SCOPES))
@click.option('--expires-at', help='A time like 2027-01-31T00:00:00Z; else it does not expire.')
def make(
    name: str, chatbot_ids: tuple[str, ...], scopes: tuple[str, ...], expires_at: str | None
) -> None:
    """Make a key, and show it this once: it alone goes to standard output."""
    body: JSONObject = {'name': name, 'chatbot_ids': [*chatbot_ids], 'scopes': [*scopes]}
    if expires_at:
        body['expires_at'] = expires_at
    show(ask('POST', '/keys', body), _made)


def _made(key: JSONObject) -> Iterator[str]:
    click.echo(f'The key {key["id"]}, which is shown this once:', err=True)
    yield key['key']


@keys.command('list', examples=['flask keys list', 'flask keys list --json'])
@click.option('--limit', type=click.IntRange(1), default=1000, show_default=True)
def list_keys(limit: int) -> None:
    """List keys, the newest first; never the keys themselves."""
    show(pages('/keys', limit), lambda page: table(page['data'], *COLUMNS))


@keys.command('revoke', examples=['flask keys revoke 01a20465-3e1c-7ae0-975e-2ddafdfbf485'])
@click.argument('key_id', type=click.UUID)
def revoke(key_id: object) -> None:
    """Delete a key; every process refuses it within two seconds."""
    ask('DELETE', f'/keys/{key_id}')
    show({'revoked': f'{key_id}'}, lambda done: [f'{done["revoked"]} is revoked.'])
