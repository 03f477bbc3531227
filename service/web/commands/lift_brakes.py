"""`flask lift-brakes`: send at the full rate again."""

from collections.abc import Iterator

import click

from service.web.commands.gateway_command import GatewayCommand, show
from service.web.commands.local_request import account_path, ask
from service.web.responses import JSONObject


@click.command(cls=GatewayCommand, examples=['flask lift-brakes acme'])
@click.argument('chatbot_id')
def lift_brakes(chatbot_id: str) -> None:
    """Send at the full rate again: take the brakes of this account's number, WABA and app off.

    What waits because of them goes at once; where Meta is away, a probe does. Meta may complain
    again.
    """
    show(ask('POST', f'{account_path(chatbot_id)}/brakes/lift'), _lines)


def _lines(result: JSONObject) -> Iterator[str]:
    for one in result['lifted']:
        pause = f', paused until {one["paused_until"]}' if one['paused_until'] else ''
        yield f'{one["scope"]}: was at {one["factor"]:.0%} of its rate{pause}'
    probe = '; Meta is away, a probe goes now' if result['probe'] else ''
    yield f'{len(result["lifted"])} brakes lifted, {result["messages"]} messages due{probe}.'
