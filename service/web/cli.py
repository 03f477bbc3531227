"""Commands for operators: `flask rotate-keys`."""

import click

from service import vault
from service.account import Account
from service.db import connection, db, execute


def init_app(app):
    app.cli.add_command(rotate_keys)


@click.command()
def rotate_keys():
    """Encrypt every stored secret with the first of ENCRYPTION_KEYS; the older keys can be removed afterwards."""
    try:
        click.echo(f'{_rotate()} accounts re-encrypted.')
    except vault.Undecryptable as error:
        raise click.ClickException(f'{error}; nothing was changed.') from None


def _rotate():
    with connection(), db.atomic():
        accounts = list(Account.select().for_update())
        for account in accounts:
            secrets = {name: vault.rotate(getattr(account, name)) for name in Account.SECRETS}
            columns = ', '.join(f'{name} = %s' for name in secrets)
            execute(
                f'UPDATE whatsapp_cloud_account SET {columns} WHERE chatbot_id = %s',
                (*secrets.values(), account.chatbot_id),
            )  # noqa: S608
    return len(accounts)
