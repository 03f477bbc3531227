"""Plain tables."""

import statistics


def title(text):
    print(f'\n{text}\n{"=" * len(text)}', flush=True)


def note(text):
    print(text, flush=True)


def table(heads, rows):
    """`rows`: lists as long as `heads`; floats are rounded to what can be told apart."""
    cells = [list(heads), *([show(value) for value in row] for row in rows)]
    widths = [max(len(row[i]) for row in cells) for i in range(len(heads))]
    for number, row in enumerate(cells):
        first, *others = (
            cell.ljust(width) if i == 0 else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        print('  '.join([first, *others]))
        if number == 0:
            print('  '.join('-' * width for width in widths))
    print(flush=True)


def show(value):
    if isinstance(value, float):
        return f'{value:.0f}' if value >= 100 else f'{value:.1f}' if value >= 10 else f'{value:.2f}'
    return '' if value is None else str(value)


def medians(rows, names):
    """The median of each named column over rows that are dicts."""
    return {name: statistics.median(row[name] for row in rows) for name in names}


def ratios(ours, theirs, name):
    """Pair by pair ours / theirs and their median: '1.10 (1.05 1.10 1.21)'."""
    pairs = [a[name] / b[name] for a, b in zip(ours, theirs, strict=True)]
    return f'{statistics.median(pairs):.2f}  ({" ".join(f"{pair:.2f}" for pair in pairs)})'


def compare(ours, theirs, goals):
    """`goals`: (column, what it says, goal). One line a ratio."""
    table(
        ('ratio, ours / bare', 'median (pair by pair)', 'goal'),
        [(says, ratios(ours, theirs, name), goal) for name, says, goal in goals],
    )
