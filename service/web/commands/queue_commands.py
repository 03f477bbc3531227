"""`flask queue status`: what waits, for how long, and who works."""

from collections.abc import Iterator

import click
from redis import RedisError

from service.jobs.job_table import JOBS
from service.runtime import queues
from service.web.commands.gateway_command import GatewayGroup, show, table
from service.web.commands.local_request import ask_health
from service.web.responses import JSONObject


@click.group(cls=GatewayGroup)
def queue() -> None:
    """The queues, and the rows that wait for them."""


@queue.command('status', examples=['flask queue status', 'flask queue status --json'])
def status() -> None:
    """Show what is due and for how long, the workers, and the bells in Redis.

    The exit code is 1 when something is away: the database, the schema, Redis or a worker.
    """
    ready = ask_health('/readyz?deep=1')
    answer = ready | {'bells': _bells()}
    show(answer, _lines)
    if ready['status'] != 'ok':
        click.get_current_context().exit(1)


def _bells() -> dict[str, int | None]:
    """The jobs that wait in each queue; None where Redis is away."""
    try:
        return {name: len(queues.queue(name)) for name in queues.DRAINS}
    except RedisError:
        return dict.fromkeys(queues.DRAINS)


def _lines(answer: JSONObject) -> Iterator[str]:
    late = answer.get('oldest_due_seconds') or {}
    rows = [
        {
            'work': job.kind,
            'queue': job.queue,
            'due_for': late.get(job.kind) and f'{late[job.kind]:.1f} s',
            'bells': answer['bells'][job.queue],
        }
        for job in JOBS
    ]
    yield from table(rows, 'work', 'queue', 'due_for', 'bells')
    if processes := answer.get('processes'):
        yield ''
        named = [{'process': kind, **found} for kind, found in processes.items()]
        yield from table(named, 'process', 'alive', 'seen_seconds_ago')
    for name in answer['away']:
        yield f'away: {name} {answer.get("reasons", {}).get(name, "")}'.rstrip()
