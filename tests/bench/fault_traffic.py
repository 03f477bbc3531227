"""Messages in and out at a steady pace,
each caller as stubborn as Meta and a careful backend are.
"""

import itertools
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import requests

from tests.gateway import Http
from tests.people import Backend, Meta, contact, envelope, text_message
from tests.simulator.envelopes import user_id_of

IN_ORDER = 25  # messages to one person: fewer than the 45 that may go at once
TALKERS = 0.1  # part of those who write that is answered
REPEATED = 20  # every so many webhooks comes once more
PATIENCE = 180  # seconds that a caller repeats a request
CALLERS = 12  # at once that send, and twice as many that write: each waits for its answer
SINGLE, BULK = 'single', 'bulk'


@dataclass(frozen=True)
class Number:
    """A business number: what it does with a lost answer,
    and whether its customers are answered.
    """

    chatbot_id: str
    phone_number_id: str
    on_unknown: str
    responder: dict | None


NUMBERS = (
    Number('careful', '300112233445566', 'fail', {'kind': 'none'}),
    Number('keen', '300112233445577', 'resend', None),
)
CAREFUL, KEEN = NUMBERS


class Pace:
    """wait() returns `a_second` times a second at most; what was missed is not made up for."""

    def __init__(self, a_second):
        self._gap, self._next, self._lock = 1 / a_second, time.monotonic(), threading.Lock()

    def wait(self, count=1):
        with self._lock:
            begin = max(self._next, time.monotonic())
            self._next = begin + self._gap * count
        time.sleep(max(0, begin - time.monotonic()))


class Progress:
    """How many messages were taken by the gateway, in and out together."""

    def __init__(self):
        self.count, self._lock = 0, threading.Lock()

    def add(self, count=1):
        with self._lock:
            self.count += count


class Traffic:
    """`messages` in and as many out, `a_second` of each; `urls` are the web processes, asked in
    turn.
    """

    def __init__(self, urls, messages, a_second):
        self.messages, self.a_second, self.progress = messages, a_second, Progress()
        turns = itertools.cycle(urls)
        self._http = lambda: Http(next(turns))
        self.people = max(
            4, messages // IN_ORDER // 2 // len(NUMBERS)
        )  # of each number, singly and in bulks

    # ---- what is expected

    def inbound(self):
        """(number, phone, text) of each message in: a tenth comes from people who write once and
        are answered.
        """
        talkers = int(self.messages * TALKERS)
        for n in range(self.messages):
            if n % round(1 / TALKERS) == 0 and n // round(1 / TALKERS) < talkers:
                yield n, KEEN, f'1303{5550000 + n:07}'
            else:
                yield n, CAREFUL, f'1404{5550000 + n % 500:07}'

    def replies(self):
        return [f'You said: in {n}' for n, number, _ in self.inbound() if number is KEEN]

    def rounds(self):
        return range(self.messages // (self.people * len(NUMBERS) * 2))

    def outbound(self):
        """{(number's id, kind, person): its texts in order}"""
        return {
            (number.chatbot_id, kind, person): [text(kind, person, turn) for turn in self.rounds()]
            for number in NUMBERS
            for kind in (SINGLE, BULK)
            for person in range(self.people)
        }

    # ---- what happens

    def run(self):
        """Everything that there is to send; raises what any of the callers raised."""
        inward, outward = Pace(self.a_second), Pace(self.a_second)
        with ThreadPoolExecutor(3 * CALLERS + len(NUMBERS)) as pool:
            writing = iter(list(self.inbound()))
            lock = threading.Lock()
            jobs = [pool.submit(self._write_all, writing, lock, inward) for _ in range(2 * CALLERS)]
            jobs += [pool.submit(self._send_singles, part, outward) for part in range(CALLERS)]
            jobs += [pool.submit(self._send_bulks, number, outward) for number in NUMBERS]
            for job in jobs:
                job.result()

    def _write_all(self, writing, lock, pace):
        while True:
            with lock:
                one = next(writing, None)
            if one is None:
                return
            pace.wait()
            self._write(*one)
            self.progress.add()

    def _write(self, n, number, phone):
        user = user_id_of(phone)
        message = text_message(f'in {n}', f'wamid.in.{n}', phone, user)
        body = envelope(
            [message], contacts=[contact(phone=phone, user=user)], number=number.phone_number_id
        )
        for _ in range(2 if n % REPEATED == 0 else 1):
            answer = insist(lambda: Meta(self._http()).webhook(body))
            assert answer.status_code == 200, answer.text

    def _send_singles(self, part, pace):
        mine = [(number, person) for number in NUMBERS for person in range(self.people)][
            part::CALLERS
        ]
        for turn in self.rounds():
            for number, person in mine:
                pace.wait()
                body = {
                    'to': phone_of(SINGLE, person),
                    'text': {'body': text(SINGLE, person, turn)},
                }
                self._post('/send', number, body, f'{SINGLE}-{person}-{turn}')
                self.progress.add()

    def _send_bulks(self, number, pace):
        for turn in self.rounds():
            pace.wait(self.people)
            recipients = [
                {'to': phone_of(BULK, person), 'parameters': {'n': str(person)}}
                for person in range(self.people)
            ]
            body = {
                'message': {'text': {'body': text(BULK, '{{n}}', turn)}},
                'recipients': recipients,
            }
            self._post('/send/bulk', number, body, f'{BULK}-{turn}')
            self.progress.add(self.people)

    def _post(self, path, number, body, key):
        body = {'chatbot_id': number.chatbot_id, **body}
        answer = insist(
            lambda: Backend(self._http()).post(path, body, headers={'Idempotency-Key': key})
        )
        assert answer.status_code == 202, answer.text


def insist(request):
    """The same request until it is answered with what is not the gateway's own trouble."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        try:
            answer = request()
            if answer.status_code < 500 and answer.status_code != 408:
                return answer
        except requests.RequestException:
            pass
        time.sleep(0.2)
    raise AssertionError(f'the gateway did not answer for {PATIENCE} s')


def text(kind, person, turn):
    return f'{kind} {person} of {turn}'


def phone_of(kind, person):
    return f'+1{202 if kind == SINGLE else 205}{5550000 + person:07}'
