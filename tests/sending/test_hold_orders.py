"""Whatever order a batch, its account and its template are stopped and let go in: a message waits
as long as one of them is stopped, and until its send_at, or the day after that Meta asked for
(131049), is there.

Many more: `HOLD_ORDERS=5000 python -m pytest -n 0 tests/sending/test_hold_orders.py`.
"""

import os
from datetime import UTC, datetime, timedelta
from itertools import count

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from service.graph.outcome import classify_error, make_error
from service.runtime.db import connection
from service.sending import dispatch, holds, send_outcome
from service.sending.send_outcome import SendResult
from tests.people import Backend, Workers, sql

ORDERS = int(os.environ.get('HOLD_ORDERS', '100'))
STEPS = (
    'pause batch', 'resume batch', 'hold account', 'deactivate account', 'resume account',
    'connect account', 'pause template', 'approve template', 'Meta wants tomorrow', 'a day passes',
)  # fmt: skip
NUMBERS = count(1)
DAY = timedelta(days=1)
REFUSED = make_error('Access token expired', code=190)
TOMORROW = classify_error(make_error('Not now', code=131049))
TEMPLATE = "INSERT INTO template (waba_id, name, language, status) VALUES (%s, 'sale', 'en', %s)"
DAY_PASSES = """
UPDATE message SET due_at = due_at - interval '1 day', send_at = send_at - interval '1 day'
WHERE batch_id = %s
"""


class Bulk:
    """A batch of one message, of an account and a template that nobody else has.

    `stops`: what keeps it now; `not_before`: until when it waits by itself.
    """

    def __init__(self, backend, is_scheduled):
        number = next(NUMBERS)
        self.backend, self.chatbot, self.waba = backend, f'bot{number}', f'88{number:013}'
        self.phone_number_id = f'30{number:013}'
        self.stops, self.is_scheduled = set(), is_scheduled
        self.step('connect account')
        sql(TEMPLATE, self.waba, 'APPROVED')
        self.not_before = datetime.now(UTC) + DAY / 2 if is_scheduled else datetime.now(UTC)
        answer = backend.post('/send/bulk', self.order(f'+1202{number:07}'))
        assert answer.status_code == 202, answer.text
        self.id = answer.json['id']

    def order(self, phone):
        template = {'name': 'sale', 'language': {'code': 'en'}}
        when = {'send_at': self.not_before.isoformat()} if self.is_scheduled else {}
        message = {'type': 'template', 'template': template}
        return {'chatbot_id': self.chatbot, 'message': message, 'recipients': [phone], **when}

    def step(self, step):
        verb, noun = step.split(' ', 1)
        if step == 'Meta wants tomorrow':
            self.send()
        elif step == 'a day passes':
            self.not_before -= DAY
            sql(DAY_PASSES, self.id)
            Workers.promote()
        elif noun == 'template':
            self.set_template('PAUSED' if verb == 'pause' else 'APPROVED')
        elif noun == 'batch':
            self.post(f'/batches/{self.id}/{verb}')
            self.stops = self.stops - {'batch'} | ({'batch'} if verb == 'pause' else set())
        else:
            self.move_account(verb)

    def post(self, path):
        answer = self.backend.post(path)
        assert answer.status_code == 200, answer.text

    def move_account(self, verb):
        if verb == 'connect':
            self.backend.account(self.chatbot, self.phone_number_id, waba_id=self.waba)
            self.stops -= {'refused', 'inactive'}
        elif verb == 'hold':
            with connection():
                assert holds.hold_account(self.chatbot, REFUSED)
            self.stops |= {'refused'}
        else:
            self.post(f'/account/{self.chatbot}/{verb}')
            self.stops = (
                self.stops | {'inactive'} if verb == 'deactivate' else self.stops - {'refused'}
            )

    def set_template(self, status):
        sql('UPDATE template SET status = %s WHERE waba_id = %s', status, self.waba)
        with connection():
            if status == 'PAUSED':
                holds.apply_template_stops()
                self.stops |= {'template'}
            else:
                holds.release_template(self.waba)
                self.stops -= {'template'}

    def send(self):
        """It goes if it may, and Meta asks for another day."""
        may_go = self.row()[0] != 'failed' and not (self.stops or self.waits())
        with connection():
            claimed = dispatch.claim({self.chatbot: 1}, 30)
            assert len(claimed) == may_go
            send_outcome.record([SendResult(one, TOMORROW, datetime.now(UTC)) for one in claimed])
        if claimed:
            self.not_before, self.is_scheduled = self.row()[2], False

    def row(self):
        ((*row,),) = sql(
            'SELECT status, hold_reason, due_at FROM message WHERE batch_id = %s', self.id
        )
        return row

    def waits(self):
        return self.not_before > datetime.now(UTC)

    def check(self):
        status, hold_reason, due_at = self.row()
        if status == 'failed':  # Meta did not want it four times
            return
        if self.waits():
            assert due_at == self.not_before
        if self.waits() and self.is_scheduled and 'batch' not in self.stops:
            assert status == 'scheduled'  # until then nothing else matters
        elif self.stops:
            reasons = {'refused': 'account', 'inactive': 'account'}
            why = {'batch'} & self.stops or {reasons.get(one, one) for one in self.stops}
            assert (status, hold_reason in why) == ('held', True)
        else:
            assert (status, hold_reason) == ('queued', None)
            assert self.waits() or due_at <= datetime.now(UTC)


@pytest.fixture(scope='module')
def backend(application):
    """The front door, for all orders."""
    sql('TRUNCATE whatsapp_cloud_account, webhook_event, template, template_sync CASCADE')
    return Backend(application.test_client())


@settings(
    max_examples=ORDERS,
    deadline=None,
    database=None,
    phases=(Phase.generate, Phase.shrink),
    suppress_health_check=list(HealthCheck),
)
@given(st.booleans(), st.lists(st.sampled_from(STEPS), min_size=3, max_size=15))
def test_in_any_order_a_message_waits_for_all_that_it_has_to_wait_for(backend, is_scheduled, steps):
    bulk = Bulk(backend, is_scheduled)
    for step in steps:
        bulk.step(step)
        bulk.check()
