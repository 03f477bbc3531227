"""What the API answers about itself: the log of webhooks, its health, and its errors."""

from service.runtime.errors import CODES
from service.web.answer_fields import (
    Answer,
    any_object,
    anything,
    flag,
    identifier,
    many,
    moment,
    page_of,
    part,
    string,
    whole,
    word,
)


class WebhookItem(Answer):
    """One message, status, error or change of a webhook, and what became of it."""

    kind = string(example='message')
    key = string(null=True)
    outcome = word('stored', 'duplicate', 'orphan', 'refused', 'ignored', 'invalid')
    detail = string(null=True)


class ListedWebhookEvent(Answer):
    """What Meta posted, and what became of it."""

    id = identifier()
    received_at = moment()
    status = word('received', 'processed', 'failed', 'quarantined')
    size = whole('Bytes.')
    attempts = whole()
    error = string(null=True)
    processed_at = moment(null=True)
    redacted_at = moment('Since then what was erased, or too old, is gone.', null=True)
    chatbot_id = string('Whose own path it came by.', null=True)
    items = many(WebhookItem)


class WebhookEvent(ListedWebhookEvent):
    """The same with its bytes."""

    raw_body_base64 = string()


class Liveness(Answer):
    """Whether this process lives."""

    status = word('ok', 'unavailable')
    hangs = string(optional=True)


class Readiness(Answer):
    """Whether all that the gateway needs is there."""

    status = word('ok', 'unavailable')
    away = many(string(), 'What is away: database, schema, redis, or a kind of worker.')
    reasons = any_object(optional=True)
    processes = any_object('With `deep=1`: the processes of the workers.', optional=True)
    oldest_due_seconds = any_object('With `deep=1`: how long work has waited.', optional=True)


class Check(Answer):
    """One thing that was looked at."""

    check = string(example='subscribed')
    result = word('ok', 'warn', 'fail')
    detail = string('What was found.')
    fix = string('What mends it; null when it is as it should be.', null=True)


class Diagnostics(Answer):
    """What is as it should be for an account, and what is not."""

    ok = flag('Whether every check is `ok`.')
    checks = many(Check)


class Problem(Answer):
    """A refusal (RFC 9457). Programs compare `code`; `detail` and `errors` are for people."""

    type = string('Leads to the code on the page of errors.')
    title = string()
    status = whole('The HTTP status.')
    code = anything(f'One of: {", ".join(CODES)}; where Meta refused, its own number.')
    detail = string()
    errors = any_object('By field: sentences.', optional=True)


class MetasError(Answer):
    message = string(example='(#131009) Parameter value is not valid')
    type = string(example='OAuthException')
    code = whole()
    error_data = any_object(optional=True)
    fbtrace_id = string(null=True)


class GraphError(Answer):
    """A refusal as Meta writes them."""

    error = part(MetasError)


class GraphContact(Answer):
    input = string()
    wa_id = string(optional=True)
    user_id = string(optional=True)


class GraphMessageId(Answer):
    id = string("Meta's wamid; our own id when Meta did not answer in time.")
    message_status = string(optional=True)


class GraphMessage(Answer):
    """What Meta answers to a message."""

    messaging_product = word('whatsapp')
    contacts = many(GraphContact)
    messages = many(GraphMessageId)


class GraphSuccess(Answer):
    """What Meta answers to a read receipt."""

    success = flag()


WebhookEventPage = page_of(ListedWebhookEvent)
