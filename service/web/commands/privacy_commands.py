"""`flask erase` and `flask retention run`: a person's data, and what is too old."""

from collections.abc import Iterator

import click

from service.conversations import contact
from service.privacy.retention_walk import Walk
from service.runtime.db import connection
from service.runtime.errors import NotFound
from service.runtime.ids import is_id
from service.web.commands.gateway_command import GatewayCommand, GatewayGroup, show
from service.web.commands.local_request import account_path, ask
from service.web.responses import JSONObject


@click.command(
    cls=GatewayCommand,
    examples=['flask erase acme +12025550143', 'flask erase acme BR.1A2b3C4d --yes --json'],
)
@click.argument('chatbot_id')
@click.argument('person')
@click.option('--yes', is_flag=True, help='Do not ask before it is done.')
def erase(chatbot_id: str, person: str, yes: bool) -> None:
    """Erase PERSON, a phone number, a user id or a contact's id, everywhere.

    Messages, files, raw webhooks, events and search go; what may be billed stays without a name.
    Nothing brings it back.
    """
    found = _find(chatbot_id, person)
    if not yes:
        click.confirm(f'Erase contact {found["id"]} for good?', abort=True, err=True)
    show(ask('DELETE', f'/contacts/{found["id"]}'), _lines)


def _find(chatbot_id: str, person: str) -> JSONObject:
    ask('GET', account_path(chatbot_id))
    if is_id(person):
        found = [ask('GET', f'/contacts/{person}')]
    else:
        found = ask('GET', '/contacts', chatbot_id=chatbot_id, phone=person)['data']
    for one in found:
        if one['chatbot_id'] == chatbot_id:
            return one
    raise NotFound(contact.NO_SUCH_CONTACT)


def _lines(answer: JSONObject) -> Iterator[str]:
    for name, count in answer['erased'].items():
        yield f'{count:>8} {name}'


@click.group(cls=GatewayGroup)
def retention() -> None:
    """How long things are kept: the account field `retention`."""


@retention.command('run', examples=['flask retention run', 'flask retention run --json'])
def run() -> None:
    """Let go all that is older than the accounts' rules, now; the clock does it bit by bit."""
    with connection():
        walk = Walk()
        while not walk.is_over:
            walk.step()
    show({'done': dict(walk.done)}, _done)


def _done(answer: JSONObject) -> Iterator[str]:
    if not answer['done']:
        yield 'Nothing is too old.'
    for name, count in answer['done'].items():
        yield f'{count:>8} {name}'
