"""One JSON object a line on stdout, from every process alike; ids as fields, numbers masked."""

import json
import logging
import re
import sys
import threading
import time
from contextvars import ContextVar
from functools import lru_cache
from types import TracebackType
from typing import TextIO

from service.runtime.config import settings

log = logging.getLogger(__name__)

STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {'message', 'asctime', 'taskName'}
# What may be somebody's number, or hold it: a wamid, a number as people write it, and digits that
# are no part of a UUID or of a digest.
NUMBER = re.compile(
    r"""
    wamid\.[^\s"',;()]+
    | \+[0-9][0-9 ()./-]{5,18}[0-9]
    | (?<![0-9a-fA-F])(?<![0-9a-fA-F]{4}-)\+?[0-9]{7,}(?![0-9a-fA-F]|-[0-9a-fA-F]{4}-)
    """,
    re.VERBOSE,
)
MAYBE = re.compile('[0-9][0-9 ()./-]{5,}[0-9]')  # seen at a tenth of the cost, and in few texts
# Fields whose digits stay: ids of rows and of Meta's things, and which process holds a lock. All
# others may quote what somebody else wrote.
ID_SUFFIXES = ('_id', '_ids')
IDS = frozenset(('row', 'path', 'template_name', 'held_by'))
HAS_NO_TEXT = frozenset((int, float, bool, type(None)))

ExcInfo = tuple[type[BaseException], BaseException, TracebackType | None] | tuple[None, None, None]

request_id: ContextVar[str | None] = ContextVar(
    'request_id', default=None
)  # set while a request is served


def mask(number: str | None) -> str | None:
    """A phone number or user id with its middle hidden, and of a wamid only the end.

    A wamid holds the phone number.
    """
    if not number:
        return None
    if number.startswith('wamid.'):
        return f'wamid…{number[-10:]}'
    return f'{number[:3]}…{number[-2:]}'


def mask_numbers(text: str) -> str:
    """A text with the numbers in it masked."""
    if MAYBE.search(text) or 'wamid.' in text:
        return NUMBER.sub(lambda found: mask(found[0]) or '', text)
    return text


@lru_cache(1000)
def _is_id(name: str) -> bool:
    return name in IDS or name.endswith(ID_SUFFIXES)


def _masked(value: object) -> object:
    """The value of a field, with the numbers in its texts masked."""
    if isinstance(value, str):
        return mask_numbers(value)
    if isinstance(value, dict):
        return {name: one if _is_id(name) else _masked(one) for name, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [_masked(one) for one in value]
    return value


def _as_text(value: object) -> str:
    """What JSON does not know; an exception, say, whose text holds a number."""
    return mask_numbers(str(value))


ENCODER = json.JSONEncoder(default=_as_text)  # json.dumps would make one for each line


class Formatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, object] = {
            'time': time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(record.created))
            + f'.{int(record.msecs):03d}Z',
            'level': record.levelname,
            'logger': record.name,
            'message': mask_numbers(record.getMessage()),
        }
        if request := request_id.get():
            line['request_id'] = request
        for name, value in vars(record).items():
            if name not in STANDARD:
                is_whole = type(value) in HAS_NO_TEXT or _is_id(name)
                line[name] = value if is_whole else _masked(value)
        if record.exc_info:
            line['exception'] = self.formatException(record.exc_info)
        return ENCODER.encode(line)

    # one line of JSON, not text
    def formatException(self, exc_info: ExcInfo) -> list[str]:  # type: ignore[override]
        """Its type and where it happened, not its text, which may quote a message or a number."""
        kind, error, trace = exc_info
        if kind is None:
            return []
        frames: list[str] = []
        while trace:
            code = trace.tb_frame.f_code
            frames.append(f'{code.co_filename}:{trace.tb_lineno} {code.co_name}')
            trace = trace.tb_next
        sqlstate = getattr(getattr(error, 'orig', error), 'pgcode', None)
        return [
            f'{kind.__module__}.{kind.__qualname__}' + (f' {sqlstate}' if sqlstate else ''),
            *frames[-8:],
        ]


def on_thread_failure(failed: threading.ExceptHookArgs) -> None:
    """Log what ends a thread. Python's own hook writes the exception's text to stderr."""
    if failed.exc_value is not None:
        exc_info = (failed.exc_type, failed.exc_value, failed.exc_traceback)
        log.error('a thread failed', exc_info=exc_info)


def configure(stream: TextIO | None = None, least: int = logging.NOTSET) -> None:
    """Send everything to stdout, also what gunicorn, RQ and werkzeug have to say.

    To another `stream` a command does, and only what is of the `least` level.
    """
    handler = logging.StreamHandler(stream or sys.stdout)
    handler.setLevel(least)
    handler.setFormatter(Formatter())
    logging.root.handlers[:] = [handler]
    logging.root.setLevel(settings.LOG_LEVEL)
    for noisy in ('rq', 'rq.worker', 'rq.queue', 'werkzeug', 'urllib3', 'peewee', 'peewee.pool'):
        logging.getLogger(noisy).setLevel(max(logging.WARNING, logging.root.level))
