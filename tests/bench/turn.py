"""(h) The whole turn: a customer's webhook, the AI, the answer's Graph call, its three statuses.

All processes of the Procfile are real, PostgreSQL durable, the load open: customers write at a
rate, whether or not the gateway keeps up. Sides are measured in turn, each on servers of its own:

- `--against PATH`: another checkout beside ours;
- `--filled [MESSAGES]`: of each checkout a second side, whose database is not young;
- `--processes 1 2 4`: of each a side with so many processes of each worker;
- `--thinks 0 2`: of each a side whose AI takes so many seconds;
- `--told`: of each a second side, with an endpoint that is told of everything.
"""

import contextlib
import statistics
from functools import partial
from itertools import combinations, product

from tests.stack import ROOT

from . import report
from .meter import machine
from .turn_side import ALL, SLOW_MS, Side

RATES = (5, 80, 240)  # turns a second
REST_SECONDS = 20
COLUMNS = {
    'CPU ms': 'all',
    'web': 'web',
    'incoming': 'worker_incoming',
    'send': 'worker_send',
    'clock': 'clock',
    'PostgreSQL': 'postgres',
    'Redis': 'redis',
    'load': 'load',
    'foreign': 'foreign',
    'statements': 'statements',
    'commits': 'commits',
    'fsyncs': 'fsyncs',
    'WAL kB': 'wal_kb',
    'p50 ms': 'p50',
    'p99 ms': 'p99',
    'PSS MiB': 'memory',
    'of incoming': 'incoming_memory',
    'asks at once': 'asks',
}


def run(options):
    is_all = not (options.rates or options.rest or options.saturation or options.only)
    rates = options.rates or (RATES if is_all or options.only else ())
    rest = options.rest or (REST_SECONDS if is_all else 0)
    with contextlib.ExitStack() as stack:
        sides = [stack.enter_context(side) for side in sides_of(options)]
        report.title('(h) a turn: message, AI, answer, three statuses')
        report.note(machine(sides[0].stand))
        for rate in rates:
            show_rate(rate, in_turn(sides, options.pairs, partial(Side.measure, rate=rate)))
        if rest:
            show_rest(in_turn(sides, options.pairs, partial(Side.rest, seconds=rest)))
        if options.saturation or is_all:
            show_saturation(in_turn(sides, options.pairs, Side.saturation))


def sides_of(options):
    """Each checkout, young and filled, with each number of processes."""
    checkouts = {'ours': ROOT} | ({'theirs': options.against} if options.against else {})
    fillings = (0, options.filled) if options.filled else (0,)
    counts, seconds = options.processes or (1,), options.thinks or (0,)
    tells = (False, True) if options.told else (False,)
    sides = product(checkouts, fillings, counts, seconds, tells)
    for name, filled, workers, thinks, told in sides:
        words = [name, 'filled' if filled else 'young'] if options.filled else [name]
        words += [f'x{workers}'] if options.processes else []
        words += [f'{thinks}s'] if options.thinks else []
        words += ['told' if told else 'silent'] if options.told else []
        yield Side(' '.join(words), checkouts[name], filled, workers, thinks, told)


def in_turn(sides, pairs, measure):
    """{side's name: [what was measured, once in each pair]}."""
    measured = {side.name: [] for side in sides}
    for pair in range(pairs):
        for side in sides if pair % 2 == 0 else reversed(sides):
            measured[side.name].append(measure(side))
    return measured


def show_rate(rate, measured):
    report.title(f'{rate} turns a second: CPU ms a turn, medians')
    show(measured, COLUMNS)
    late = [name for name, runs in measured.items() if any(one['late'] for one in runs)]
    if late:
        report.note(f'refused, or not all answered: {", ".join(late)}')
    tell_ratios(measured, 'all')


def show_rest(measured):
    report.title('at rest: per cent of a core, medians')
    show(measured, {name: name for name in (*ALL, 'all', 'others')})
    tell_ratios(measured, 'all')


def show_saturation(measured):
    report.title(f'saturation: turns a second with p50 under {SLOW_MS} ms')
    show(measured, {'median': 'rate', 'foreign': 'foreign'})
    for name, runs in measured.items():
        report.note(f'{name}: {" ".join(str(one["rate"]) for one in runs)}')
        report.note(f'  backends at the rate that is too much: {runs[-1]["waits"]}')
    tell_ratios(measured, 'rate')


def show(measured, columns):
    """A line a side; `columns`: {head: what of a run}."""
    rows = [
        (side, *(median(runs, one) for one in columns.values())) for side, runs in measured.items()
    ]
    report.table(('', *columns), rows)


def tell_ratios(measured, name):
    """Of sides that differ in one thing alone: checkout, filling or number of processes."""
    for one, other in combinations(measured, 2):
        differ = [a != b for a, b in zip(one.split(), other.split(), strict=True)]
        if sum(differ) == 1:
            a, b = (one, other) if differ[0] else (other, one)
            report.note(f'{a} / {b}: {report.ratios(measured[a], measured[b], name)}')


def median(runs, name):
    values = [run[name] for run in runs if run[name] is not None]
    return statistics.median(values) if values else None
