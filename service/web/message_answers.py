"""What the API answers about messages, their files, and bulks of them."""

from service.messages.state_machine import HoldReason, Status
from service.web.answer_fields import (
    Answer,
    any_object,
    anything,
    flag,
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

STATUSES = tuple(map(str, Status))
EXPLANATION = 'What the error means, in plain words.'
FIX = 'What to do about it.'


class MessageError(Answer):
    """Why Meta did not take a message, or why it never left; in Meta's own words."""

    code = anything("Meta's code, or a word of docs/errors.md.", example=131047)
    title = string(null=True, example='(#131047) Re-engagement message')
    details = string(null=True)
    fbtrace_id = string("Meta's id of the call, for a question to its support.", null=True)


class AIUsage(Answer):
    """The tokens that an AI took for an answer, as its server counted them."""

    model = string(null=True)
    prompt_tokens = whole(null=True)
    completion_tokens = whole(null=True)


class StatusEntry(Answer):
    """One thing that happened to a message."""

    status = string(example='delivered')
    timestamp = moment("Meta's time, where Meta told of it.")
    type = string('What else it is about, say `payment`: it moves nothing.', optional=True)
    payment = any_object(optional=True)
    participant = string('Of a group: whose status it is.', optional=True)
    errors = many(anything(), 'As Meta gave them.', optional=True)
    pricing = any_object('What Meta bills it as.', optional=True)


class Try(Answer):
    """An attempt that Meta did not accept."""

    at = moment()
    code = anything(optional=True)
    title = string(null=True, optional=True)
    wamid = string(null=True, optional=True)
    attempt = whole(optional=True)
    outcome = string(optional=True, example='failed')


class Reaction(Answer):
    emoji = string(null=True, example='\N{THUMBS UP SIGN}')
    from_ = anything('As Meta gave it.', example='12025550143', data_key='from')
    from_user_id = anything('As Meta gave it.')
    direction = word('inbound', 'outbound')
    message_id = identifier('The reaction is a message itself.')
    timestamp = moment()


class Revision(Answer):
    """What a message said at a time."""

    type = string(example='text')
    content = anything()
    timestamp = moment()


class ReadReceipt(Answer):
    """Whether a customer's message was shown as read."""

    typing = flag()
    told_at = moment(null=True)
    error = anything(null=True)


class MessageFile(Answer):
    """The file of a customer's message."""

    id = identifier()
    status = word('fetching', 'stored', 'failed', 'gone')
    mime_type = string(null=True, example='image/jpeg')
    size = whole('Bytes.', null=True)
    filename = string(null=True)
    sha256 = string(null=True)
    url = string('Where it is served.')
    error = any_object('As that of a message.', null=True)
    explanation = string(EXPLANATION, null=True)
    fix = string(FIX, null=True)


class SaidMessage(Answer):
    """A message of either direction, as a responder sees it."""

    id = identifier()
    chatbot_id = string(example='acme')
    conversation_id = identifier()
    direction = word('inbound', 'outbound')
    type = string(example='text')
    status = word(*STATUSES)
    wamid = string("Meta's id of it.", null=True)
    content = anything("What stands under the key named like the type, in Meta's form.")
    context = anything('What it answers, as given; else null.')
    extra = any_object("What else stood in Meta's webhook.", null=True)
    client_reference = string("The caller's own name for it.", null=True)
    biz_opaque_callback_data = string("The caller's own.", null=True)
    attempts = whole('Calls of Meta so far.')
    error = part(MessageError, null=True)
    tries = many(Try, 'Every attempt that Meta did not accept.', null=True)
    hold_reason = word(*map(str, HoldReason), null=True)
    batch_id = identifier(null=True)
    from_human = flag('A person wrote it.')
    in_reply_to = identifier('The message that a responder answers.', null=True)
    send_at = moment(null=True)
    expires_at = moment(null=True)
    timestamp = moment("Meta's time of a customer's message.", null=True)
    created_at = moment()
    updated_at = moment()
    text = string('What it says, in plain text.', null=True)
    usage = part(AIUsage, null=True)
    origin = word('api', 'business_app', about='Who wrote it; null for inbound.', null=True)
    referral = anything('The ad that the customer came by.', null=True)
    referred_product = anything(null=True)
    reply_to = identifier('The message of ours that it replies to.', null=True)
    reactions = many(Reaction)
    edited_at = moment(null=True)
    revoked_at = moment(null=True)
    revisions = many(Revision, 'Of an edited or revoked message: what it said before.')
    explanation = string(EXPLANATION, null=True)
    fix = string(FIX, null=True)
    fallback_template = any_object('What goes instead once the window has closed.', null=True)
    replaced = any_object('What the fallback_template took the place of.', null=True)
    to = string(null=True, example='+12025550143')
    recipient = string('A business-scoped user id.', null=True)
    wa_id = string('What Meta made of the number.', null=True)
    from_ = anything('Who wrote it: a phone number, as Meta gave it.', data_key='from')
    from_user_id = anything('Who wrote it: a business-scoped user id, as Meta gave it.')
    group_id = anything('As Meta gave it; null outside of groups.')


class ListedMessage(SaidMessage):
    """A message of either direction, without the history of its statuses."""

    media = part(MessageFile, null=True)
    read_receipt = part(ReadReceipt, null=True)


class Message(ListedMessage):
    """A message of either direction, with everything that Meta said of it."""

    statuses = many(StatusEntry, 'The oldest first.')


class SentMessage(Message):
    """The message that was queued; of a text that was split, its first part."""

    parts = many(
        identifier(), 'Of a text that was split: the ids of all its messages.', optional=True
    )


class UploadedFile(Answer):
    """A file that may be sent by its id."""

    id = identifier()
    chatbot_id = string(example='acme')
    mime_type = string(example='image/png')
    size = whole('Bytes.')
    filename = string(null=True)
    created_at = moment()
    sha256 = string()
    kinds = many(string(), 'The types of message that it may be sent in.')


class RecipientRow(Answer):
    """A recipient that gets nothing, and why."""

    line = whole('Its place in the list, or its line in the file.')
    errors = any_object()


class Batch(Answer):
    """One message to many."""

    id = identifier()
    chatbot_id = string(example='acme')
    status = word('running', 'paused', 'cancelled', 'done')
    reason = any_object('Why it pauses by itself.', null=True)
    recipients = whole('How many were given.')
    rejected = whole('Of them, with something wrong.')
    duplicates = whole('Of them, the same person again.')
    dropped = whole('Of them, who may not get this message now.')
    accepted = whole('How many messages there are.')
    counts = any_object('How many messages are in which status.')
    progress = number('0 to 1.')
    estimated_end = moment(null=True)
    created_at = moment()
    updated_at = moment()


class NewBatch(Batch):
    """A batch as it was taken."""

    rejected_rows = many(RecipientRow)
    dropped_rows = many(RecipientRow)


class EstimatedCost(Answer):
    """Messages of one category to one country."""

    category = string("Meta's pricing category.", null=True, example='marketing')
    country = string(
        "Of the recipients' numbers; null where only a BSUID is given.", null=True, example='BR'
    )
    count = whole()
    cost = number('Null where the rate card has no price.', null=True)


class BulkEstimate(Answer):
    """What a bulk would send, and what it would cost if Meta bills all of it. Nothing is stored."""

    dry_run = flag()
    chatbot_id = string(example='acme')
    recipients = whole('How many were given.')
    rejected = whole('Of them, with something wrong.')
    duplicates = whole('Of them, the same person again.')
    dropped = whole('Of them, who may not get this message now.')
    accepted = whole('How many messages there would be.')
    unpriced = whole('Of them, those without a price in the rate card.')
    cost = number('Null while some are unpriced.', null=True)
    currency = string("The rate card's.", null=True, example='USD')
    costs = many(EstimatedCost)
    rejected_rows = many(RecipientRow)
    dropped_rows = many(RecipientRow)


MessagePage = page_of(Message)
ListedMessagePage = page_of(ListedMessage)
BatchPage = page_of(Batch)
