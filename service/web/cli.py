"""Which commands there are: `flask …`. Each module of commands/ has one, or a group of them."""

import click
from flask import Flask

<<<<<<< HEAD
from service.web.commands.lift_brakes import lift_brakes
from service.web.commands.listen import listen
from service.web.commands.rotate_keys import rotate_keys
from service.web.commands.send_bulk import send_bulk
=======
from service.accounts.account import Account
from service.events import endpoint
from service.messages.state_machine import WAITING
from service.runtime import config, db, encryption, logs, queues
from service.runtime.db import connection
from service.runtime.errors import GatewayError
from service.runtime.rows import execute_bulk
from service.runtime.timestamps import to_rfc3339
from service.sending import batch as batches
from service.sending import brake
from service.sending.batch import Batch
from service.sending.recipients import RecipientList
from service.web.bulk_order import check_order, read_csv, store
from service.web.doctor_commands import doctor, subscribe
from service.web.listen import listen
from service.web.responses import JSONObject
>>>>>>> 474d1c8 (Say what is not as it should be, and what mends it)

COMMANDS = (
    send_bulk,
    listen,
    rotate_keys,
    lift_brakes,
)


def init_app(app: Flask) -> None:
<<<<<<< HEAD
    for command in COMMANDS:
        app.cli.add_command(command)
=======
    app.cli.add_command(rotate_keys)
    app.cli.add_command(send_bulk)
    app.cli.add_command(lift_brakes)
    app.cli.add_command(listen)
    app.cli.add_command(doctor)
    app.cli.add_command(subscribe)
>>>>>>> 474d1c8 (Say what is not as it should be, and what mends it)


def is_running() -> bool:
    """Whether the application is loaded for a command, and not for `flask run` or a server.

    Then the command itself checks what it needs, and --help needs nothing.
    """
    context = click.get_current_context(silent=True)
    return context is not None and context.info_name != 'run'
