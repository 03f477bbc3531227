"""Escalation: what a failure of one message means for others.

The account is held, a batch stops, a number goes slower, or a person gets no more marketing.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from service.conversations import opt_out
from service.graph.outcome import ErrorDict, Outcome, OutcomeKind
from service.runtime.db import fetch
from service.runtime.errors import Conflict
from service.sending import batch, holds, rate_limit

log = logging.getLogger(__name__)
FIND_APP = """
SELECT waba_id, app_secret IS NOT NULL FROM whatsapp_cloud_account WHERE chatbot_id = %s
"""


@dataclass(slots=True)
class SendFailure:
    """An Outcome that Meta did not accept, and whose it was.

    `access_token`: the one that was used, if one was; `at`: when Meta refused the message.
    """

    chatbot_id: str
    phone_number_id: str
    outcome: Outcome
    batch_id: str | None = None
    access_token: str | None = None
    conversation_id: str | None = None
    at: datetime | None = None

    @property
    def consequence(self) -> tuple[object, ...]:
        """What follows of it: failures for which this is equal count once."""
        whose = (self.chatbot_id, self.phone_number_id, self.batch_id, self.access_token)
        return *whose, self.outcome.kind, self.outcome.scope, self.outcome.pause


def apply(failures: Sequence[SendFailure]) -> None:
    """Do what failures lead to, in the transaction that wrote the messages' outcomes."""
    holds.cancel_unwanted(opt_out.record(opt_out.from_refusals(failures)))
    for failure in {one.consequence: one for one in failures}.values():
        scope = failure.outcome.scope
        if scope in ('number', 'waba', 'app'):
            _slow_down(failure)
        elif scope in ('bulk', 'template') and failure.batch_id:
            _pause_batch(failure.batch_id, failure.outcome.reason)
        elif failure.outcome.kind == OutcomeKind.HELD and scope != 'template':
            _hold_account(failure)


def _hold_account(failure: SendFailure) -> None:
    error = failure.outcome.reason
    if holds.hold_account(failure.chatbot_id, error, failure.access_token):
        told = {'chatbot_id': failure.chatbot_id, 'code': error['code'], 'title': error['title']}
        log.error('account held', extra=told)


def _pause_batch(batch_id: str, error: ErrorDict) -> None:
    try:
        batch.pause(batch_id, error)
    except Conflict:  # cancelled meanwhile
        return
    log.error('batch paused', extra={'batch_id': batch_id, 'code': error['code']})


def _slow_down(failure: SendFailure) -> None:
    outcome = failure.outcome
    rate_limit.slow_down(_brake_key(failure), outcome.pause)
    told = {
        'scope': outcome.scope,
        'phone_number_id': failure.phone_number_id,
        'pause': outcome.pause,
    }
    log.warning('sending slowed down', extra=told)


def _brake_key(failure: SendFailure) -> str:
    """The key of the brake that slows down what the failure is about."""
    number = failure.phone_number_id
    if failure.outcome.scope == 'number':
        return rate_limit.scope_keys(number, None, None)[0]
    ((waba_id, has_own_app),) = fetch(FIND_APP, (failure.chatbot_id,))
    own_app = failure.chatbot_id if has_own_app else None
    _, of_waba, of_app = rate_limit.scope_keys(number, waba_id, own_app)
    return of_waba if failure.outcome.scope == 'waba' else of_app
