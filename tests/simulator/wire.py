"""What went over the wire, as the phone page opens it: heads and bodies of the last calls, secrets
taken out.
"""

import json
import re
from collections.abc import Iterable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field

from aiohttp import web

KEPT, SHOWN = 1_000_000, 20_000  # bytes of a body, characters of it
OUR_OWN = ('/phone', '/control')
HIDDEN = '(hidden)'
SECRET_HEADER = re.compile(r'(?i)authorization$|cookie|api-?key|token')
SECRET_FIELD = re.compile(r'(?i)token|secret|password|api_?key|appsecret_proof|^pin$|^hash$')
QUERY_VALUE = re.compile(r'([?&])([^=&?]+)=([^&]*)')
TEXT = re.compile(r'(?i)text/|json|urlencoded|xml')


@dataclass(slots=True)
class Side:
    """A request or an answer."""

    line: str
    headers: list[tuple[str, str]] = field(default_factory=list)
    body: bytes | None = b''  # None: not kept
    size: int | None = None


@dataclass(slots=True)
class Exchange:
    request: Side
    answer: Side | None = None  # None: there was none


CURRENT: ContextVar[Exchange | None] = ContextVar('exchange', default=None)


def side(line: str, headers: Mapping[str, str], body: bytes) -> Side:
    return Side(line, list(headers.items()), body if len(body) <= KEPT else None, len(body))


@web.middleware
async def kept(request: web.Request, handler) -> web.StreamResponse:
    """What the handler notes of a call is noted with the call itself; ours are those of the page
    and the control.
    """
    if request.path.startswith(OUR_OWN):
        return await handler(request)
    multipart = request.content_type.startswith(
        'multipart/'
    )  # such a body is read in pieces, and by its handler
    body = None if multipart else await request.read()
    asked = Side(
        f'{request.method} {request.path_qs}',
        list(request.headers.items()),
        body,
        request.content_length,
    )
    exchange = Exchange(asked)
    CURRENT.set(exchange)
    answer = await handler(request)
    if (
        request.transport
        and not request.transport.is_closing()
        and isinstance(answer.body, bytes | None)
    ):
        exchange.answer = side(
            f'{answer.status} {answer.reason}', answer.headers, answer.body or b''
        )
    return answer


def shown(exchange: Exchange) -> dict:
    return {
        'request': as_text(exchange.request),
        'answer': exchange.answer and as_text(exchange.answer),
    }


def as_text(one: Side) -> str:
    head = [QUERY_VALUE.sub(without_secret, one.line), *head_lines(one.headers)]
    return '\n'.join([*head, '', body_text(one)]).rstrip()


def head_lines(headers: Iterable[tuple[str, str]]) -> list[str]:
    return [f'{name}: {HIDDEN if SECRET_HEADER.search(name) else value}' for name, value in headers]


def without_secret(match: re.Match) -> str:
    mark, name, value = match.groups()
    return f'{mark}{name}={HIDDEN if SECRET_FIELD.search(name) else value}'


def body_text(one: Side) -> str:
    kind = next((value for name, value in one.headers if name.lower() == 'content-type'), '')
    if one.body is None or not TEXT.search(kind):
        size = one.size or len(one.body or b'')
        return f'({size:,} bytes of {kind or "no type"})' if size else ''
    text = pretty(one.body)
    return (
        text if len(text) <= SHOWN else f'{text[:SHOWN]}\n({len(text) - SHOWN:,} characters more)'
    )


def pretty(body: bytes) -> str:
    """JSON with its lines and without its secrets, else the text."""
    try:
        return json.dumps(masked(json.loads(body)), indent=2, ensure_ascii=False)
    except (ValueError, RecursionError):
        return body.decode(errors='replace')


def masked(value: object) -> object:
    if isinstance(value, dict):
        return {
            name: HIDDEN if is_secret(name, inner) else masked(inner)
            for name, inner in value.items()
        }
    return [masked(inner) for inner in value] if isinstance(value, list) else value


def is_secret(name: str, value: object) -> bool:
    return isinstance(value, str) and bool(SECRET_FIELD.search(name))
