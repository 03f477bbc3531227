"""Conversations, newest first."""

from uuid import UUID

from flask import Blueprint

from service.conversations.conversation import Conversation
from service.web import pagination, request_input
from service.web.auth import guard
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
