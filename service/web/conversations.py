"""Conversations, newest first; and who has one, a person or the responder."""

from collections.abc import Iterator
from functools import partial
from uuid import UUID

from flask import Blueprint

from service.content import message_schema
from service.conversations import conversation_list, pause
from service.conversations.conversation import Conversation
from service.conversations.conversation_list import Filter
from service.messages.message import Message
from service.messages.whole_message import serialize_without_history
from service.replies import unanswered
from service.runtime.db import db
from service.runtime.queues import INCOMING, wake
from service.sending import takeover
from service.web import (
    account_answers,
    message_answers,
    pagination,
    request_examples,
    request_input,
)
from service.web.auth import chatbots_to_list, guard, scope, visible
from service.web.conversation_schemas import pause_schema, resume_schema
from service.web.described import describe
from service.web.request_input import query_parameters
from service.web.responses import JSONObject

blueprint = guard(Blueprint('conversations', __name__))


@blueprint.get('/conversations')
@scope('read')
@query_parameters('chatbot_id', 'paused', 'unanswered', 'assignee', 'since', 'limit', 'cursor')
@describe(account_answers.ConversationPage)
def index() -> JSONObject:
    """List conversations, the newest first."""
    chatbots = chatbots_to_list(request_input.parameter('chatbot_id'))
    if filters := list(_filters()):
        found = partial(conversation_list.find, chatbots, filters)
        return pagination.page_of_found(found, _serialize)
    return pagination.page(Conversation.select(), Conversation, _serialize, chatbots)


def _filters() -> Iterator[Filter]:
    """The filters that the query parameters ask for."""
    if assignee := request_input.parameter('assignee'):
        yield conversation_list.assigned_to(assignee)
    if paused := request_input.choice('paused', ('true', 'false')):
        yield conversation_list.PAUSED[paused == 'true']
    if waits := request_input.choice('unanswered', ('true', 'false')):
        yield conversation_list.UNANSWERED[waits == 'true']
    if since := request_input.timestamp('since'):
        yield conversation_list.active_since(since)


def _serialize(conversations: list[Conversation]) -> list[JSONObject]:
    return [one.to_dict() for one in conversations]


@blueprint.get('/conversations/<uuid:conversation_id>/messages')
@scope('read')
@query_parameters('limit', 'cursor')
@describe(message_answers.ListedMessagePage)
def show_messages(conversation_id: UUID) -> JSONObject:
    """What was said in a conversation, by both sides, the newest first."""
    conversation = find(conversation_id)
    query = Message.select().where(Message.conversation_id == conversation.id)
    return pagination.page(query, Message, serialize_without_history)


@blueprint.get('/conversations/<uuid:conversation_id>')
@scope('read')
@describe(account_answers.Conversation)
def show(conversation_id: UUID) -> JSONObject:
    """Show a conversation, also by the id of one that was merged into it."""
    return find(conversation_id).to_dict()


def find(conversation_id: UUID) -> Conversation:
    """A conversation that the key sees. Raises NotFound."""
    return visible(Conversation.find(str(conversation_id)))


@blueprint.post('/conversations/<uuid:conversation_id>/pause')
@scope('send')
@describe(
    account_answers.Conversation,
    body=pause_schema,
    examples=request_examples.PAUSE,
)
def pause_replies(conversation_id: UUID) -> JSONObject:
    """A person takes the conversation: once this is answered nothing of the bot leaves."""
    return take_over(conversation_id, request_input.optional_json_object()).to_dict()


def take_over(conversation_id: UUID, order: JSONObject) -> Conversation:
    """Pause a conversation as a PauseSchema says. Raises Invalid or NotFound."""
    body = message_schema.check(pause_schema, order)
    current = takeover.by_person(
        find(conversation_id).id,
        body['minutes'],
        body.get('assignee'),
        keeps_assignee='assignee' not in body,
    )
    return Conversation.find(current)


@blueprint.post('/conversations/<uuid:conversation_id>/resume')
@scope('send')
@describe(
    account_answers.Conversation,
    body=resume_schema,
    examples=request_examples.RESUME,
)
def resume_replies(conversation_id: UUID) -> JSONObject:
    """Give the conversation back; with `answer` what the customer wrote meanwhile is answered."""
    body = message_schema.check(resume_schema, request_input.optional_json_object())
    return give_back(conversation_id, body['answer']).to_dict()


def give_back(conversation_id: UUID, wants_answer: bool) -> Conversation:
    """End the pause, and ask for an answer to what the customer wrote meanwhile, if wanted."""
    with db.atomic():
        conversation = find(conversation_id)
        answer = wants_answer and unanswered.waits(conversation)
        current = pause.end(conversation.id, answer=answer)
    if answer:
        wake(INCOMING)
    return Conversation.find(current)
