"""What the API answers about endpoints, events and their deliveries; and what an event says."""

from service.events.endpoint import KINDS
from service.events.event_types import TYPES
from service.web.account_answers import Account, Contact, Conversation, HealthEvent, Template
from service.web.answer_fields import (
    Answer,
    Described,
    any_object,
    anything,
    identifier,
    many,
    moment,
    number,
    page_of,
    part,
    string,
    whole,
    word,
)
from service.web.message_answers import Batch, Message, MessageFile, SaidMessage


class Endpoint(Answer):
    """Where the platform is told."""

    id = identifier()
    kind = word(*KINDS)
    url = string(example='https://platform.example/hook')
    chatbot_id = string('null: of all.', null=True, example='acme')
    types = many(word(*TYPES), 'null: all.', null=True)
    description = string(null=True)
    state = word('active', 'paused')
    state_reason = any_object('Why it is paused.', null=True)
    state_since = moment(null=True)
    failing_since = moment('The first failure since its last success.', null=True)
    former_secret_until = moment('Until then a former secret signs, too.', null=True)
    created_at = moment()
    updated_at = moment()


class EndpointWithSecret(Endpoint):
    """An endpoint, and the secret if it was made here: it is shown this once."""

    secret = string(optional=True)


class Tried(Answer):
    """What came of telling an endpoint something now."""

    status = whole('Of its answer; null: there was none.', null=True, example=204)
    milliseconds = whole()
    error = string('Why it is no success.', null=True)


class Delivery(Answer):
    """What became of an event for one endpoint."""

    event_id = identifier()
    endpoint_id = identifier()
    type = string(null=True, example='message.received')
    chatbot_id = string(null=True)
    status = word('waiting', 'delivered', 'failed')
    attempts = whole()
    response_status = whole('Of the latest attempt; null: no answer.', null=True)
    milliseconds = whole(null=True)
    error = string(null=True)
    next_attempt_at = moment(null=True)
    created_at = moment()
    updated_at = moment()


class Event(Answer):
    """Something that happened. `data` by its type: see the webhooks of this document."""

    id = identifier()
    type = word(*TYPES)
    timestamp = moment()
    chatbot_id = string(null=True, example='acme')
    data = any_object()


class DeliveredEvent(Event):
    """An event, and what became of it for each endpoint."""

    deliveries = many(Delivery)


class Resent(Answer):
    id = identifier()
    type = string()
    deliveries = many(Delivery)


class Replayed(Answer):
    """How many events are delivered once more."""

    events = whole()
    since = moment()
    until = moment()


class ReplyRequested(Answer):
    """The question to a responder of kind http: what it shall say in a conversation."""

    type = word('reply.requested')
    in_reply_to = identifier("The customer's last message that wants an answer.", null=True)
    conversation = part(Conversation)
    messages = many(SaidMessage, 'The last 20, the oldest first.')


DATA: dict[str, dict[str, Described]] = {
    'message.received': {'message': part(Message), 'conversation': part(Conversation)},
    'message.changed': {
        'message': part(Message, 'What it is about; null when it is not known.', null=True),
        'change': part(Message, 'The edit, revoke or reaction, itself a message.'),
    },
    'message.status': {
        'message': part(Message),
        'status': string(example='delivered'),
        'previous_status': string(null=True, example='sent'),
    },
    'reply.failed': {'conversation': part(Conversation), 'error': anything()},
    'account.health': {'account': part(Account), 'health': part(HealthEvent)},
    'endpoint.test': {'endpoint': part(Endpoint)},
}
# Of all other types, by the first part of their name.
DATA_OF_FAMILY: dict[str, dict[str, Described]] = {
    'media': {'message': part(Message), 'media': part(MessageFile)},
    'conversation': {'conversation': part(Conversation)},
    'reply': {'conversation': part(Conversation)},
    'contact': {'contact': part(Contact)},
    'template': {'template': part(Template)},
    'account': {'account': part(Account)},
    'batch': {'batch': part(Batch)},
    'budget': {
        'month': string(example='2026-11'),
        'percent': whole('80 or 100.'),
        'cost': number('Of the month so far.'),
        'budget': number('The `monthly_budget` of the account.'),
        'currency': string("The rate card's.", example='USD'),
    },
}
EndpointPage = page_of(Endpoint)
DeliveryPage = page_of(Delivery)
EventPage = page_of(Event, after=string('Go on behind it.'))
