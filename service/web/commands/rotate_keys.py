"""`flask rotate-keys`: every stored secret is encrypted anew."""

from dataclasses import dataclass

import click

from service.accounts.account import Account
from service.events import endpoint
from service.runtime import db, encryption
from service.runtime.db import connection
from service.runtime.rows import execute_bulk
from service.web.commands.gateway_command import GatewayCommand, show


@click.command(cls=GatewayCommand, examples=['flask rotate-keys'])
def rotate_keys() -> None:
    """Encrypt every stored secret with the first of ENCRYPTION_KEYS.

    The older keys can be removed afterwards.
    """
    try:
        accounts, endpoints = _rotate()
    except encryption.DecryptionError as error:
        raise click.ClickException(f'{error}; nothing was changed.') from None
    show(
        {'accounts': accounts, 'endpoints': endpoints},
        lambda _: [f'{accounts} accounts and {endpoints} endpoints re-encrypted.'],
    )


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
