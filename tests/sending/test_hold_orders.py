"""Whatever order a batch, its account and its template are stopped and let go in: a message waits
as long as one of them is stopped, and until its send_at, or the day after that Meta asked for
(131049), is there.

Many more: `HOLD_ORDERS=5000 python -m pytest -n 0 tests/sending/test_hold_orders.py`.
"""

import os
from datetime import UTC, datetime, timedelta
from itertools import count

import pytest
from hypothesis import HealthCheck, Phase, example, given, settings
from hypothesis import strategies as st

from service.graph.outcome import Outcome, OutcomeKind, classify_error, make_error
from service.runtime.db import connection
from service.sending import dispatch, holds, send_outcome, strays
from service.sending.send_outcome import SendResult
from tests.people import Backend, Workers, sql

ORDERS = int(os.environ.get('HOLD_ORDERS', '100'))
STEPS = (
    'pause batch', 'resume batch', 'hold account', 'deactivate account', 'resume account',
    'connect account', 'pause template', 'approve template', 'a day passes', 'claim it',
    'Meta wants tomorrow', 'Meta refuses the account', 'give it back',
)  # fmt: skip
BEGINNINGS = {
    'scheduled': [],
    'queued': [],
    'in a call': ['claim it'],
    'wanted tomorrow': ['claim it', 'Meta wants tomorrow'],
}
NUMBERS = count(1)
DAY = timedelta(days=1)
REFUSED = make_error('Access token expired', code=190)
ANSWERS = {
    'Meta wants tomorrow': classify_error(make_error('Not now', code=131049)),
    'Meta refuses the account': Outcome(OutcomeKind.HELD, error=REFUSED),
}
TEMPLATE = "INSERT INTO template (waba_id, name, language, status) VALUES (%s, 'sale', 'en', %s)"
REASONS = {
    'paused': 'batch',
    'refused': 'account',
    'inactive': 'account',
    'template': 'template',
}
# That of a message in a call is its lease.
DAY_PASSES = """
UPDATE message SET send_at = send_at - interval '1 day',
  due_at = CASE WHEN status = 'sending' THEN due_at ELSE due_at - interval '1 day' END
WHERE batch_id = %s
"""


class Bulk:
    """A batch of one message, of an account and a template that nobody else has.

    `stops`: what keeps it now; `not_before`: until when it waits by itself; `crossed`: whether
    anything stopped it while it was in a call: from then on the sweep has to put it right.
    """

    def __init__(self, backend, is_scheduled):
        number = next(NUMBERS)
        self.backend, self.chatbot, self.waba = backend, f'bot{number}', f'88{number:013}'
        self.phone_number_id = f'30{number:013}'
        self.stops, self.is_scheduled, self.in_call, self.crossed = set(), is_scheduled, None, False
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
        if step == 'a day passes':
            self.not_before -= DAY
            sql(DAY_PASSES, self.id)
            Workers.promote()
        elif noun == 'template':
            self.set_template('PAUSED' if verb == 'pause' else 'APPROVED')
        elif noun == 'batch':
            self.move_batch(verb)
        elif noun == 'account':
            self.move_account(verb)
        elif step == 'claim it':
            self.claim()
        elif self.in_call:
            self.end_call(step)

    def move_batch(self, verb):
        if 'cancelled' not in self.stops:
            self.post(f'/batches/{self.id}/{verb}')
            stops = {'pause': {'paused'}, 'cancel': {'cancelled'}, 'resume': set()}
            self.stops = self.stops - {'paused'} | stops[verb]

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

    def claim(self):
        """A worker gets it if it may go, and only then."""
        may_go = not (self.in_call or self.is_over() or self.stops or self.waits())
        with connection():
            sendable = {one.chatbot_id for one in dispatch.sendable_accounts()}
            claimed = dispatch.claim(dict.fromkeys(sendable & {self.chatbot}, 1), 30)
        assert len(claimed) == may_go
        self.in_call = self.in_call or claimed

    def end_call(self, step):
        with connection():
            if step == 'give it back':
                dispatch.release_claims(self.in_call)
            else:
                results = [SendResult(self.in_call[0], ANSWERS[step], datetime.now(UTC))]
                send_outcome.record(results)
                self.is_scheduled = False
        if step == 'Meta wants tomorrow' and not self.is_over():
            self.not_before = self.row()[2]
        elif step == 'Meta refuses the account':
            self.move_account('hold')
        self.in_call, self.crossed = None, self.crossed or bool(self.stops)
        if self.stops - {'template'}:  # of a template Meta itself says that it is stopped
            self.claim()

    def is_over(self):
        """Meta did not want it four times, or it was cancelled."""
        return self.row()[0] in ('failed', 'cancelled')

    def row(self):
        ((*row,),) = sql(
            'SELECT status, hold_reason, due_at FROM message WHERE batch_id = %s', self.id
        )
        return row

    def waits(self):
        return self.not_before > datetime.now(UTC)

    def check(self):
        if self.in_call:
            return
        if self.crossed:
            with connection():
                strays.reconcile()
        status, hold_reason, due_at = self.row()
        if status == 'failed' or 'cancelled' in self.stops:
            assert self.is_over()
            return
        if self.waits():
            assert due_at == self.not_before
        if self.waits() and self.is_scheduled and 'paused' not in self.stops:
            assert status == 'scheduled'  # until then nothing else matters
        elif self.stops:
            why = {REASONS[one] for one in self.stops}
            if 'paused' in self.stops and not self.crossed:
                why = {'batch'}  # its resume alone lets it go
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
    phases=(Phase.explicit, Phase.generate, Phase.shrink),
    suppress_health_check=list(HealthCheck),
)
@given(st.sampled_from([*BEGINNINGS]), st.lists(st.sampled_from(STEPS), min_size=3, max_size=12))
@example('wanted tomorrow', ['pause batch', 'hold account', 'resume batch', 'resume account'])
@example('scheduled', ['pause batch', 'resume batch', 'hold account'])
@example('wanted tomorrow', ['pause template', 'hold account', 'approve template'])
@example('scheduled', ['pause batch', 'hold account', 'a day passes', 'resume batch'])
def test_in_any_order_a_message_waits_for_all_that_it_has_to_wait_for(backend, beginning, steps):
    bulk = Bulk(backend, is_scheduled=beginning == 'scheduled')
    for step in [*BEGINNINGS[beginning], *steps, 'cancel batch', 'give it back']:
        bulk.step(step)
        bulk.check()
    assert bulk.is_over()
