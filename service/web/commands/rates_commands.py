"""`flask rates load` and `show`: what Meta charges."""

from collections.abc import Iterator
from dataclasses import asdict
from datetime import UTC, datetime
from typing import BinaryIO

import click

from service.billing import rate_card, rate_file
from service.runtime.db import connection
from service.web.commands.gateway_command import GatewayGroup, show, table
from service.web.responses import JSONObject


@click.group(cls=GatewayGroup)
def rates() -> None:
    """The rate card: what Meta charges for a delivered message."""


@rates.command('load', examples=['flask rates load rates-2027-01.csv'])
@click.argument('file', type=click.File('rb'))
def load(file: BinaryIO) -> None:
    """Let the rates in FILE hold from now on, and no others; the past is priced by them, too.

    FILE is a CSV like service/billing/rates.csv. It is loaded as a whole or not at all.
    """
    found = rate_file.read(file.read())
    with connection():
        rate_file.load(found)
    show({'rates': len(found), 'currency': found[0].currency}, _loaded)


def _loaded(answer: JSONObject) -> Iterator[str]:
    yield f'{answer["rates"]} rates loaded, in {answer["currency"]}.'


@rates.command('show', examples=['flask rates show', 'flask rates show --market BR --all --json'])
@click.option('--market', help='A country like BR, or one of Meta\'s regions like "Other".')
@click.option('--all', 'with_past', is_flag=True, help='Also those that do not hold today.')
def show_rates(market: str | None, with_past: bool) -> None:
    """Show the rates that hold today."""
    today = datetime.now(UTC).date().isoformat()
    with connection():
        card = rate_card.current()
    rows = [
        asdict(rate) | {'price': float(rate.price)}
        for rate in card.rates
        if (with_past or rate.holds_on(today)) and market in (None, rate.market)
    ]
    show({'data': rows}, lambda answer: table(answer['data'], *rate_card.COLUMNS))
