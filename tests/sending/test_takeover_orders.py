"""Whatever order the bot's messages, people's, calls and pauses come in: while a person has the
conversation no call of the bot's begins, and what people send goes all the same.

Many more: `TAKEOVER_ORDERS=5000 python -m pytest -n 0 tests/sending/test_takeover_orders.py`.
"""

import os
from datetime import UTC, datetime
from itertools import count

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from service.graph.outcome import LOST, Outcome, OutcomeKind, make_error
from service.messages.state_machine import WAITING
from service.runtime.db import connection
from service.sending import dispatch, send_outcome, submit, takeover
from service.sending.outbox import Priority
from service.sending.send_outcome import SendResult
from service.sending.submit import PreparedReply
from tests.people import CHATBOT, Backend, Workers, sql

ORDERS = int(os.environ.get('TAKEOVER_ORDERS', '60'))
STEPS = (
    'bot speaks', 'bot speaks', 'person sends', 'backend sends', 'claim', 'claim', 'claim', 'claim',
    'accepted', 'accepted', 'refused for now', 'lost', 'decided', 'pause', 'resume', 'pause ends',
)  # fmt: skip
NUMBERS = count(1)
LOST_ANSWER = make_error('No answer', cause=min(LOST))  # the order of a set is another in each run
RESULTS = {
    'accepted': lambda: Outcome(OutcomeKind.ACCEPTED, wamid=f'wamid.{next(NUMBERS)}'),
    'refused for now': lambda: Outcome(OutcomeKind.RETRY, error=make_error('Not now')),
    'lost': lambda: Outcome(OutcomeKind.UNKNOWN, error=LOST_ANSWER),
}


class Chat:
    """One customer's conversation, and the message that is in a call."""

    def __init__(self, backend):
        self.backend, self.phone, self.in_call = backend, f'1202{next(NUMBERS):07}', None
        self.id = self.send()['conversation_id']

    def send(self, **more):
        return self.backend.send(f'+{self.phone}', 'By a person', force=True, **more)

    def step(self, step):
        if step == 'bot speaks':
            # Nobody queues an answer while a person has the conversation: its claim is gone.
            if not self.is_taken():
                self.speak()
        elif step.endswith('sends'):
            self.send(from_human=step == 'person sends')
        elif step == 'claim':
            self.claim()
        elif step in RESULTS:
            self.end_call(RESULTS[step]())
        elif step == 'decided':
            sql("UPDATE message SET due_at = now() - interval '1 s' WHERE status = 'unknown'")
            Workers.sweep()
        elif step == 'pause ends':
            sql(
                "UPDATE conversation SET paused_until = now() - interval '1 s' WHERE id = %s",
                self.id,
            )
        else:
            assert self.backend.post(f'/conversations/{self.id}/{step}', {}).status_code == 200

    def speak(self):
        body = {'type': 'text', 'text': {'body': 'By the bot'}, 'to': f'+{self.phone}'}
        with connection():
            submit.queue_replies([PreparedReply(CHATBOT, self.id, [body, body], None)])

    def claim(self):
        if self.in_call:
            return
        # Its times have come.
        sql("UPDATE message SET due_at = now() WHERE status = 'queued'")
        sql('UPDATE conversation SET send_after = NULL, pair_free_at = NULL')
        with connection():
            for self.in_call in dispatch.claim({CHATBOT: 5}, 30):
                is_of_bot = self.in_call.priority == Priority.REPLY
                assert not (is_of_bot and self.is_taken())

    def end_call(self, outcome):
        if self.in_call:
            with connection():
                send_outcome.record([SendResult(self.in_call, outcome, datetime.now(UTC))])
        self.in_call = None

    def is_taken(self):
        return sql('SELECT paused_until > now() FROM conversation WHERE id = %s', self.id)[0][0]

    def states(self, priority):
        rows = sql(
            'SELECT status FROM message WHERE conversation_id = %s AND priority = %s',
            self.id,
            int(priority),
        )
        return {status for (status,) in rows}

    def go_home(self):
        """Everything that may leave leaves."""
        for _ in range(200):
            for step in ('decided', 'accepted', 'claim'):
                self.step(step)
            states = self.states(Priority.SINGLE) | self.states(Priority.REPLY)
            if states.isdisjoint(WAITING):
                return


@pytest.fixture(scope='module')
def backend(application):
    """The front door, for all orders; each has a customer of its own."""
    sql('TRUNCATE whatsapp_cloud_account, webhook_event CASCADE')
    backend = Backend(application.test_client())
    backend.account(responder={'kind': 'none'})
    return backend


@settings(
    max_examples=ORDERS,
    deadline=None,
    database=None,
    phases=(Phase.generate, Phase.shrink),
    suppress_health_check=list(HealthCheck),
)
@given(st.lists(st.sampled_from(STEPS), min_size=5, max_size=25))
def test_in_any_order_no_call_of_the_bots_begins_while_a_person_has_it(backend, steps):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(takeover, 'SETTLE_SECONDS', 0)
        sql('DELETE FROM graph_outage')
        chat = Chat(backend)
        for step in steps:
            chat.step(step)
            if step in ('pause', 'person sends'):
                assert chat.states(Priority.REPLY).isdisjoint({'queued', 'held', 'scheduled'})
        chat.go_home()
    assert chat.states(Priority.SINGLE) <= {'accepted', 'failed'}
    assert chat.states(Priority.REPLY) <= {'accepted', 'failed', 'cancelled'}
