"""The phone in the browser: the page, its chat so far and what is new, as Server-Sent Events."""

import asyncio
import json
from pathlib import Path

from aiohttp import web

from .simulator import SIMULATOR, Simulator
from .wire import shown

FOLDER = Path(__file__).parent
SCRIPTS = (
    'phone_bubbles.js',
    'phone_interactive.js',
    'phone_chat.js',
    'phone_compose.js',
    'phone_curl.js',
    'phone_desk.js',
    'phone.js',
)
KEEP_ALIVE = 15  # seconds
POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; connect-src "
    "'self'; "
    "img-src 'self' http: https: data: blob:; media-src 'self' http: https: blob:"
)


def page() -> str:
    """One self-contained page out of its files; script and style are ours, no data goes in here."""
    html = (FOLDER / 'phone.html').read_text()
    scripts = '\n'.join((FOLDER / name).read_text() for name in SCRIPTS)
    return html.replace('/* phone.css */', (FOLDER / 'phone.css').read_text()).replace(
        '/* phone.js */', scripts
    )


async def show_page(request: web.Request) -> web.Response:
    headers = {'Content-Security-Policy': POLICY, 'Cache-Control': 'no-store'}
    return web.Response(text=page(), content_type='text/html', headers=headers)


async def to_page(request: web.Request) -> web.Response:
    raise web.HTTPFound('/phone')


def wanted_chat(request: web.Request) -> str:
    return request.query.get('wa_id', '')


async def past(request: web.Request) -> web.Response:
    return web.json_response(everything(request.app[SIMULATOR], wanted_chat(request)))


def everything(simulator: Simulator, chat: str) -> dict:
    """All that the page needs to draw itself again."""
    return {
        'business': business(simulator),
        'user_id': simulator.customers.with_phone(chat).user_id,
        'messages': list(simulator.chats.threads.get(chat, ())),
        'wire': list(simulator.chats.wire),
    }


def business(simulator: Simulator) -> dict:
    flags, config = simulator.flags, simulator.config
    return {
        'display_phone_number': flags.display_phone_number,
        'phone_number_id': flags.phone_number_id,
        'webhook_url': config.webhook_url,
        'gateway_url': config.gateway_url,
        'api_key': config.api_key,
    }


async def events(request: web.Request) -> web.StreamResponse:
    """`past` first, with everything so far; then `message` (new or changed, whole), `typing`,
    `wire`, `reset`.

    In one stream, so that nothing falls between the past and what is new.
    """
    simulator, chat = request.app[SIMULATOR], wanted_chat(request)
    stream = web.StreamResponse(
        headers={'Content-Type': 'text/event-stream', 'Cache-Control': 'no-store'}
    )
    queue: asyncio.Queue = asyncio.Queue()
    watchers = simulator.chats.watchers.setdefault(chat, set())
    watchers.add(queue)
    queue.put_nowait(('past', everything(simulator, chat)))
    try:
        await stream.prepare(request)
        await stream.write(b'retry: 1000\n\n')
        await pour(queue, stream)
    except ConnectionError:
        pass  # the page was closed
    finally:
        watchers.discard(queue)
    return stream


async def pour(queue: asyncio.Queue, stream: web.StreamResponse) -> None:
    while True:
        try:
            event, data = await asyncio.wait_for(queue.get(), KEEP_ALIVE)
        except TimeoutError:
            await stream.write(b': still here\n\n')
        else:
            await stream.write(f'event: {event}\ndata: {json.dumps(data)}\n\n'.encode())


async def exchange(request: web.Request) -> web.Response:
    """What a line of the wire opens to."""
    found = request.app[SIMULATOR].chats.exchanges.get(int(request.match_info['line']))
    if not found:
        raise web.HTTPNotFound
    return web.json_response(shown(found))


async def media(request: web.Request) -> web.Response:
    """A file for the page itself; Meta's own address would ask for a token."""
    file = request.app[SIMULATOR].media.files.get(request.match_info['media_id'])
    if not file:
        raise web.HTTPNotFound
    harmless = {'Content-Security-Policy': 'sandbox', 'X-Content-Type-Options': 'nosniff'}
    return web.Response(body=file.content, headers={'Content-Type': file.mime_type} | harmless)
