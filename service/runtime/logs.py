"""One JSON object a line on stdout, from every process alike; ids as fields, numbers masked."""

import json
import logging
import re
import sys
import time
from contextvars import ContextVar
from types import TracebackType
from typing import TextIO

from service.runtime.config import settings

STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {'message', 'asctime', 'taskName'}
NUMBER = re.compile(r'(?<![0-9a-fA-F-])\+?[0-9]{7,15}(?![0-9a-fA-F-])')

ENCODER = json.JSONEncoder(default=str)  # json.dumps would make one for each line

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


class Formatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, object] = {
            'time': time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(record.created))
            + f'.{int(record.msecs):03d}Z',
            'level': record.levelname,
            'logger': record.name,
            'message': NUMBER.sub(lambda found: mask(found[0]) or '', record.getMessage()),
        }
        if request := request_id.get():
            line['request_id'] = request
        line.update((name, value) for name, value in vars(record).items() if name not in STANDARD)
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
