"""Contacts: who a person is, by whatever id a caller knows of them."""

import threading
import weakref
from collections.abc import Callable, Iterator
from uuid import UUID

from flask import Blueprint, Response

from service.conversations import contact
from service.conversations.conversation import Conversation
from service.conversations.opt_out import Source, Statement, record
from service.conversations.opt_out_keywords import MarketingChoice
from service.messages import erased
from service.privacy import erase as privacy
from service.privacy import export
from service.runtime.db import db
from service.runtime.errors import NotFound, TooManyRequests
from service.sending import holds
from service.web import account_answers, pagination, request_input
from service.web.auth import (
    chatbots_to_list,
    check_visible,
    guard,
    restrict,
    scope,
    visible,
)
from service.web.described import describe
from service.web.plain_shapes import FILE
from service.web.request_input import query_parameters
from service.web.responses import JSONObject

blueprint = guard(Blueprint('contacts', __name__))
MAX_EXPORTS = 2  # of a process at a time: each holds a thread
exports = threading.BoundedSemaphore(MAX_EXPORTS)


@blueprint.get('/contacts')
@scope('read')
@query_parameters('chatbot_id', 'username', 'phone', 'user_id', 'opted_out', 'limit', 'cursor')
@describe(account_answers.ContactPage)
def index() -> JSONObject:
    """List people, the newest first."""
    chatbot_id = request_input.parameter('chatbot_id')
    query = Conversation.select().where(Conversation.group_id.is_null())
    if username := request_input.parameter('username'):
        query = query.where(Conversation.username == username.removeprefix('@'))
    known_ids = [value for value in map(request_input.parameter, ('phone', 'user_id')) if value]
    for value in known_ids:
        query = query.where(Conversation.id.in_(contact.find_ids(chatbot_id, value)))
    if opted_out := request_input.choice('opted_out', ('true', 'false')):
        query = query.where(Conversation.opted_out_at.is_null(opted_out == 'false'))
    if known_ids:
        query = restrict(query, Conversation.chatbot_id)
        return pagination.page(query, Conversation, contact.serialize)
    return pagination.page(query, Conversation, contact.serialize, chatbots_to_list(chatbot_id))


@blueprint.get('/contacts/<uuid:contact_id>')
@scope('read')
@describe(account_answers.Contact)
def show(contact_id: UUID) -> JSONObject:
    """Show a contact, also by the id of one that was merged into it."""
    return contact.serialize_with_history(_find(contact_id))


def _find(contact_id: UUID) -> Conversation:
    return visible(contact.find(str(contact_id)), contact.NO_SUCH_CONTACT)


@blueprint.post('/contacts/<uuid:contact_id>/opt-out')
@scope('manage')
@describe(account_answers.Contact)
def opt_out(contact_id: UUID) -> JSONObject:
    """Record that this person wants no marketing, as the platform knows."""
    return _record(contact_id, MarketingChoice.OPT_OUT)


@blueprint.post('/contacts/<uuid:contact_id>/opt-in')
@scope('manage')
@describe(account_answers.Contact)
def opt_in(contact_id: UUID) -> JSONObject:
    """Record that this person wants marketing (again), as the platform knows."""
    return _record(contact_id, MarketingChoice.OPT_IN)


@blueprint.get('/contacts/<uuid:contact_id>/export')
@scope('read')
@describe(FILE, content_type='application/zip', problems=('too_many_requests',))
def export_one(contact_id: UUID) -> Response:
    """Everything about a person as a zip: contact, messages, statuses, events, files."""
    found = _find(contact_id)
    if not exports.acquire(blocking=False):
        raise TooManyRequests(f'{MAX_EXPORTS} exports are under way already.')
    db.close()  # it takes long, and needs a connection now and then
    answer = Response(content_type='application/zip')
    # Of the answer's end, its last byte and its closing the first frees the place.
    place = weakref.finalize(answer, exports.release)
    answer.response = _until_end(export.stream(found), place)
    answer.call_on_close(place)
    name = f'contact-{found.id}.zip'
    answer.headers.set('Content-Disposition', 'attachment', filename=name)
    answer.headers['Cache-Control'] = 'no-store'
    return answer


def _until_end(pieces: Iterator[bytes], call: Callable[[], object]) -> Iterator[bytes]:
    try:
        yield from pieces
    finally:
        call()


@blueprint.delete('/contacts/<uuid:contact_id>')
@scope('manage')
@describe(account_answers.Erased)
def erase(contact_id: UUID) -> JSONObject:
    """Erase a person everywhere, and count what was erased; who writes again is new.

    To do it again is no error: then nothing is left to count.
    """
    found = Conversation.find_or_none(str(contact_id))
    owner = found.chatbot_id if found else erased.owner(str(contact_id))
    if owner is None or (found and found.group_id):
        raise NotFound(contact.NO_SUCH_CONTACT)
    check_visible(owner, contact.NO_SUCH_CONTACT)
    return {'erased': privacy.erase(str(contact_id))}


def _record(contact_id: UUID, choice: MarketingChoice) -> JSONObject:
    conversation = _find(contact_id)
    with db.atomic():
        holds.cancel_unwanted(record([Statement(conversation.id, choice, Source.API, None)]))
    return show(contact_id)
