"""`python -m tests.bench [webhook] [send] [journey] [bulk] [media] [door]`: the figures of
docs/performance.md.

Apart from them: `python -m tests.bench turn [--against PATH] [--rates 5 80 240] [--rest]
[--saturation] [--filled] [--processes 1 2 4] [--thinks 0 2] [--told]`, the whole turn;
`python -m tests.bench faults [--messages 10000] [--faults 100] [--seed N]`, where everything dies;
`python -m tests.bench crashes [--kills 50] [--rate 20] [--seed N]`, where PostgreSQL does;
`python -m tests.bench events`, how soon endpoints are told, and after they were away;
`python -m tests.bench bursts [--seed N]`, where workers do while customers write in bursts;
`python -m tests.bench waiting`, callers of the Graph door;
`python -m tests.bench newcomer`, from `make run` to a green doctor;
`python -m tests.bench retention`, old rows (RETENTION_ROWS=1000000) that go beside webhooks;
`python -m tests.bench dashboard`, a year of messages (MESSAGES=10000000) counted and read;
`python -m tests.bench metrics`, what counting and a scrape cost;
`python -m tests.bench usage`, what eleven months of 2,000,000 messages cost.
"""

import argparse
import importlib
import time

from . import report

PARTS = ('webhook', 'send', 'journey', 'bulk', 'media', 'door')
APART = (
    'turn',
    'events',
    'faults',
    'crashes',
    'bursts',
    'retention',
    'waiting',
    'newcomer',
    'metrics',
    'dashboard',
    'usage',
)  # they take their time: only when asked for


def main():
    options = arguments()
    began = time.monotonic()
    for part in [part for part in PARTS + APART if part in (options.parts or PARTS)]:
        importlib.import_module(f'.{part}', __package__).run(options)
    report.note(f'\n{time.monotonic() - began:.0f} s in all')


def arguments():
    parser = argparse.ArgumentParser(prog='python -m tests.bench', description=__doc__)
    parser.add_argument(
        'parts',
        nargs='*',
        choices=(*PARTS, *APART, []),
        metavar='part',
        help=f'of {", ".join(PARTS)}; else all; or {" or ".join(APART)}',
    )
    parser.add_argument(
        '--pairs', type=int, default=3, help='runs of ours and of the reference, in turn'
    )
    parser.add_argument(
        '--only',
        action='store_true',
        help='send: of these, without the comparison; turn: the rates alone',
    )
    parser.add_argument(
        '--profile', action='store_true', help='py-spy on our process in its first run'
    )
    parser.add_argument(
        '--messages',
        type=int,
        help='send: messages in one run, 2000; faults: in, and as many out, 10000',
    )
    parser.add_argument(
        '--seed',
        type=int,
        help='faults, crashes, bursts: of what is drawn at random; each run prints it',
    )
    add_of_turn(parser)
    add_of_crashes(parser)
    add_of_send(parser)
    options = parser.parse_args()
    for name in ('rates', 'processes', 'thinks'):
        setattr(options, name, numbers(getattr(options, name)))
    return options


def add_of_turn(parser):
    parser.add_argument(
        '--against', metavar='PATH', help='turn: another checkout, in turn with ours'
    )
    parser.add_argument('--rates', nargs='+', default=[], help='turn: turns a second; 5 80 240')
    parser.add_argument(
        '--rest', type=int, nargs='?', const=20, metavar='SECONDS', help='turn: CPU while idle'
    )
    parser.add_argument(
        '--saturation', action='store_true', help='turn: the highest rate; without any of these all'
    )
    parser.add_argument(
        '--filled',
        type=int,
        nargs='?',
        const=1_000_000,
        metavar='MESSAGES',
        help='turn: also on a database that holds so many messages; 1000000',
    )
    parser.add_argument(
        '--processes', nargs='+', default=[], help='turn: so many of each worker; 1 2 4'
    )
    parser.add_argument(
        '--thinks', nargs='+', default=[], help='turn: seconds that the AI takes; 0 2'
    )
    parser.add_argument(
        '--told', action='store_true', help='turn: also with an endpoint that is told of everything'
    )


def add_of_crashes(parser):
    parser.add_argument('--faults', type=int, default=100, help='faults: how many')
    parser.add_argument('--kills', type=int, default=50, help='crashes: how many')
    parser.add_argument('--rate', type=int, default=20, help='crashes: turns a second')
    parser.add_argument(
        '--forgetful',
        nargs='*',
        choices=('web', 'worker_incoming', 'worker_send', 'clock'),
        metavar='ENTRY',
        help='crashes: these, or all, with synchronous_commit=off: promises must break',
    )


def add_of_send(parser):
    parser.add_argument(
        '--workers', action='store_true', help='send: also one, two and four workers'
    )
    parser.add_argument(
        '--claim', action='store_true', help='send: also the claim among 1,000,000 rows'
    )
    parser.add_argument(
        '--limit', action='store_true', help='send: also three workers held to 80 a second'
    )


def numbers(words):
    """Of `5 80 240` as of `5,80,240`."""
    return [int(one) for one in ','.join(words).split(',') if one]


if __name__ == '__main__':
    main()
