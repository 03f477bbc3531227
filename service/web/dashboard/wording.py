"""How the dashboard says values: numbers, times, durations, rates, and the tone of a state."""

from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import Any

from markupsafe import Markup

from service.runtime.timestamps import from_rfc3339, to_rfc3339

NONE = '–'
UNITS = ((86400, 'd'), (3600, 'h'), (60, 'min'))
GOOD = (
    'accepted active approved completed connected delivered done green high ok played processed '
    'read received sent stored'
)
WARN = (
    'away expired held in_appeal inactive limited medium orphan paused pending quarantined unknown '
    'waiting warn yellow'
)
BAD = 'disabled fail failed flagged invalid low red refused rejected restricted'
TONES = {'good': GOOD, 'warn': WARN, 'bad': BAD}
TONE_OF = {state: tone for tone, states in TONES.items() for state in states.split()}


def number(value: float | None) -> str:
    """1234567 as 1,234,567."""
    return NONE if value is None else f'{value:,}'


def money(value: float | None, currency: str | None = None) -> str:
    return NONE if value is None else f'{value:,.2f} {currency or ""}'.rstrip()


def percent(part: float | None, whole: float | None) -> str:
    """How much of a whole; two digits below ten, so that few failures are seen."""
    if not whole or part is None:
        return NONE
    share = 100 * part / whole
    return f'{share:.1f} %' if 0 < share < 10 or 99 < share < 100 else f'{share:.0f} %'


def duration(seconds: float | None) -> str:
    """A time span in its two largest units."""
    if seconds is None:
        return NONE
    # What would be rounded up to 1000 ms or 60 s is said in the next unit.
    if seconds < 0.9995:
        return f'{seconds * 1000:.0f} ms'
    if seconds < 59.5:
        return f'{seconds:.1f} s' if seconds < 9.95 else f'{seconds:.0f} s'
    seconds = max(seconds, 60)
    for at, (size, unit) in enumerate(UNITS):
        if seconds >= size:
            rest_size, rest_unit = UNITS[at + 1] if at + 1 < len(UNITS) else (1, 's')
            rest = int(seconds % size // rest_size)
            return f'{int(seconds // size)} {unit}' + (f' {rest} {rest_unit}' if rest else '')
    return NONE


def moment(value: datetime | str | None) -> Markup:
    """A time as an element that a script turns into the reader's own zone; here it is UTC."""
    at = from_rfc3339(value) if isinstance(value, str) else value
    if at is None:
        return Markup(NONE)
    at = at.astimezone(UTC)
    shown = at.strftime('%d %b %H:%M' if _is_recent(at) else '%d %b %Y %H:%M').lstrip('0')
    text = Markup('<time datetime="{}" title="{} UTC">{}</time>')
    return text.format(to_rfc3339(at), at.strftime('%Y-%m-%d %H:%M:%S'), shown)


def _is_recent(at: datetime) -> bool:
    return abs((datetime.now(UTC) - at).days) < 180


def tone(state: object) -> str:
    """How a state is to be seen: good, warn, bad, or quiet."""
    return TONE_OF.get(str(state).lower(), 'quiet')


def words(name: object) -> str:
    """A name of the API as words: `in_appeal` as `in appeal`."""
    return NONE if name is None else str(name).replace('_', ' ').lower()


def choices(states: Iterable[str]) -> list[tuple[str | None, str]]:
    """All, or one of these states: (value, label) of each."""
    return [(None, 'All'), *((state, words(state).capitalize()) for state in states)]


FILTERS: dict[str, Callable[..., Any]] = {
    'number': number,
    'money': money,
    'percent': percent,
    'duration': duration,
    'moment': moment,
    'tone': tone,
    'words': words,
    'choices': choices,
}
