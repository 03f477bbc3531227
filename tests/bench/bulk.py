"""(d) A bulk of 10,000: how long the answer takes, and how much memory the web process needs for
it.
"""

import json
import time
from http.client import HTTPConnection
from urllib.parse import urlencode

from . import report
from .meter import MIB, Watch, machine
from .stand import CHATBOT, Stand

COUNT = 10_000
WARM_UP = json.dumps(
    {'chatbot_id': CHATBOT, 'message': {'text': {'body': 'Hi'}}, 'recipients': ['+12025550143']}
)
LONG = 'All the news of this week, for you. ' * 100  # 3,600 of 4,096 characters


def run(options):
    with Stand(WEB_CONCURRENCY='1') as stand:
        report.title(
            f'(d) bulk: {COUNT:,} recipients in one request, one web process, durable PostgreSQL'
        )
        report.note(machine(stand))
        rows = []
        for title, path, kind, body in requests():
            for people in ('new', 'known'):
                rows.append(
                    (f'{title}, {people} people', *measured(stand, path, kind, body, people))
                )
        heads = ('the answer', 'seconds', 'web CPU s', 'postgres CPU s', 'MiB more at the peak')
        report.table(heads, rows)
        report.note('goal: within 3 s, less than 100 MiB')


def requests():
    """(title, path, content type, body) of each form; every recipient has a number and parameters
    of his own.
    """
    people = [
        (f'+1202{number:07}', f'name {number}', f'order-{number}')
        for number in range(2_000_000, 2_000_000 + COUNT)
    ]
    json_rows = [
        {'to': to, 'parameters': {'name': name}, 'client_reference': order}
        for to, name, order in people
    ]
    csv = '\r\n'.join(['to,name,client_reference', *(','.join(row) for row in people)]).encode()
    for title, text in (
        ('a short text', 'Hello {{name}}'),
        ('a text of 3,600', 'Hello {{name}}! ' + LONG),
    ):
        order = {'chatbot_id': CHATBOT, 'message': {'text': {'body': text}}}
        body = json.dumps(order | {'recipients': json_rows}).encode()
        yield f'JSON, {title}', '/send/bulk', 'application/json', body
        query = urlencode({'chatbot_id': CHATBOT, 'text': text})
        yield f'CSV, {title}', f'/send/bulk?{query}', 'text/csv', csv
    wide = '\r\n'.join(
        [
            'to,name,client_reference',
            *(f'{to},{name * 80:.780},{order}' for to, name, order in people),
        ]
    )
    query = urlencode({'chatbot_id': CHATBOT, 'text': 'Hello {{name}}'})
    yield f'CSV of {len(wide) / MIB:.1f} MiB', f'/send/bulk?{query}', 'text/csv', wide.encode()


def measured(stand, path, kind, body, people):
    web = stand.entry(
        'web', port=stand.web_port
    )  # a fresh one: memory that was needed once stays with the process
    trees = {'web': web, 'postgres': stand.servers()['postgres']}
    post(stand, '/send/bulk', 'application/json', WARM_UP)
    if people == 'new':
        stand.empty()
    before = memory(trees['web'], 'VmRSS')
    watch = Watch(trees)
    watch.start()
    began = time.monotonic()
    answer = post(stand, path, kind, body)
    seconds, span = time.monotonic() - began, watch.stop()
    if answer['accepted'] != COUNT:
        raise RuntimeError(f'{answer["accepted"]} accepted')
    more = memory(web, 'VmHWM') - before
    stand.processes.stop('web')
    return seconds, span.cpu['web'], span.cpu['postgres'], more


def post(stand, path, kind, body):
    key = stand.env['API_KEYS'].split(',')[0]
    connection = HTTPConnection('127.0.0.1', stand.web_port, timeout=60)
    headers = {'Authorization': f'Bearer {key}', 'Content-Type': kind}
    connection.request('POST', f'/whatsapp-cloud{path}', body, headers)
    answer = connection.getresponse()
    text = answer.read()
    if answer.status != 202:
        raise RuntimeError(f'{answer.status} {text[:500]}')
    return json.loads(text)


def memory(tree, name):
    """MiB that the processes hold now (VmRSS, and the peak is forgotten), or held at the most since
    then (VmHWM).
    """
    total = 0
    for process in tree.members():
        with open(f'/proc/{process.pid}/status') as lines:
            total += next(
                int(line.split()[1]) * 1024 for line in lines if line.startswith(f'{name}:')
            )
        if name == 'VmRSS':
            with open(f'/proc/{process.pid}/clear_refs', 'w') as file:
                file.write('5')
    return total / MIB
