"""One, two and four send workers: where the ceiling lies."""

from . import report, send
from .stand import Stand

PER_WORKER = 1500


def run(options):
    report.title(
        'sending with one, two and four workers, Graph at 200 ms; and with more calls in flight'
    )
    rows, alone = [], None
    for count, calls in ((1, 64), (2, 64), (4, 64), (1, 256), (2, 256)):
        row = several(count, calls)
        alone = alone or row['messages/s']
        rows.append(
            (
                f'{count} x {calls}',
                *(row[name] for name in send.COLUMNS),
                row['messages/s'] / alone,
                row['cores'],
            )
        )
    report.table(('workers x calls', *send.COLUMNS, 'of one', 'cores busy'), rows)


def several(count, calls):
    """CPU in ms a message, over all workers."""
    messages = PER_WORKER * count * calls // 64
    with Stand(
        send.LATENCY, **send.ENVIRON | {'SEND_RATE': '100000', 'SEND_CONCURRENCY': str(calls)}
    ) as stand:
        send.start(stand, count)
        stand.empty()
        send.queue(stand, messages)
        everyone = Crew(stand)
        row = send.steady(stand, {'process': everyone, **stand.servers()}, messages)
        send.exactly_once(stand, messages)
    return row | {'cores': (row['all ms'] + row['graph ms']) * row['messages/s'] / 1000}


class Crew:
    """All send workers as one Tree."""

    def __init__(self, stand):
        self.trees = [send.Tree(child.pid) for child in stand.processes.running('worker_send')]

    def cpu(self):
        return sum(tree.cpu() for tree in self.trees)
