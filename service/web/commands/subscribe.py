"""`flask subscribe`: Meta sends the webhooks of an account's WABA to the app of its token."""

from collections.abc import Iterator

import click

from service.accounts.account import Account
from service.doctor import subscription
from service.graph.error_codes import explain
from service.graph.management_client import ManagementError
from service.runtime.db import connection
from service.runtime.encryption import DecryptionError
from service.web.commands.gateway_command import GatewayCommand, show
from service.web.responses import JSONObject


@click.command(cls=GatewayCommand, examples=['flask subscribe acme'])
@click.argument('chatbot_id')
def subscribe(chatbot_id: str) -> None:
    """Let the app of an account's token hear of its WABA: without that no webhook comes.

    Does nothing when it does already, so that an override of the callback URL stays.
    """
    try:
        with connection():
            account = Account.find(chatbot_id)
        done = subscription.subscribe(account)
    except DecryptionError as error:
        raise click.ClickException(f'{error}.') from None
    except ManagementError as error:
        reason = error.outcome.reason
        fix = explain(reason.get('cause') or reason['code'])['fix']
        raise click.ClickException(f'Meta: {reason["title"]}. {fix}') from None
    show({**done}, _lines)


def _lines(done: JSONObject) -> Iterator[str]:
    app = f'App {done["app_id"]}' if done['app_id'] else 'The app of the token'
    state = 'is now subscribed' if done['changed'] else 'was subscribed already'
    yield f'{app} {state} to the WABA {done["waba_id"]}.'
