"""What docs/events.md says is so: its services are run as they stand there, its figures are the
code's.
"""

import os
import re
import shutil
import subprocess
import sys
import warnings
from contextlib import contextmanager

import pytest

from service.events import delivery_outcome, endpoint, endpoint_client, event_retention, redelivery
from service.events.event_types import TYPES
from service.web import endpoint_schemas, events
from tests.listeners import SECRET
from tests.people import Customers, sql
from tests.stack import ROOT, free_port, port_open, wait_until

PAGE = (ROOT / 'docs' / 'events.md').read_text()
SCHEMA = (ROOT / 'schema.sql').read_text()
RUN = {'python': ([sys.executable], 'hook.py'), 'js': (['node'], 'hook.mjs')}


@contextmanager
def service(language, directory):
    """The page's example, running: its address, and what it has written so far."""
    command, name = RUN[language]
    if not shutil.which(command[0]):
        warnings.warn(
            f'NOT TRIED, there is no {command[0]}: the example of docs/events.md', stacklevel=1
        )
        pytest.skip(f'there is no {command[0]} here')
    (example,) = re.findall(rf'```{language}\n(.*?)```', PAGE, re.DOTALL)
    (directory / name).write_text(example)
    port = free_port()
    environ = os.environ | {'EVENTS_SECRET': SECRET, 'PORT': str(port)}
    written = directory / 'written'
    with (
        written.open('w') as log,
        subprocess.Popen(
            [*command, directory / name], env=environ, stdout=log, stderr=subprocess.DEVNULL
        ) as process,
    ):
        try:
            wait_until(lambda: port_open(port), 20)
            yield f'http://127.0.0.1:{port}/hook', written.read_text
        finally:
            process.kill()


@pytest.mark.parametrize('language', RUN)
def test_the_example_hears_who_signs_with_its_secret_and_nobody_else(
    backend, meta, workers, tmp_path, language
):
    backend.account(responder={'kind': 'none'})
    with service(language, tmp_path) as (url, written):
        body = {'url': url, 'secret': SECRET, 'types': ['message.received']}
        known = backend.post('/endpoints', body).json['id']
        backend.post(f'/endpoints/{known}/rotate-secret')  # its service does not know that one yet
        stranger = backend.post('/endpoints', {'url': url}).json['id']
        Customers(meta, workers).write('Olá 🎉')
        workers.events()
        wait_until(lambda: 'message.received' in written())
        ((event_id,),) = sql("SELECT id FROM event WHERE type = 'message.received'")
        assert written() == f'message.received {event_id}\n'
        assert backend.post(f'/endpoints/{known}/test').json['status'] == 204
        assert backend.post(f'/endpoints/{stranger}/test').json['status'] == 401
        found = {
            (one['status'], one['response_status'])
            for one in backend.get(f'/events/{event_id}').json['deliveries']
        }
        assert found == {('delivered', 204), ('waiting', 401)}


def test_each_type_is_explained_and_may_be_asked_for():
    table = PAGE.partition('## Types')[2].partition('\n\n```')[0]
    rows = [line.split('|')[1] for line in table.splitlines() if line.startswith('| `')]
    assert re.findall(r'`([a-z._]+)`', ' '.join(rows)) == list(TYPES)


def test_each_type_that_a_trigger_writes_is_known():
    section = SCHEMA.partition('-- version 11')[2]
    family = 'message|media|conversation|reply|contact|template|account|batch'
    written = set(re.findall(rf"'((?:{family})\.[a-z_]+)'", section))
    assert len(written) > 14
    assert written <= set(TYPES)
    assert "'media.' || NEW.status" in section


def seconds_of(text):
    number, unit = text.split()
    return int(number) * {'s': 1, 'min': 60, 'h': 3600}[unit]


def test_the_figures_are_those_of_the_code():
    told = re.search(r'come again after (.*?), each with up to (\d+) % more', PAGE)
    delays = tuple(map(seconds_of, re.split(', | and ', told[1])))
    assert delays == delivery_outcome.DELAYS
    assert int(told[2]) == 100 * delivery_outcome.JITTER
    assert f'within {endpoint_client.SECONDS} s' in PAGE
    assert f'at most {endpoint_client.MAX_ANSWER // 1024} kB are read' in PAGE
    assert f'at most {endpoint.MAX_ENDPOINTS} endpoints' in PAGE
    assert f'more than {redelivery.MAX_REPLAYED:,} are 409' in PAGE
    assert f'kept for {event_retention.KEPT.days} days' in PAGE
    sizes = endpoint_schemas.SECRET_SIZES
    assert f'base64 of {sizes[0]} to {sizes[-1]} bytes' in PAGE
    assert f'(0 to {events.MAX_WAIT} seconds)' in PAGE
    assert f'at most {events.MAX_WAITERS} callers wait' in PAGE
