"""`flask listen`: what a gateway tells, handed on to a developer's machine.

It asks by the HTTP API, so it needs the gateway's address and a key, and nothing of its
environment. Each event is posted as an endpoint would get it, one after the other; one that the
machine refuses is shown and not sent again.
"""

import http.client
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import click
import urllib3
from marshmallow import ValidationError
from urllib3.exceptions import HTTPError

from service.events import endpoint, event_body
from service.events.event_types import TYPES
from service.runtime import bounded_answer, deadline, retry_after, standard_webhooks
from service.runtime.config import ConfigError, settings
from service.web.commands.gateway_command import GatewayCommand, is_json
from service.web.endpoint_schemas import standard_secret

WAIT = 20  # seconds that the gateway waits for the next event
ANSWER_SECONDS = WAIT + 10
FORWARD_SECONDS = 15  # as for an endpoint
MAX_PAGE = 64 * 1024 * 1024  # bytes of an answer of the gateway
MAX_ANSWER = 64 * 1024
AWAY_SECONDS = 2  # until a gateway that is away is asked again
MAX_AWAY_SECONDS = 60  # that it may ask for
PREFIX = '/whatsapp-cloud'
UNANSWERED = (HTTPError, http.client.HTTPException, OSError)
REFUSED = (400, 401, 403, 404, 422)


class Away(Exception):
    """The gateway does not answer, or not now; ask again after `seconds`."""

    def __init__(self, reason: str, seconds: float = AWAY_SECONDS) -> None:
        super().__init__(reason)
        self.seconds = seconds


@dataclass
class Source:
    """The events of a gateway. `after`: behind which event it goes on."""

    url: str
    key: str
    filters: dict[str, str]
    after: str

    @cached_property
    def _pool(self) -> urllib3.PoolManager:
        return deadline.pool_manager()

    def page(self, wait: int) -> list[dict[str, Any]]:
        """The next events. Raises Away, or ClickException when asking again is of no use."""
        asked = {**self.filters, 'after': self.after, 'wait': f'{wait}'}
        try:
            with deadline.within(ANSWER_SECONDS):
                answer = self._pool.request(
                    'GET',
                    f'{self.url}{PREFIX}/events',
                    fields=asked,
                    headers={'Authorization': f'Bearer {self.key}'},
                    redirect=False,
                    preload_content=False,
                )
                body = bounded_answer.read(answer, MAX_PAGE)
            page = json.loads(body)
        except UNANSWERED as error:
            raise Away(type(error).__name__) from None
        except ValueError:
            raise Away('no JSON') from None
        if answer.status in REFUSED:
            raise click.ClickException(page.get('detail') or f'HTTP {answer.status}')
        if answer.status != 200:
            seconds = retry_after.seconds(answer.headers, MAX_AWAY_SECONDS)
            raise Away(f'HTTP {answer.status}', seconds or AWAY_SECONDS)
        events: list[dict[str, Any]] = page['data']
        if not events:
            self.after = page['after']
        return events

    def events(self, on_away: Callable[[Away], None]) -> Iterator[dict[str, Any]]:
        """All events from now on; one is done with when the next one is asked for."""
        while True:
            try:
                page = self.page(WAIT)
            except Away as away:
                on_away(away)
                time.sleep(away.seconds)
                continue
            for event in page:
                yield event
                self.after = event['id']


@dataclass
class Target:
    """Where events are handed on to."""

    url: str
    secret: str
    _pool: urllib3.PoolManager = field(default_factory=deadline.pool_manager)

    def post(self, event: dict[str, Any]) -> str:
        """What came of it, in a few words."""
        body = event_body.to_text(event).encode()
        signed = standard_webhooks.signed_headers(
            event['id'], int(time.time()), body, [self.secret]
        )
        began = time.monotonic()
        try:
            with deadline.within(FORWARD_SECONDS):
                answer = self._pool.request(
                    'POST',
                    self.url,
                    body=body,
                    headers={'Content-Type': 'application/json', **signed},
                    redirect=False,
                    preload_content=False,
                )
                bounded_answer.read(answer, MAX_ANSWER)
        except UNANSWERED as error:
            return f'no answer ({type(error).__name__})'
        return f'{answer.status} {1000 * (time.monotonic() - began):.0f} ms'


def _key(given: str | None) -> str:
    try:
        return given or settings.API_KEYS[0]
    except ConfigError:
        raise click.UsageError('Name a key: --key, or GATEWAY_KEY in the environment.') from None


def _own_address() -> str:
    """Where the gateway of this environment listens."""
    try:
        return f'http://127.0.0.1:{settings.PORT}'
    except ConfigError as error:
        raise click.UsageError(str(error)) from None


def _address(context: click.Context, parameter: click.Parameter, value: str) -> str:
    """Check an address of an option; the one of the gateway may have the prefix of its API."""
    if not value.startswith(('http://', 'https://')):
        raise click.BadParameter('must begin with http:// or https://')
    return value.rstrip('/').removesuffix(PREFIX) if parameter.name == 'url' else value


def _secret(context: click.Context, parameter: click.Parameter, value: str | None) -> str | None:
    try:
        if value:
            standard_secret(value)
    except ValidationError as error:
        raise click.BadParameter(' '.join(error.normalized_messages()['_schema'])) from None
    return value


@click.command(
    cls=GatewayCommand,
    is_local=False,
    examples=[
        'flask listen --forward-to http://127.0.0.1:3000/hook',
        'flask listen --forward-to http://127.0.0.1:3000/hook --url https://gateway.example',
    ],
)
@click.option('--forward-to', required=True, callback=_address, help='Where events are posted to.')
@click.option(
    '--url',
    envvar='GATEWAY_URL',
    default=_own_address,
    show_default='http://127.0.0.1 with PORT, or 8000',
    callback=_address,
    help='The gateway; or GATEWAY_URL.',
)
@click.option('--key', envvar='GATEWAY_KEY', help='A key with scope read; or GATEWAY_KEY.')
@click.option('--secret', callback=_secret, help='whsec_…, to sign with; else one is made.')
@click.option('--chatbot-id', help='Only events of this chatbot.')
@click.option('--type', 'type_', type=click.Choice(TYPES), help='Only events of this type.')
@click.option('--after', default='now', help='Begin behind the event with this id.')
def listen(
    forward_to: str,
    url: str,
    key: str | None,
    secret: str | None,
    chatbot_id: str | None,
    type_: str | None,
    after: str,
) -> None:
    """Hand the events of a gateway on to a service on this machine, until Ctrl-C.

    With --json it shows a document for each event, a line each, and all else on stderr.
    """
    given = {'chatbot_id': chatbot_id, 'type': type_}
    filters = {name: value for name, value in given.items() if value}
    source = Source(url, _key(key), filters, after)
    target = Target(forward_to, secret or endpoint.new_secret('events'))
    try:
        _begin(source, target, is_secret_made=not secret)
        _hand_on(source, target)
    except KeyboardInterrupt:
        click.echo(f'\nGo on where this ended with --after {source.after}', err=is_json())


def _begin(source: Source, target: Target, is_secret_made: bool) -> None:
    """Ask once without waiting: a wrong key or name is told at once."""
    try:
        waiting = source.page(wait=0)
    except Away as away:
        raise click.ClickException(f'{source.url} does not answer ({away}).') from None
    if is_secret_made:
        click.echo(f'Signed with {target.secret}, as docs/events.md says.', err=is_json())
    many = f'; {len(waiting)} or more are there already' if waiting else ''
    click.echo(f'Events of {source.url} go to {target.url}{many}. Ctrl-C ends it.', err=is_json())


def _hand_on(source: Source, target: Target) -> None:
    for event in source.events(_tell_away):
        outcome = target.post(event)
        if is_json():
            click.echo(json.dumps({'event': event, 'outcome': outcome}))
            continue
        click.echo(f'{time.strftime("%H:%M:%S")} {event["type"]} {event["id"]} -> {outcome}')


def _tell_away(away: Away) -> None:
    click.echo(f'The gateway does not answer ({away}); asking again.', err=True)
