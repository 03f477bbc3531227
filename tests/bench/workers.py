"""One, two and four send workers: where the ceiling lies."""

from . import report, send
from .stand import Stand

PER_WORKER = 1500


def run(options):
    report.title('sending with one, two and four workers, Graph at 200 ms, 64 calls in flight each')
    rows, alone = [], None
    for count in (1, 2, 4):
        row = several(count)
        alone = alone or row['messages/s']
        rows.append((count, *(row[name] for name in send.COLUMNS), row['messages/s'] / alone, row['cores']))
    report.table(('workers', *send.COLUMNS, 'of one', 'cores busy'), rows)


def several(count):
    """CPU in ms a message, over all workers."""
    with Stand(send.LATENCY, **send.ENVIRON | {'SEND_RATE': '100000'}) as stand:
        send.start(stand, count)
        stand.empty()
        send.queue(stand, PER_WORKER * count)
        everyone = Crew(stand)
        row = send.steady(stand, {'process': everyone, **stand.servers()}, PER_WORKER * count)
        send.exactly_once(stand, PER_WORKER * count)
    return row | {'cores': (row['all ms'] + row['graph ms']) * row['messages/s'] / 1000}


class Crew:
    """All send workers as one Tree."""

    def __init__(self, stand):
        self.trees = [send.Tree(child.pid) for child in stand.processes.running('worker_send')]

    def cpu(self):
        return sum(tree.cpu() for tree in self.trees)
