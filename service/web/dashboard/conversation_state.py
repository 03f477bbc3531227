"""A conversation as pages show it: the API's own, and what a person wants to know besides."""

from datetime import UTC, datetime

from service.conversations.conversation import Conversation
from service.web.responses import JSONObject

FOR_GOOD = 9999  # the year until which a pause without an end lasts


def state_of(conversation: Conversation) -> JSONObject:
    """`title`: what it is called; `waits`: the customer wrote last; `said_at`: the last time."""
    until = conversation.paused_until
    wrote_at, answered_at = conversation.last_inbound_at, conversation.last_outbound_at
    times = (conversation.last_message_at, answered_at)
    return conversation.to_dict() | {
        'title': title_of(conversation),
        'waits': bool(wrote_at and (not answered_at or wrote_at > answered_at)),
        'said_at': max((at for at in times if at), default=None),
        'is_paused': bool(until and until > datetime.now(UTC)),
        'is_open_ended': bool(until and until.year == FOR_GOOD),
    }


def title_of(conversation: Conversation) -> str:
    """What a person calls a conversation: a name, else whatever is known."""
    username = conversation.username and f'@{conversation.username}'
    number = conversation.wa_id and f'+{conversation.wa_id}'
    group = conversation.group_id and 'A group'
    named = conversation.name or username or number or group or conversation.user_id
    return str(named or 'Somebody')
