"""Accounts: connect, show, deactivate, resume."""

from functools import partial

from flask import Blueprint

from service.accounts import account_list, health_event, waba
from service.accounts.account import SEND_STATES, Account
from service.content import message_schema
from service.graph import outage
from service.runtime.queues import ERRANDS, INCOMING, SEND, wake
from service.sending import brake, holds
from service.web import account_answers, pagination, request_examples, request_input
from service.web.account_schemas import account_schema, account_update_schema
from service.web.auth import (
    chatbots_to_list,
    current_key,
    find_account,
    guard,
    require_chatbot,
    scope,
)
from service.web.described import describe
from service.web.request_input import query_parameters
from service.web.responses import Answer, JSONObject

blueprint = guard(Blueprint('accounts', __name__))


@blueprint.post('/account')
@scope('manage')
@describe(
    account_answers.Account,
    200,
    201,
    body=account_update_schema,
    problems=('unknown_chatbot', 'number_taken', 'waba_taken'),
    examples=request_examples.ACCOUNTS,
)
def save() -> Answer:
    """Create an account, or change what is given of it.

    A token reconnects it: it is active again, and what was held is sent.
    """
    body = request_input.json_object()
    data = message_schema.check(account_update_schema, body)
    require_chatbot(data['chatbot_id'])
    if not Account.exists(data['chatbot_id']):
        data = message_schema.check(account_schema, body)
    created = Account.save_from(data, current_key().chatbot_ids)
    wake(ERRANDS)
    if 'access_token' in data:
        _resume(data['chatbot_id'])
    return _serialize(data['chatbot_id']), 201 if created else 200


@blueprint.get('/accounts')
@scope('read')
@query_parameters('send_state', 'limit', 'cursor')
@describe(account_answers.AccountPage)
def index() -> JSONObject:
    """List accounts, the newest first, without their health.

    `send_state=held` or `away` finds those that cannot send.
    """
    state = request_input.choice('send_state', SEND_STATES)
    limit = pagination.page_size()
    chatbots = chatbots_to_list(None)
    rows = account_list.newest(chatbots, state, request_input.parameter('cursor'), limit + 1)
    last = rows[limit - 1].chatbot_id if len(rows) > limit else None
    away = outage.current()
    return {'data': [account.to_dict(away) for account in rows[:limit]], 'next_cursor': last}


@blueprint.get('/account/<chatbot_id>')
@scope('read')
@describe(account_answers.Account)
def show(chatbot_id: str) -> JSONObject:
    """Show an account, and what Meta last said of it."""
    return _serialize(chatbot_id)


@blueprint.get('/account/<chatbot_id>/health')
@scope('read')
@query_parameters('field', 'limit', 'cursor')
@describe(account_answers.HealthPage)
def show_health(chatbot_id: str) -> JSONObject:
    """List all that Meta told of the account, the newest first."""
    account = find_account(chatbot_id)
    field = request_input.choice('field', health_event.FIELDS)
    return pagination.page_of_rows(
        partial(health_event.list_events, account, field), health_event.serialize_event
    )


@blueprint.post('/account/<chatbot_id>/deactivate')
@scope('manage')
@describe(account_answers.Account)
def deactivate(chatbot_id: str) -> JSONObject:
    """Send nothing more; what comes in is stored, and not answered."""
    holds.deactivate_account(find_account(chatbot_id))
    return _serialize(chatbot_id)


@blueprint.post('/account/<chatbot_id>/resume')
@scope('manage')
@describe(account_answers.Account)
def resume(chatbot_id: str) -> JSONObject:
    """Send what waited, because a person has mended what held the account."""
    account = find_account(chatbot_id)
    _resume(account.chatbot_id)
    return _serialize(chatbot_id)


@blueprint.get('/account/<chatbot_id>/brakes')
@scope('read')
@describe(account_answers.Brakes, problems=('unavailable',))
def show_brakes(chatbot_id: str) -> JSONObject:
    """Show what slows the account down."""
    return {'data': brake.of_account(find_account(chatbot_id))}


@blueprint.post('/account/<chatbot_id>/brakes/lift')
@scope('manage')
@describe(account_answers.LiftedBrakes, problems=('unavailable',))
def lift_brakes(chatbot_id: str) -> JSONObject:
    """Send at the full rate, because a person knows that Meta's reason is gone.

    Where Meta is away, a probe goes at once. Those that slow others down as well are left to who
    sees these, too.
    """
    account = find_account(chatbot_id)
    lifted = brake.lift(account, _own_brakes(account))
    wake(SEND)
    return {**lifted}


def _own_brakes(account: Account) -> list[str]:
    """The scopes of brakes that slow down only chatbots which the key sees."""
    seen = current_key().chatbot_ids
    if seen is None:
        return list(brake.BRAKE_SCOPES)
    is_own = {
        'number': True,
        'waba': not waba.is_shared(account.waba_id, seen),
        'app': account.app_secret is not None,
    }
    return [scope for scope in brake.BRAKE_SCOPES if is_own[scope]]


def _serialize(chatbot_id: str) -> JSONObject:
    return health_event.serialize_accounts([find_account(chatbot_id)])[0]


def _resume(chatbot_id: str) -> None:
    outage.probe_now(Account.find(chatbot_id).phone_number_id)
    holds.release_account(chatbot_id)
    wake(SEND)
    wake(INCOMING)
