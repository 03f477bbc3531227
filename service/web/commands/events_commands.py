"""`flask events …`: the log of what Meta posted, and processing it once more."""

import click

from service.web.commands.gateway_command import GatewayGroup, progress, show, table
from service.web.commands.local_request import ask, pages
from service.web.responses import JSONObject
from service.web.webhook_events import STATUSES

COLUMNS = ('id', 'received_at', 'status', 'attempts', 'chatbot_id', 'size', 'error')


@click.group(cls=GatewayGroup)
def events() -> None:
    """Webhook events: what Meta posted, and what became of it."""


@events.command(
    'list', examples=['flask events list', 'flask events list --status failed --limit 500 --json']
)
@click.option('--status', type=click.Choice(STATUSES), help='Only those that are in it.')
@click.option('--limit', type=click.IntRange(1), default=50, show_default=True)
def list_events(status: str | None, limit: int) -> None:
    """List what Meta posted, the newest first."""
    show(pages('/webhook-events', limit, status=status), lambda page: table(page['data'], *COLUMNS))


@events.command(
    'replay',
    examples=[
        'flask events replay 01a20465-3e1c-7ae0-975e-2ddafdfbf485',
        'flask events replay --status failed --limit 1000',
    ],
)
@click.argument('event_ids', nargs=-1, type=click.UUID)
@click.option('--status', type=click.Choice(STATUSES), help='All of it, the newest first.')
@click.option('--limit', type=click.IntRange(1), default=200, show_default=True)
def replay(event_ids: tuple[object, ...], status: str | None, limit: int) -> None:
    """Process events once more, for instance after their account was created.

    Name them, or a status. What is stored already is not stored again.
    """
    if bool(event_ids) == bool(status):
        raise click.UsageError('Give the ids of events, or --status.')
    found = [f'{event_id}' for event_id in event_ids]
    if status:
        found = [one['id'] for one in pages('/webhook-events', limit, status=status)['data']]
    replayed: list[JSONObject] = []
    with progress(len(found), 'Replaying') as bar:
        for event_id in found:
            replayed.append(ask('POST', f'/webhook-events/{event_id}/replay'))
            bar.update(1)
    show({'data': replayed}, lambda page: [f'{len(page["data"])} events are processed once more.'])
