"""Messages, people, workers and their deaths in any order: who is answered, and how often.

Ten thousand orders: `TURN_ORDERS=10000 python -m pytest -n 0 tests/replies/test_turn_orders.py`.
"""

import os
import time
from dataclasses import dataclass, field
from itertools import count

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from service.conversations import reply_queue
from service.replies.responder_answer import ResponderAnswer
from service.runtime.db import connection
from service.webhooks import process
from tests.people import WABA, Backend, Meta, envelope, sql, text_message
from tests.stack import PHONE_NUMBER_ID
from workers.reply_results import Ask, record

ORDERS = int(os.environ.get('TURN_ORDERS', '100'))
STEPS = ('message', 'echo', 'pause', 'resume', 'resume and answer', 'claim', 'answer', 'kill')
# What happens most, so that turns come to their end.
LIKELY = (*STEPS, 'message', 'message', 'claim', 'claim', 'claim', 'answer', 'answer', 'answer')
NUMBERS = count(1)


@dataclass
class Model:
    """How it should be. `due`: the version of the question; `held`: by whose claim of which."""

    is_paused: bool = False
    waits: bool = False  # the customer spoke last
    version: int = 0
    due: int | None = None
    held: tuple[int, int] | None = None
    is_leased: bool = False
    said: int = 0  # answers that wait to be sent

    def message(self):
        self.waits, self.version = True, self.version + 1
        self.due = self.due if self.is_paused else self.version

    def pause(self):
        self.waits = self.waits or self.said > 0  # what waited to be sent is cancelled
        self.is_paused, self.due, self.held, self.is_leased, self.said = True, None, None, False, 0

    def echo(self):
        self.pause()
        self.waits = False

    def resume(self, answer):
        if answer and self.waits and self.due is None:
            self.version += 1
            self.due = self.version
        self.is_paused = False

    def claim(self, worker):
        if self.due is None or self.is_leased:
            return False
        self.held, self.is_leased = (worker, self.due), True
        return True

    def answer(self, worker):
        if self.held is None or self.held[0] != worker:
            return
        if self.held[1] == self.due:
            self.said, self.due, self.waits = self.said + 1, None, False
        self.held, self.is_leased = None, False

    def kill(self):
        self.is_leased = False


@dataclass
class Gateway:
    """The same through its doors, of one customer."""

    backend: object
    meta: object
    phone: str = field(default_factory=lambda: f'1202{next(NUMBERS):07}')
    claims: list = field(default_factory=list)

    def hear(self, body):
        assert self.meta.webhook(body).status_code == 200
        with connection():
            while process.process_due():
                pass

    def message(self):
        self.hear(envelope([text_message('Hi', f'wamid.{next(NUMBERS)}', self.phone)]))

    def echo(self):
        ids = {'from': '15550104477', 'to': self.phone, 'id': f'wamid.{next(NUMBERS)}'}
        text = {'timestamp': f'{int(time.time())}', 'type': 'text', 'text': {'body': 'Me'}}
        metadata = {'display_phone_number': '15550104477', 'phone_number_id': PHONE_NUMBER_ID}
        value = {'messaging_product': 'whatsapp', 'metadata': metadata}
        value |= {'message_echoes': [ids | text]}
        change = {'field': 'smb_message_echoes', 'value': value}
        entry = {'id': WABA, 'changes': [change]}
        self.hear({'object': 'whatsapp_business_account', 'entry': [entry]})

    def act(self, verb, body):
        ((found,),) = sql('SELECT id FROM conversation WHERE wa_id = %s', self.phone)
        assert self.backend.post(f'/conversations/{found}/{verb}', body).status_code == 200

    def claim(self):
        with connection():
            claimed = reply_queue.claim(10, 60, {}, 10)
        self.claims += claimed
        return bool(claimed)

    def answer(self, worker):
        answer = ResponderAnswer(
            [{'type': 'text', 'text': {'body': 'Bot'}, 'to': f'+{self.phone}'}]
        )
        with connection():
            record([(Ask(self.claims[worker], None), answer)])

    def kill(self):
        sql(
            "UPDATE conversation SET reply_lease_until = now() - interval '1 s' "
            'WHERE wa_id = %s AND reply_lease_until IS NOT NULL',
            self.phone,
        )

    def state(self):
        """(is paused, is due, is held, answers that wait to be sent)"""
        ((paused, due, held, said),) = sql(
            'SELECT coalesce(paused_until > now(), false), reply_due_at IS NOT NULL, '
            'reply_claim IS NOT NULL, (SELECT count(*) FROM message m '
            "WHERE m.conversation_id = c.id AND m.status = 'queued') "
            'FROM conversation c WHERE wa_id = %s',
            self.phone,
        )
        return paused, due, held, said


def both(gateway, model, step, which):
    """One step of both; `which`: of the workers that have ever asked, to answer."""
    if step in ('message', 'echo'):
        getattr(gateway, step)()
        getattr(model, step)()
    elif step == 'pause':
        gateway.act('pause', {'minutes': 60})
        model.pause()
    elif step.startswith('resume'):
        gateway.act('resume', {'answer': step != 'resume'})
        model.resume(step != 'resume')
    elif step == 'claim':
        worker = len(gateway.claims)
        assert gateway.claim() == model.claim(worker)
    elif step == 'answer' and gateway.claims:
        worker = which % len(gateway.claims)
        gateway.answer(worker)
        model.answer(worker)
    elif step == 'kill':
        gateway.kill()
        model.kill()


@pytest.fixture(scope='module')
def doors(application):
    """The front door and Meta's, for all orders; each has a customer of its own."""
    sql('TRUNCATE whatsapp_cloud_account, webhook_event CASCADE')
    backend = Backend(application.test_client())
    backend.account(responder={'kind': 'http', 'url': 'http://127.0.0.1:9'})
    return backend, Meta(application.test_client())


@settings(
    max_examples=ORDERS,
    deadline=None,
    derandomize='TURN_ORDERS' not in os.environ,
    database=None,
    phases=(Phase.generate, Phase.shrink),
    suppress_health_check=list(HealthCheck),
)
@given(st.lists(st.tuples(st.sampled_from(LIKELY), st.integers(0, 3)), min_size=4, max_size=24))
def test_any_order_ends_as_the_model_says(doors, steps):
    gateway, model = Gateway(*doors), Model()
    both(gateway, model, 'message', 0)
    for number, (step, which) in enumerate(steps):
        both(gateway, model, step, which)
        expected = (model.is_paused, model.due is not None, model.held is not None, model.said)
        assert gateway.state() == expected, steps[: number + 1]
    sql('UPDATE conversation SET reply_due_at = NULL WHERE reply_due_at IS NOT NULL')
