"""What an error of Meta's means beyond its own message: the account is held, a batch stops, a
number goes slower.
"""

import logging
from dataclasses import dataclass
from datetime import datetime

from service.conversations import opt_out
from service.graph.outcome import Outcome, OutcomeKind
from service.runtime.db import fetch
from service.runtime.errors import Conflict
from service.sending import batch, holds, rate_limit

log = logging.getLogger(__name__)


@dataclass(slots=True)
class SendFailure:
    """An Outcome that Meta did not accept, and whose it was.

    `access_token`: the one that was used, if one was.
    """

    chatbot_id: str
    phone_number_id: str
    outcome: Outcome
    batch_id: str | None = None
    access_token: str | None = None
    conversation_id: str | None = None
    at: datetime | None = None


def apply(refusals):
    """In the transaction that settled the messages. Equal refusals count once."""
    holds.cancel_unwanted(opt_out.record(opt_out.from_refusals(refusals)))
    for refusal in {_sameness(refusal): refusal for refusal in refusals}.values():
        scope = refusal.outcome.scope
        if scope in ('number', 'waba', 'app'):
            _slow_down(refusal)
        elif scope in ('bulk', 'template') and refusal.batch_id:
            _stop_batch(refusal)
        elif refusal.outcome.kind == OutcomeKind.HELD and scope != 'template':
            _hold_account(refusal)


def _sameness(refusal):
    outcome = refusal.outcome
    whose = refusal.chatbot_id, refusal.phone_number_id, refusal.batch_id, refusal.access_token
    return *whose, outcome.kind, outcome.scope, outcome.pause


def _hold_account(refusal):
    reason = refusal.outcome.error
    if holds.hold_account(refusal.chatbot_id, reason, refusal.access_token):
        log.error(
            'account held',
            extra={
                'chatbot_id': refusal.chatbot_id,
                'code': reason['code'],
                'title': reason['title'],
            },
        )


def _stop_batch(refusal):
    try:
        batch.pause(refusal.batch_id, refusal.outcome.error)
    except Conflict:  # cancelled meanwhile
        return
    log.error(
        'batch paused', extra={'batch_id': refusal.batch_id, 'code': refusal.outcome.error['code']}
    )


def _slow_down(refusal):
    rate_limit.slow_down(_scope_key(refusal), refusal.outcome.pause)
    extra = {
        'scope': refusal.outcome.scope,
        'phone_number_id': refusal.phone_number_id,
        'pause': refusal.outcome.pause,
    }
    log.warning('sending slowed down', extra=extra)


def _scope_key(refusal):
    if refusal.outcome.scope == 'number':
        return rate_limit.scope_keys(refusal.phone_number_id, None, None)[0]
    rows = fetch(
        'SELECT waba_id, app_secret IS NOT NULL FROM whatsapp_cloud_account WHERE chatbot_id = %s',
        (refusal.chatbot_id,),
    )
    waba_id, own_app = rows[0]
    keys = rate_limit.scope_keys(
        refusal.phone_number_id, waba_id, refusal.chatbot_id if own_app else None
    )
    return keys[1] if refusal.outcome.scope == 'waba' else keys[2]
