"""Signed POSTs to the gateway, repeated like Meta does when they are not answered with 200."""

import asyncio
import time
from collections import deque
from collections.abc import Callable

from aiohttp import ClientError, ClientSession, ClientTimeout, TCPConnector

from .chats import Chats
from .envelopes import encode, signature
from .wire import Exchange, side

BACKOFF = (0.2, 0.5, 1.0)  # then every 2 s
GIVE_UP_AFTER = 60  # seconds; Meta goes on for 7 days
CONNECTIONS = 64
TIMEOUT = ClientTimeout(total=None, sock_connect=5, sock_read=15)
HEADERS = {'Content-Type': 'application/json', 'User-Agent': 'facebookexternalua'}

Told = Callable[[int | None], None]


class Webhook:
    def __init__(self, chats: Chats) -> None:
        self.chats = chats
        self.session: ClientSession | None = None
        self.tasks: set[asyncio.Task] = set()
        self.forget()

    def forget(self) -> None:
        """Drops what is still on its way, and the counters."""
        for task in self.tasks:
            task.cancel()
        self.posts = self.undelivered = 0
        self.failures: deque = deque(maxlen=100)

    async def open(self) -> None:
        self.session = ClientSession(
            connector=TCPConnector(limit=CONNECTIONS),
            timeout=TIMEOUT,
            headers=HEADERS,
            auto_decompress=False,
        )

    async def post(
        self, raw: bytes, url: str, app_secret: str, what: str, headers: dict | None = None
    ) -> int | None:
        """One attempt: the gateway's HTTP status, or None when there was no answer."""
        self.posts += 1
        signed = {'X-Hub-Signature-256': signature(raw, app_secret)} if headers is None else headers
        status, detail = None, ''
        exchange = Exchange(side(f'POST {url}', HEADERS | signed, raw))
        try:
            async with self.session.post(
                url, data=raw, headers=signed, allow_redirects=False
            ) as answer:
                status = answer.status
                said = await answer.read()  # else the connection cannot be used again
                exchange.answer = side(f'{answer.status} {answer.reason}', answer.headers, said)
        except (ClientError, TimeoutError, OSError, ValueError) as error:
            detail = type(error).__name__
        self.chats.note('to_gateway', what, status or 'no answer', detail, exchange)
        return status

    async def deliver(
        self, body: object, target: tuple[str, str], what: str, items: int, told: Told
    ) -> None:
        """Until 200, or for a minute; `told` hears of each attempt."""
        raw = encode(body)
        status = await self.post(raw, *target, what)
        told(status)
        if status != 200:
            await self.insist(raw, target, what, items, told)

    async def insist(
        self, raw: bytes, target: tuple[str, str], what: str, items: int, told: Told
    ) -> None:
        """The attempts after a first one that failed."""
        started, tries, status = time.monotonic(), 0, None
        while status != 200 and time.monotonic() - started < GIVE_UP_AFTER:
            await asyncio.sleep(BACKOFF[tries] if tries < len(BACKOFF) else 2.0)
            tries += 1
            status = await self.post(raw, *target, f'{what} (retry {tries})')
            told(status)
        if status != 200:
            self.undelivered += items
            self.failures.append(
                {
                    'at': time.time(),
                    'what': what,
                    'items': items,
                    'url': target[0],
                    'status': status,
                }
            )

    def spawn(self, work) -> asyncio.Task:
        """A task that is neither lost to the garbage collector nor to a reset."""
        task = asyncio.create_task(work)
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)
        return task
