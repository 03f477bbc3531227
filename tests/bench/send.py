"""(b) Sending: one `worker_send` against a bare loop of requests on as many threads, Graph at 200
ms.
"""

import time

from tests.stack import PHONE_NUMBER_ID, wait_until

from . import claim, limit, report, workers
from .bare_requests import THREADS
from .meter import Tree, Watch, machine
from .profile import profiled
from .stand import CHATBOT, Stand

LATENCY, MESSAGES = 0.2, 2000
ENVIRON = {'SEND_CONCURRENCY': str(THREADS), 'SEND_RATE': '1000'}
COLUMNS = ('messages/s', 'process ms', 'postgres ms', 'redis ms', 'all ms', 'graph ms')
GOALS = (
    ('messages/s', 'messages a second', 'at least 0.9; step 2: 1.0'),
    ('process ms', 'CPU of the process a message', 'at most 1.3'),
    ('all ms', 'the same with PostgreSQL and Redis', 'step 2: at most 0.8'),
)

QUEUE = """
WITH person AS (
  INSERT INTO conversation (id, chatbot_id, wa_id)
  SELECT uuidv7(), %(chatbot)s, '1202' || lpad(n::text, 7, '0') FROM generate_series(1, %(count)s) n
  RETURNING id, wa_id)
INSERT INTO message (id, chatbot_id, conversation_id, direction, phone_number_id, type, status,
  recipient_to, content,
  due_at)
SELECT uuidv7(), %(chatbot)s, id, 'outbound', %(number)s, 'text', 'queued', '+' || wa_id,
  json_build_object('body', 'Hello ' || wa_id || ', your order is on its way.'), now() FROM person
"""


def run(options):
    if not options.only:
        compare(options)
    for wanted, module in (
        (options.workers, workers),
        (options.claim, claim),
        (options.limit, limit),
    ):
        if wanted:
            module.run(options)


def compare(options):
    messages = options.messages or MESSAGES
    with Stand(LATENCY, **ENVIRON) as stand:
        report.title(
            f'(b) sending: one worker_send against bare requests, {THREADS} threads, Graph at '
            '200 ms'
        )
        report.note(machine(stand))
        worker = start(stand)
        rows = {name: [] for name in ('ours', 'requests')}
        for number in range(options.pairs):
            with profiled(options.profile and number == 0, worker, 'worker_send'):
                rows['ours'].append(ours(stand, worker, messages))
            rows['requests'].append(bare(stand, 'requests', messages))
        rows['urllib3 pool'] = [bare(stand, 'urllib3', messages)]
        show(rows, worker)


def start(stand, count=1):
    """The send worker (the first, of several) and the clock that wakes it."""
    trees = [stand.entry('worker_send') for _ in range(count)]
    for family in range(1, count + 1):
        stand.wait_log('worker_send', '"started"', family)
    stand.entry('clock')
    return trees[0]


def ours(stand, worker, count):
    """Queue `count` messages to distinct people and see them leave; the figures."""
    stand.empty()
    stand.graph.reset()
    queue(stand, count)
    row = steady(stand, {'process': worker, **stand.servers()}, count)
    wait_until(
        lambda: accepted(stand) == count,
        30,
        message=lambda: f'{accepted(stand)} of {count} accepted',
    )
    exactly_once(stand, count)
    return row


def queue(stand, count, chatbot=CHATBOT, number=PHONE_NUMBER_ID):
    stand.sql(QUEUE, {'chatbot': chatbot, 'number': number, 'count': count})
    stand.sql('ANALYZE message, conversation')


def accepted(stand):
    return stand.sql("SELECT count(*) FROM message WHERE status = 'accepted'")[0][0]


def bare(stand, engine, count):
    stand.graph.reset()
    url = f'{stand.env["GRAPH_API_URL"]}/v26.0/{PHONE_NUMBER_ID}/messages'
    tree = stand.entry(
        engine, command=f'python -m tests.bench.bare_requests {engine} {url} {count}'
    )
    row = steady(stand, {'process': tree}, count)
    exactly_once(stand, count)
    return row


def steady(stand, trees, count):
    """Figures between the first fifth and the last tenth of `count` calls; returns when all have
    arrived.
    """
    watch = Watch({**trees, 'graph': Tree(stand.processes.children['graph'][0].pid)})
    first = reached(stand, count // 5)
    watch.start()
    last = reached(stand, count * 9 // 10)
    span = watch.stop()
    reached(stand, count)
    cost = {f'{name} ms': span.per(name, last - first) for name in span.cpu}
    whole = sum(value for name, value in cost.items() if name != 'graph ms')
    return {
        'messages/s': (last - first) / span.seconds,
        'postgres ms': 0,
        'redis ms': 0,
        **cost,
        'all ms': whole,
    }


def reached(stand, count):
    """How many calls there are when there are `count`; raises when they stop coming."""
    seen, since = -1, time.monotonic()
    while (now := stand.graph.count()) < count:
        if now != seen:
            seen, since = now, time.monotonic()
        elif time.monotonic() - since > 20:
            raise RuntimeError(
                f'{now} of {count} calls, then none for 20 '
                f's:\n{stand.processes.logs("worker_send")[-2000:]}'
            )
        time.sleep(0.02)
    return now


def exactly_once(stand, count):
    for number, seen in stand.graph.report().items():
        if seen['calls'] != count or seen['distinct'] != count:
            raise RuntimeError(
                f'{seen["calls"]} calls with {seen["distinct"]} ids for {count} messages of '
                f'{number}'
            )


def show(rows, worker):
    compared = ('ours', 'requests')
    runs = [
        (f'{name} {i + 1}', *(row[c] for c in COLUMNS))
        for name in compared
        for i, row in enumerate(rows[name])
    ]
    middle = [
        (f'{name}, median', *report.medians(found, COLUMNS).values())
        for name, found in rows.items()
    ]
    report.table(('CPU in ms a message', *COLUMNS), runs + middle)
    report.compare(rows['ours'], rows['requests'], GOALS)
    rss, pss = worker.memory()
    report.note(
        f'worker_send: RSS {rss:.0f} MiB, PSS {pss:.0f} MiB. Each message arrived exactly once.'
    )
