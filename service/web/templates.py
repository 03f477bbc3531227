"""The templates of a WhatsApp Business account: shown as they were read, read again, made and
deleted at Meta.
"""

import base64
import json
from contextlib import contextmanager

from flask import Blueprint

from service.accounts.account import Account
from service.content.message_schema import check
from service.graph.error_codes import explain
from service.graph.management_client import ManagementClient, ManagementError
from service.runtime import encryption
from service.runtime.db import db, no_connection
from service.runtime.errors import Conflict, Invalid, NotFound, Unavailable
from service.runtime.queues import ERRANDS, SEND, wake
from service.runtime.untrusted import UNSTORABLE
from service.sending import holds
from service.templates import template, template_sync
from service.web import pagination, request_input
from service.web.auth import guard
from service.web.request_input import query_parameters
from service.web.template_schemas import new_template_schema, sync_schema

blueprint = guard(Blueprint('templates', __name__))
REQUIRED = ['Missing data for required field.']
RETRY_AFTER = 5  # seconds, if Meta asks for none
AS_KEPT = {'status': str.upper, 'category': str.lower}
NOT_THERE = 'There is no such template; it may not have been read yet.'


@blueprint.get('/templates')
@query_parameters('chatbot_id', 'waba_id', *template_sync.FILTERS, 'limit', 'cursor')
def index():
    """By name and language, with how it stands with their reading."""
    waba_id, limit = _waba_id(), pagination.page_size()
    wanted = {name: request_input.parameter(name) for name in template_sync.FILTERS}
    wanted = {name: AS_KEPT.get(name, str)(value) for name, value in wanted.items() if value}
    rows = template_sync.list_templates(waba_id, wanted, _after(), limit + 1)
    cursor = _cursor(rows[limit - 1]) if len(rows) > limit else None
    return {
        'data': rows[:limit],
        'next_cursor': cursor,
        'waba_id': waba_id,
        'sync': template_sync.sync_state(waba_id),
    }


@blueprint.get('/templates/<name>')
@query_parameters('chatbot_id', 'waba_id', 'language')
def show(name):
    language = request_input.parameter('language')
    if not language:
        raise Invalid('language is required.', {'language': REQUIRED})
    _check_name(name)
    return _found(_waba_id(), name, language)


@blueprint.post('/templates/sync')
def sync():
    """Read them all again, now."""
    order = check(sync_schema, request_input.json_object())
    waba_id = _waba_of(Account.find(order['chatbot_id']))
    template.request_sync([waba_id], gap=0)
    wake(ERRANDS)
    return {'waba_id': waba_id, 'sync': template_sync.sync_state(waba_id)}, 202


@blueprint.post('/templates')
def create():
    """Make one at Meta; 201 with what Meta says of it. Its approval comes later, by webhook."""
    order = check(new_template_schema, request_input.json_object())
    account = Account.find_active(order.pop('chatbot_id'))
    with _at_meta(account) as (meta, *whose):
        made = meta.create_template(*whose, order)
    waba_id, told = (
        account.waba_id,
        {name: made[name] for name in ('id', 'status', 'category') if name in made},
    )
    with db.atomic():
        template.request_sync([waba_id])
        template_sync.save_templates(waba_id, [order | told])
    wake(ERRANDS)
    return _found(waba_id, order['name'], order['language']), 201


@blueprint.delete('/templates/<name>')
@query_parameters('chatbot_id', 'language', 'id')
def delete(name):
    """In one language (by that, or by Meta's id), or in all.

    Meta keeps the name from being used again for a while.
    """
    _check_name(name)
    account = Account.find_active(_required('chatbot_id'))
    language, template_id = request_input.parameter('language'), request_input.parameter('id')
    if language and not template_id:
        template_id = _found(_waba_of(account), name, language)['id']
        if not template_id:
            raise Conflict(
                "Meta's id of this template is not known yet; it comes with the next reading."
            )
    with _at_meta(account) as (meta, *whose):
        meta.delete_template(*whose, name, template_id)
    holds.template_deleted(account.waba_id, name, language, template_id)
    wake(ERRANDS)
    wake(SEND)
    return {'deleted': True, 'name': name, 'language': language, 'id': template_id}


def _required(name):
    value = request_input.parameter(name)
    if value is None:
        raise Invalid(f'{name} is required.', {name: REQUIRED})
    return value


def _waba_id():
    """Named itself, or by one of its chatbots."""
    return request_input.parameter('waba_id') or _waba_of(Account.find(_required('chatbot_id')))


def _waba_of(account):
    if not account.waba_id:
        raise Conflict(
            'The account has no waba_id yet: save it, or wait for the first webhook, which names it.'
        )
    return account.waba_id


def _check_name(name):
    if UNSTORABLE.search(name):
        raise NotFound(NOT_THERE)


def _found(waba_id, name, language):
    rows = template_sync.list_templates(waba_id, {'name': name, 'language': language}, None, 1)
    if not rows:
        raise NotFound(NOT_THERE)
    return rows[0]


def _cursor(row):
    return base64.urlsafe_b64encode(json.dumps([row['name'], row['language']]).encode()).decode()


def _after():
    """(name, language) of the last template that was shown."""
    cursor = request_input.parameter('cursor')
    try:
        name, language = json.loads(base64.urlsafe_b64decode(cursor)) if cursor else (None, None)
    except (ValueError, RecursionError, TypeError):
        name = language = 0
    if cursor and not all(
        isinstance(part, str) and not UNSTORABLE.search(part) for part in (name, language)
    ):
        raise Invalid('cursor is not valid.', {'cursor': ['Not a cursor of ours.']})
    return cursor and (name, language)


@contextmanager
def _at_meta(account):
    """(ManagementClient, WABA, token) for one call, during which others have the connection to the
    database.
    """
    try:
        whose = _waba_of(account), encryption.decrypt(account.access_token)
    except encryption.DecryptionError as error:
        raise Conflict(f'{error}.', **explain('undecryptable')) from None
    try:
        with no_connection():
            yield ManagementClient(), *whose
    except ManagementError as refused:
        template.request_sync([account.waba_id])  # an answer that was lost may have been a yes
        raise _problem(refused.outcome) from None


def _problem(outcome):
    """Meta's refusal as an answer of ours: about the account, about the request, or to be tried
    again.
    """
    error = outcome.error
    sentence = f'Meta: {error["title"]}' + (f' ({error["details"]})' if error['details'] else '')
    members = {name: error[name] for name in ('code', 'fbtrace_id')} | explain(
        error.get('cause') or error['code']
    )
    if outcome.kind == 'held':
        return Conflict(sentence, **members)
    if outcome.kind == 'failed':
        return Invalid(sentence, **members)
    away = Unavailable(sentence, **members | {'code': error['code'] or 'meta_unreachable'})
    away.retry_after = round(max(outcome.delay or 0, outcome.pause or 0, RETRY_AFTER))
    return away
