"""Templates of a WhatsApp Business account: show them, read them again, create and delete them."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from flask import Blueprint

from service.accounts.account import Account
from service.accounts.waba import belongs_to
from service.content.message_schema import check
from service.graph.error_codes import explain
from service.graph.management_client import ManagementClient, ManagementError
from service.graph.outcome import Outcome, OutcomeKind
from service.runtime import encryption
from service.runtime.db import db, no_connection
from service.runtime.errors import Conflict, GatewayError, Invalid, NotFound, Unavailable
from service.runtime.queues import ERRANDS, SEND, wake
from service.runtime.untrusted import UNSTORABLE
from service.sending import holds
from service.templates import template, template_sync
from service.web import account_answers, pagination, request_examples, request_input
from service.web.auth import (
    NOBODY,
    current_key,
    find_account,
    find_active_account,
    guard,
    scope,
)
from service.web.described import describe
from service.web.problem_examples import AT_META
from service.web.request_input import query_parameters
from service.web.responses import Answer, JSONObject
from service.web.template_schemas import new_template_schema, sync_schema

blueprint = guard(Blueprint('templates', __name__))
LEAST_RETRY_AFTER = 5  # if Meta asks for none
STORED_FORM = {'status': str.upper, 'category': str.lower}
NOT_THERE = 'There is no such template; it may not have been read yet.'
NO_WABA = 'The account has no waba_id yet: save it, or wait for the first webhook, which names it.'
NO_TEMPLATE_ID = "Meta's id of this template is not known yet; it comes with the next reading."


@blueprint.get('/templates')
@scope('read')
@query_parameters('chatbot_id', 'waba_id', *template_sync.FILTERS, 'limit', 'cursor')
@describe(account_answers.TemplatePage, problems=('unknown_chatbot', 'conflict'))
def index() -> JSONObject:
    """List templates by name and language, and say when they were read."""
    waba_id = _waba_id()
    limit = pagination.page_size()
    seen_as = _seen_as(waba_id)
    rows = template_sync.list_templates(seen_as, _filters(), _after(), limit + 1)
    cursor = None
    if len(rows) > limit:
        last = rows[limit - 1]
        cursor = pagination.encode_cursor(last['name'], last['language'])
    return {
        'data': rows[:limit],
        'next_cursor': cursor,
        'waba_id': waba_id,
        'sync': template_sync.sync_state(seen_as),
    }


@blueprint.get('/templates/<name>')
@scope('read')
@query_parameters('chatbot_id', 'waba_id', 'language')
@describe(account_answers.Template, problems=('not_found', 'conflict'))
def show(name: str) -> JSONObject:
    """Show a template in one language."""
    language = request_input.required('language')
    _check_name(name)
    return _find(_seen_as(_waba_id()), name, language)


@blueprint.post('/templates/sync')
@scope('manage')
@describe(
    account_answers.SyncedTemplates,
    202,
    body=sync_schema,
    problems=('unknown_chatbot', 'conflict'),
    examples=request_examples.SYNC,
)
def sync() -> Answer:
    """Read all templates again, now."""
    order = check(sync_schema, request_input.json_object())
    return sync_now(order['chatbot_id']), 202


def sync_now(chatbot_id: str) -> JSONObject:
    """Ask for a reading of the templates of a chatbot's WABA. Raises NotFound or Conflict."""
    waba_id = _waba_of(find_account(chatbot_id))
    template.request_sync([waba_id], gap=0)
    wake(ERRANDS)
    return {'waba_id': waba_id, 'sync': template_sync.sync_state(waba_id)}


@blueprint.post('/templates')
@scope('manage')
@describe(
    account_answers.Template,
    201,
    body=new_template_schema,
    problems=('unknown_chatbot', 'account_inactive', *AT_META),
    examples=request_examples.TEMPLATES,
)
def create() -> Answer:
    """Create a template at Meta; 201 with what Meta says of it.

    Its approval comes later, by webhook.
    """
    order = check(new_template_schema, request_input.json_object())
    account = find_active_account(order.pop('chatbot_id'))
    with _at_meta(account) as waba:
        created = waba.client.create_template(waba.id, waba.token, order)
    facts = {name: created[name] for name in ('id', 'status', 'category') if name in created}
    with db.atomic():
        template.request_sync([waba.id])
        template_sync.save_templates(waba.id, [order | facts])
    wake(ERRANDS)
    return _find(waba.id, order['name'], order['language']), 201


@blueprint.delete('/templates/<name>')
@scope('manage')
@query_parameters('chatbot_id', 'language', 'id')
@describe(account_answers.DeletedTemplate, problems=('not_found', 'account_inactive', *AT_META))
def delete(name: str) -> JSONObject:
    """Delete a template at Meta: in one language (by that, or by Meta's id), or in all.

    Meta keeps the name from being used again for a while.
    """
    _check_name(name)
    account = find_active_account(request_input.required('chatbot_id'))
    language = request_input.parameter('language')
    template_id = request_input.parameter('id')
    if language and not template_id:
        template_id = _find(_waba_of(account), name, language)['id']
        if not template_id:
            raise Conflict(NO_TEMPLATE_ID)
    with _at_meta(account) as waba:
        waba.client.delete_template(waba.id, waba.token, name, template_id)
    holds.template_deleted(waba.id, name, language, template_id)
    wake(ERRANDS)
    wake(SEND)
    return {'deleted': True, 'name': name, 'language': language, 'id': template_id}


def _filters() -> dict[str, str]:
    """The values of the list's filters, written as the table has them."""
    given = {name: request_input.parameter(name) for name in template_sync.FILTERS}
    return {name: STORED_FORM.get(name, str)(value) for name, value in given.items() if value}


def _waba_id() -> str:
    """The WABA that a query names, itself or by one of its chatbots."""
    waba_id = request_input.parameter('waba_id')
    return waba_id or _waba_of(find_account(request_input.required('chatbot_id')))


def _seen_as(waba_id: str) -> str:
    """A WABA as the key sees it: that of others like one that there is not."""
    seen = current_key().chatbot_ids
    return waba_id if seen is None or belongs_to(waba_id, seen) else NOBODY


def _waba_of(account: Account) -> str:
    waba_id: str | None = account.waba_id
    if not waba_id:
        raise Conflict(NO_WABA)
    return waba_id


def _check_name(name: str) -> None:
    if UNSTORABLE.search(name):
        raise NotFound(NOT_THERE)


def _find(waba_id: str, name: str, language: str) -> JSONObject:
    filters = {'name': name, 'language': language}
    rows = template_sync.list_templates(waba_id, filters, None, 1)
    if not rows:
        raise NotFound(NOT_THERE)
    return rows[0]


def _after() -> tuple[str, str] | None:
    """(name, language) of the last template of the page before."""
    cursor = request_input.parameter('cursor')
    if not cursor:
        return None
    pair = pagination.decode_cursor(cursor)
    if pair is None or UNSTORABLE.search(''.join(pair)):
        raise request_input.invalid('cursor', 'Not a cursor of ours.')
    return pair


@dataclass(slots=True)
class WABA:
    """A WhatsApp Business account at Meta, with what a call about it needs."""

    client: ManagementClient
    id: str
    token: str


@contextmanager
def _at_meta(account: Account) -> Iterator[WABA]:
    """The WABA of an account for one call, during which others have the database connection.

    Raises Conflict, Invalid or Unavailable for what Meta refuses.
    """
    waba_id = _waba_of(account)
    try:
        token = encryption.decrypt(account.access_token)
    except encryption.DecryptionError as error:
        members: dict[str, Any] = {**explain('undecryptable')}
        raise Conflict(f'{error}.', **members) from None
    try:
        with no_connection():
            yield WABA(ManagementClient(), waba_id, token)
    except ManagementError as refusal:
        template.request_sync([waba_id])  # an answer that was lost may have been a yes
        raise _gateway_error(refusal.outcome) from None


def _gateway_error(outcome: Outcome) -> GatewayError:
    """Meta's refusal as ours: about the account, about the request, or to be tried again."""
    error = outcome.reason
    details = f' ({error["details"]})' if error['details'] else ''
    sentence = f'Meta: {error["title"]}{details}'
    members: dict[str, Any] = {
        'code': error['code'],
        'fbtrace_id': error['fbtrace_id'],
        **explain(error.get('cause') or error['code']),
    }
    if outcome.kind == OutcomeKind.HELD:
        return Conflict(sentence, **members)
    if outcome.kind == OutcomeKind.FAILED:
        return Invalid(sentence, **members)
    members['code'] = error['code'] or 'meta_unreachable'
    away = Unavailable(sentence, **members)
    away.retry_after = round(max(outcome.delay or 0, outcome.pause or 0, LEAST_RETRY_AFTER))
    return away
