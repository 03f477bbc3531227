"""Whole turns while PostgreSQL dies: Meta insists on her 200s, the platform's own service notes
whatever ids it is told.
"""

import asyncio
import json
import re
import threading
import time
from collections import Counter, deque
from contextlib import suppress
from dataclasses import dataclass
from itertools import count

from service.conversations.reply_outcome import LOOP_TURNS
from tests.stack import wait_until

from . import turn_load

RETRY_SECONDS = 0.5  # until a webhook without its 200 comes again
ANSWER_SECONDS = (0, 0.1, 0.3)  # that the service thinks, in turn
KNOWN = 7  # of ten customers have written before
QUIET_SECONDS = 0.5  # without anything from the gateway: nothing is under way
WEBHOOK_ID = re.compile(rb'\r\nwebhook-id: *(\S+)', re.IGNORECASE)
STORED, ASKED, CALLED = MOMENTS = (
    'a webhook had its 200',
    'the responder was asked',
    'the Graph call came',
)


@dataclass(frozen=True, slots=True)
class Told:
    """An id that a responder saw, and whose it was: a text's direction, or 'conversation'."""

    kind: str
    what: str  # the text, or the customer's phone
    id: str


@dataclass(frozen=True, slots=True)
class Ask:
    """What the responder was asked: `about` the last message of the customer."""

    webhook_id: str
    about: Told
    told: frozenset


@dataclass(frozen=True, slots=True)
class Call:
    """A call of the Graph API that Meta took. `id`: ours, as biz_opaque_callback_data has it."""

    id: str
    to: str
    text: str


class World(turn_load.World):
    """Everybody outside. Each customer's text is answered with the same text, once; who waits for
    an answer writes nothing more.
    """

    def __init__(self, web_port, secret):
        super().__init__(web_port, secret)
        self.asks, self.sent = [], []
        self.unanswered = self.repeated = 0  # webhooks without a 200 so far; those sent once more
        self.known = deque()  # customers who have their answer
        # Texts by customer: whoever writes more of them so quickly is taken for a machine.
        self.turns = Counter()
        self.waited = []  # seconds from each text to the call that answered it
        self.thinking = count()
        self.held = None  # in a silence: who would write or be told of by now
        self.moment, self.happened, self.noted_at = None, threading.Event(), 0

    # ---- moments to kill at, for another thread

    def expect(self, moment):
        """`happened` is set when it happens the next time."""
        self.happened.clear()
        self.moment = moment

    def note(self, moment):
        self.noted_at = time.monotonic()
        if moment == self.moment:
            self.moment = None
            self.happened.set()

    # ---- silence, in which only one_writes() begins anything; for another thread, too

    def hush(self, seconds):
        """Returns when nothing is under way any more."""
        self.loop.call_soon_threadsafe(self._hold)
        with suppress(AssertionError):  # what is very late may as well come in between
            wait_until(self._is_quiet, seconds)

    def speak(self):
        self.loop.call_soon_threadsafe(self._let_go)

    def one_writes(self):
        self.loop.call_soon_threadsafe(self._write_now)

    def _hold(self):
        self.held = []

    def _let_go(self):
        held, self.held = self.held, None
        for do, about in held:
            do(about)

    def _write_now(self):
        super().write(self.customer(0))

    def _is_quiet(self):
        return not self.unanswered and time.monotonic() - self.noted_at > QUIET_SECONDS

    def write(self, phone):
        self._do_or_hold(super().write, phone)

    def tell(self, facts):
        self._do_or_hold(super().tell, facts)

    def _do_or_hold(self, do, about):
        if self.held is None:
            do(about)
        else:
            self.held.append((do, about))

    # ---- webhooks: until 200, with the same bytes

    def post(self, body):
        self.unanswered += 1
        super().post(body)

    def answered(self, request, is_stored):
        if is_stored:
            self.unanswered -= 1
            self.note(STORED)
        else:
            self.repeat(request)

    def cut_off(self, request, error):
        self.repeat(request)
        self.loop.create_task(self.connect())

    def repeat(self, request):
        self.repeated += 1
        self.loop.call_later(RETRY_SECONDS, self.send, request)

    async def flow(self, rate):
        """Customers write at that rate, whether or not they are answered."""
        begin = self.loop.time()
        for number in count():
            await asyncio.sleep(max(0, begin + number / rate - self.loop.time()))
            self.write(self.customer(number))

    def customer(self, number, known=True):
        if self.known and number % 10 < KNOWN:
            return self.known.popleft()
        return f'1202{next(self.numbers) + 2_000_000:07d}'

    # ---- calls of the gateway

    def asked(self, webhook_id, body):
        """Seconds to think, and the answer."""
        ask = read_ask(webhook_id, body)
        self.asks.append(ask)
        self.note(ASKED)
        seconds = ANSWER_SECONDS[next(self.thinking) % len(ANSWER_SECONDS)]
        answer = {'messages': [{'type': 'text', 'text': {'body': ask.about.what}}]}
        return seconds, json.dumps(answer).encode()

    def accepted(self, body):
        phone, text = body['to'].lstrip('+'), body['text']['body']
        self.sent.append(Call(body['biz_opaque_callback_data'], phone, text))
        self.note(CALLED)
        if text not in self.replied:
            self.turns[phone] += 1
            if self.turns[phone] < LOOP_TURNS - 1:
                self.known.append(phone)
            self.waited.append(time.monotonic() - self.written[text])
        return super().accepted(body)

    def turns_under_way(self, at):
        """How many had begun then and came to their call later."""
        return sum(self.written[text] <= at < end for text, end in self.replied.items())


def read_ask(webhook_id, body):
    messages = [Told(one['direction'], one['text'], one['id']) for one in body['messages']]
    about = next(one for one in reversed(messages) if one.kind == 'inbound')
    customer = body['conversation']
    whose = Told('conversation', customer['wa_id'], customer['id'])
    return Ask(webhook_id, about, frozenset([*messages, whose]))


class Outside(turn_load.Meta):
    """One connection to Meta or to the platform's own service."""

    def answer(self, path, body):
        if path == b'/responder':
            webhook_id = WEBHOOK_ID.search(self.head)[1].decode()
            seconds, answer = self.world.asked(webhook_id, json.loads(body))
            self.world.loop.call_later(seconds, self.write, answer)
        else:
            super().answer(path, body)


async def open_world(graph_port, web_port, secret):
    """The World, with Meta and the service listening, and connections to the gateway."""
    world = World(web_port, secret)
    await world.loop.create_server(lambda: Outside(world), '127.0.0.1', graph_port, backlog=1024)
    for _ in range(turn_load.CONNECTIONS):
        await world.connect()
    return world
