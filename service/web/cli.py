"""Which commands there are: `flask …`. Each module of commands/ has one, or a group of them."""

import click
from flask import Flask

from service.web.commands.account_commands import account
from service.web.commands.doctor import doctor
from service.web.commands.events_commands import events
from service.web.commands.keys_commands import keys
from service.web.commands.lift_brakes import lift_brakes
from service.web.commands.listen import listen
from service.web.commands.privacy_commands import erase, retention
from service.web.commands.queue_commands import queue
from service.web.commands.rates_commands import rates
from service.web.commands.rotate_keys import rotate_keys
from service.web.commands.send_bulk import send_bulk
from service.web.commands.send_command import send
from service.web.commands.subscribe import subscribe

COMMANDS = (
    account,
    send,
    send_bulk,
    events,
    queue,
    keys,
    rates,
    erase,
    retention,
    doctor,
    subscribe,
    listen,
    rotate_keys,
    lift_brakes,
)


def init_app(app: Flask) -> None:
    for command in COMMANDS:
        app.cli.add_command(command)


def is_running() -> bool:
    """Whether the application is loaded for a command, and not for `flask run` or a server.

    Then the command itself checks what it needs, and --help needs nothing.
    """
    context = click.get_current_context(silent=True)
    return context is not None and context.info_name != 'run'
