"""The inbox: conversations, the last spoken in first, and a search over people and messages."""

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

from service.content.search_words import wanted_words
from service.conversations import active_conversations, conversation_list
from service.conversations.active_conversations import Place
from service.conversations.conversation import Conversation
from service.conversations.conversation_list import Filter
from service.messages import message_list, message_search, view
from service.messages.message import Message
from service.messages.message_search import Scope
from service.runtime.timestamps import to_rfc3339
from service.web import pagination, request_input
from service.web.auth import chatbots_to_list, scope
from service.web.dashboard.chatbot_choice import chatbot_choices
from service.web.dashboard.conversation_state import state_of, title_of
from service.web.dashboard.pages import pages, render
from service.web.messages import searched_text
from service.web.request_input import query_parameters
from service.web.responses import JSONObject

blueprint = pages('inbox', __name__)
PEOPLE = 20  # that a search shows
SHOWN = {
    'unanswered': conversation_list.UNANSWERED[True],
    'paused': conversation_list.PAUSED[True],
}


@blueprint.get('/inbox')
@scope('read')
@query_parameters('chatbot_id', 'show', 'assignee', 'q', 'cursor')
def index() -> str:
    """List conversations, or what a search finds."""
    chatbots = chatbots_to_list(request_input.parameter('chatbot_id'))
    text = request_input.parameter('q')
    found = _search(chatbots, text) if text else _latest(chatbots)
    return render('inbox.html', chatbots=chatbot_choices(), **found)


def _latest(chatbots: list[str] | None) -> dict[str, Any]:
    limit = pagination.page_size()
    behind = pagination.time_cursor()
    place = Place(*behind) if behind else Place()
    conversations = active_conversations.latest(chatbots, list(_filters()), place, limit + 1)
    shown = summaries(conversations[:limit])
    cursor = None
    if len(conversations) > limit:
        cursor = pagination.encode_cursor(to_rfc3339(shown[-1]['said_at']), shown[-1]['id'])
    return {'conversations': shown, 'next_cursor': cursor}


def _filters() -> Iterator[Filter]:
    if show := request_input.choice('show', SHOWN):
        yield SHOWN[show]
    if assignee := request_input.parameter('assignee'):
        yield conversation_list.assigned_to(assignee)


def _search(chatbots: list[str] | None, text: str) -> dict[str, Any]:
    """People with this in their name or number, and messages with these words."""
    is_first = request_input.identifier('cursor') is None
    people = active_conversations.named(chatbots, text, PEOPLE) if is_first else []
    found: JSONObject = {'data': [], 'next_cursor': None}
    if wanted_words(text):
        query = message_list.of_chatbots(Message.select(), chatbots)
        search = partial(message_search.find, query, searched_text(text), Scope(chatbots))
        found = pagination.page_of_found(search, _found)
    return {
        'conversations': summaries(people),
        'messages': found['data'],
        'next_cursor': found['next_cursor'],
    }


def _found(messages: Sequence[Message]) -> list[JSONObject]:
    """Messages that were found, each with the title of its conversation."""
    ids = {one.conversation_id for one in messages}
    rows = {one.id: one for one in Conversation.select().where(Conversation.id.in_(ids))}
    found = zip(view.serialize(messages), messages, strict=True)
    return [
        row | {'title': title_of(rows[one.conversation_id]), 'said_at': one.said_at}
        for row, one in found
        if one.conversation_id in rows
    ]


def summaries(conversations: Sequence[Conversation]) -> list[JSONObject]:
    """Conversations, each with what was said last."""
    messages = message_list.last_of([one.id for one in conversations])
    last = {row['conversation_id']: row for row in view.serialize(messages)}
    return [state_of(one) | {'last': last.get(one.id)} for one in conversations]
