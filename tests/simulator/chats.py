"""What the phone page shows: one thread of messages per customer, the calls on the wire, and who
watches them.
"""

import asyncio
import time
from collections import deque
from dataclasses import dataclass, replace
from itertools import count

from .envelopes import user_id_of
from .wa_ids import wa_id
from .wire import CURRENT, Exchange

THREADS, THREAD_LENGTH, WIRE_LENGTH, QUEUE_LENGTH = 2000, 300, 100, 500


@dataclass(frozen=True, slots=True)
class Customer:
    """Somebody with a phone; `wa_id` is empty when only the BSUID is known."""

    wa_id: str
    user_id: str
    name: str
    username: str | None = None

    @property
    def chat(self) -> str:
        return self.wa_id or self.user_id


class Customers:
    """Those who wrote are remembered; others are made up on the spot, always alike."""

    def __init__(self) -> None:
        self.by_wa_id: dict[str, Customer] = {}
        self.by_user_id: dict[str, Customer] = {}

    def with_phone(self, wa_id: str) -> Customer:
        return self.by_wa_id.get(wa_id) or Customer(
            wa_id, user_id_of(wa_id), f'Customer {wa_id[-4:]}'
        )

    def wa_id(self, dialled: str) -> str:
        """The id of whoever has this number."""
        return wa_id(dialled, self.by_wa_id)

    def with_user_id(self, user_id: str) -> Customer:
        known = self.by_user_id.get(user_id)
        return known or Customer('', user_id, f'Customer {user_id[-4:]}')

    def meet(self, wa_id: str, **traits: str | None) -> Customer:
        """Remembers a customer who writes, with the traits that were given this time."""
        given = {name: value for name, value in traits.items() if value}
        customer = replace(self.with_phone(wa_id), **given)
        self.by_wa_id[wa_id] = self.by_user_id[customer.user_id] = customer
        return customer


class Chats:
    def __init__(self) -> None:
        self.threads: dict[str, deque] = {}
        self.by_wamid: dict[str, tuple[str, dict]] = {}
        self.wire: deque = deque(maxlen=WIRE_LENGTH)
        self.exchanges: dict[int, Exchange] = {}  # by the id of the line in `wire`
        self.line_ids = count(1)
        self.watchers: dict[str, set[asyncio.Queue]] = {}

    def add(self, chat: str, direction: str, wamid: str, message: dict, **more) -> dict:
        """A new message in a thread; returns the entry, which later news is written into."""
        entry = {
            'id': wamid,
            'direction': direction,
            'at': time.time(),
            'type': message.get('type', 'text'),
            'message': message,
            'statuses': [],
            'gateway_status': None,
            'read': False,
            'echo': False,
        } | more
        self.thread(chat).append(entry)
        self.by_wamid[wamid] = (chat, entry)
        if len(self.by_wamid) > 20_000:
            del self.by_wamid[next(iter(self.by_wamid))]
        self.tell(chat, 'message', entry)
        return entry

    def thread(self, chat: str) -> deque:
        if chat not in self.threads:
            if len(self.threads) >= THREADS:
                del self.threads[next(iter(self.threads))]
            self.threads[chat] = deque(maxlen=THREAD_LENGTH)
        return self.threads[chat]

    def tell(self, chat: str, event: str, data: dict) -> None:
        for queue in self.watchers.get(chat, ()):
            put(queue, event, data)

    def note(
        self,
        direction: str,
        what: str,
        status: int | str | None,
        detail: str = '',
        exchange: Exchange | None = None,
    ) -> None:
        """One line of what went over the wire; `direction` is `to_gateway` or `from_gateway`.

        `exchange` is what the line opens to; left out: the call that is being answered.
        """
        row = {'id': next(self.line_ids), 'at': time.time(), 'direction': direction}
        row |= {'what': what, 'status': status, 'detail': detail}
        self.wire.append(row)
        self.exchanges[row['id']] = exchange or CURRENT.get()
        self.exchanges.pop(row['id'] - WIRE_LENGTH, None)
        for queues in self.watchers.values():
            for queue in queues:
                put(queue, 'wire', row)

    def forget(self) -> None:
        """Empties everything but the watchers: open pages stay connected and are told."""
        self.threads.clear()
        self.by_wamid.clear()
        self.wire.clear()
        self.exchanges.clear()
        for chat in self.watchers:
            self.tell(chat, 'reset', {})


def put(queue: asyncio.Queue, event: str, data: dict) -> None:
    """A page that does not keep up loses news rather than holding up the simulator.

    It can reload.
    """
    if queue.qsize() < QUEUE_LENGTH:
        queue.put_nowait((event, dict(data)))
