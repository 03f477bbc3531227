"""Conversations, newest first."""

from flask import Blueprint

from service.conversations.conversation import Conversation
from service.web import pagination, request_input
from service.web.auth import guard
from service.web.request_input import query_parameters

blueprint = guard(Blueprint('conversations', __name__))


@blueprint.get('/conversations')
@query_parameters('chatbot_id', 'limit', 'cursor')
def index():
    chatbot_id = request_input.parameter('chatbot_id')
    query = Conversation.select()
    query = query.where(Conversation.chatbot_id == chatbot_id) if chatbot_id else query
    return pagination.page(query, Conversation, lambda rows: [row.to_dict() for row in rows])


@blueprint.get('/conversations/<uuid:conversation_id>')
def show(conversation_id):
    return Conversation.find(str(conversation_id)).to_dict()
