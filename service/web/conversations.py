"""Conversations, newest first; and who has one, a person or the responder."""

from uuid import UUID

from flask import Blueprint

from service.content import message_schema
from service.conversations import pause
from service.conversations.conversation import Conversation
from service.replies import unanswered
from service.runtime.db import db
from service.runtime.queues import INCOMING, wake
from service.sending import takeover
from service.web import pagination, request_input
from service.web.auth import guard
from service.web.conversation_schemas import pause_schema, resume_schema
from service.web.request_input import query_parameters
from service.web.responses import JSONObject

blueprint = guard(Blueprint('conversations', __name__))


@blueprint.get('/conversations')
@query_parameters('chatbot_id', 'limit', 'cursor')
def index() -> JSONObject:
    query = Conversation.select()
    if chatbot_id := request_input.parameter('chatbot_id'):
        query = query.where(Conversation.chatbot_id == chatbot_id)
    return pagination.page(query, Conversation, lambda rows: [row.to_dict() for row in rows])


@blueprint.get('/conversations/<uuid:conversation_id>')
def show(conversation_id: UUID) -> JSONObject:
    return Conversation.find(str(conversation_id)).to_dict()


@blueprint.post('/conversations/<uuid:conversation_id>/pause')
def pause_replies(conversation_id: UUID) -> JSONObject:
    """A person takes the conversation: once this is answered nothing of the bot leaves."""
    body = message_schema.check(pause_schema, request_input.optional_json_object())
    current = takeover.by_person(
        str(conversation_id),
        body['minutes'],
        body.get('assignee'),
        keeps_assignee='assignee' not in body,
    )
    return Conversation.find(current).to_dict()


@blueprint.post('/conversations/<uuid:conversation_id>/resume')
def resume_replies(conversation_id: UUID) -> JSONObject:
    """Give the conversation back; with `answer` what the customer wrote meanwhile is answered."""
    body = message_schema.check(resume_schema, request_input.optional_json_object())
    with db.atomic():
        conversation = Conversation.find(str(conversation_id))
        answer = body['answer'] and unanswered.waits(conversation)
        current = pause.end(conversation.id, answer=answer)
    if answer:
        wake(INCOMING)
    return Conversation.find(current).to_dict()
