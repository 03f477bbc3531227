"""Contacts: who a person is, by whatever id a caller knows of them."""

from flask import Blueprint

from service import contact
from service.conversation import Conversation
from service.web import answers
from service.web.auth import guard

blueprint = guard(Blueprint('contacts', __name__))


@blueprint.get('/contacts')
def index():
    chatbot_id, username = answers.parameter('chatbot_id'), answers.parameter('username')
    query = Conversation.select().where(Conversation.group_id.is_null())
    query = query.where(Conversation.chatbot_id == chatbot_id) if chatbot_id else query
    query = query.where(Conversation.username == username.removeprefix('@')) if username else query
    for name, look_up in (('phone', contact.with_phone), ('user_id', contact.with_user_id)):
        if value := answers.parameter(name):
            query = query.where(Conversation.id.in_(look_up(chatbot_id, value)))
    return answers.page(query, Conversation, contact.shown)


@blueprint.get('/contacts/<uuid:contact_id>')
def show(contact_id):
    """Also by the id of a contact that turned out to be this one."""
    conversation = contact.find(str(contact_id))
    return {**contact.shown([conversation])[0], 'history': contact.history(conversation.id)}
