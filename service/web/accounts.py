"""Accounts: connect, show, deactivate, resume; and what they used."""

from datetime import date
from functools import partial

from flask import Blueprint

from service.accounts import health_event
from service.accounts.account import SEND_STATES, Account
from service.content import message_schema
from service.graph import outage
from service.messages import usage
from service.runtime.errors import Invalid
from service.runtime.queues import ERRANDS, INCOMING, SEND, wake
from service.sending import brake, holds
from service.web import pagination, request_input
from service.web.account_schemas import account_schema, account_update_schema
from service.web.auth import guard
from service.web.request_input import query_parameters

blueprint = guard(Blueprint('accounts', __name__))


@blueprint.post('/account')
def save():
    """Create, or change what is given.

    A token reconnects the account: active, and what was held is sent.
    """
    body = request_input.json_object()
    data = message_schema.check(account_update_schema, body)
    if not Account.exists(data['chatbot_id']):
        data = message_schema.check(account_schema, body)
    created = Account.save_from(data)
    wake(ERRANDS)
    if 'access_token' in data:
        _resume(data['chatbot_id'])
    return _shown(data['chatbot_id']), 201 if created else 200


@blueprint.get('/accounts')
@query_parameters('send_state', 'limit', 'cursor')
def index():
    """All of them, the newest first, without their health; `send_state=held` or `away`: those that
    cannot send.
    """
    state, limit = request_input.choice('send_state', SEND_STATES), pagination.page_size()
    rows = Account.newest(state, request_input.parameter('cursor'), limit + 1)
    last = rows[limit - 1].chatbot_id if len(rows) > limit else None
    away = outage.now_away()
    return {'data': [account.to_dict(away) for account in rows[:limit]], 'next_cursor': last}


@blueprint.get('/account/<chatbot_id>')
def show(chatbot_id):
    return _shown(chatbot_id)


@blueprint.get('/account/<chatbot_id>/health')
@query_parameters('field', 'limit', 'cursor')
def show_health(chatbot_id):
    """All that Meta told of the account, the newest first."""
    account = Account.find(chatbot_id)
    field = request_input.choice('field', health_event.FIELDS)
    return pagination.page_of_rows(
        partial(health_event.list_events, account, field), health_event.serialize_event
    )


@blueprint.post('/account/<chatbot_id>/deactivate')
def deactivate(chatbot_id):
    holds.deactivate_account(Account.find(chatbot_id))
    return _shown(chatbot_id)


@blueprint.post('/account/<chatbot_id>/resume')
def resume(chatbot_id):
    """Whatever held the account is mended: send what waited."""
    account = Account.find(chatbot_id)
    _resume(account.chatbot_id)
    return _shown(chatbot_id)


@blueprint.get('/account/<chatbot_id>/brakes')
def show_brakes(chatbot_id):
    """What slows the account down."""
    return {'data': brake.of_account(Account.find(chatbot_id))}


@blueprint.post('/account/<chatbot_id>/brakes/lift')
def lift_brakes(chatbot_id):
    """A person knows that Meta's reason is gone: send at the full rate, and probe at once where
    Meta is away.
    """
    lifted = brake.lift(Account.find(chatbot_id))
    wake(SEND)
    return lifted


def _shown(chatbot_id):
    account = Account.find(chatbot_id)
    return account.to_dict(outage.now_away()) | health_event.health(account)


def _resume(chatbot_id):
    outage.probe_now(Account.find(chatbot_id).phone_number_id)
    holds.release_account(chatbot_id)
    wake(SEND)
    wake(INCOMING)


@blueprint.get('/usage')
@query_parameters('chatbot_id', 'from', 'to')
def show_usage():
    chatbot_id = request_input.parameter('chatbot_id')
    if chatbot_id is None:
        raise Invalid(
            'chatbot_id is required.', {'chatbot_id': ['Missing data for required field.']}
        )
    account = Account.find(chatbot_id)
    return {'data': usage.by_day(account.chatbot_id, _date('from'), _date('to'))}


def _date(name):
    value = request_input.parameter(name)
    try:
        return value and date.fromisoformat(value)
    except ValueError:
        raise Invalid(f'{name} is not valid.', {name: ['Not a date like 2026-11-22.']}) from None
