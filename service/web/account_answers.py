"""What the API answers about accounts, templates, conversations and people."""

from service.conversations.opt_out import Source
from service.conversations.pause import PausedBy
from service.web.answer_fields import (
    Answer,
    any_object,
    anything,
    day,
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


class HealthEntry(Answer):
    """The latest that Meta told of one field."""

    event = string(null=True, example='FLAGGED')
    at = moment("Meta's time.")
    value = anything("Meta's own words.")
    summary = string('The same as a sentence.', null=True)


class HealthEvent(HealthEntry):
    """One thing that Meta told of an account."""

    id = identifier()
    field = string(example='phone_number_quality_update')
    received_at = moment()


class HealthFact(Answer):
    """What holds of an account now."""

    fact = string(example='limit')
    text = string()
    at = moment()
    until = moment(null=True)


class Retention(Answer):
    """After how many days it goes; null: it is kept."""

    events_days = whole("Meta's raw webhooks, and the platform's events.", null=True)
    text_days = whole('What messages say, and whom they name.', null=True)
    media_days = whole('Files.', null=True)


class ListedAccount(Answer):
    """One chatbot and its number. Secrets never come out, only whether there is one."""

    chatbot_id = string(example='acme')
    phone_number_id = string(example='300155500044477')
    display_phone_number = string(null=True)
    waba_id = string(null=True)
    name = string(null=True)
    max_mps = whole('Messages a second; null: SEND_RATE.', null=True)
    on_unknown = word('resend', 'fail')
    read_receipts = word('none', 'read', 'typing')
    opt_out_words = many(string(), null=True)
    opt_in_words = many(string(), null=True)
    quiet_seconds = number(null=True)
    reply_ttl_seconds = whole()
    max_turns_a_day = whole()
    pause_minutes = whole()
    fallback_text = string(null=True)
    monthly_budget = number("In the rate card's currency; null: none.", null=True)
    active = flag()
    has_access_token = flag()
    has_app_secret = flag()
    has_webhook_verify_token = flag()
    responder = any_object('Who answers; null: the AI_* of the environment.', null=True)
    retention = part(Retention)
    responder_state = word('ok', 'misconfigured')
    responder_state_reason = any_object(null=True)
    responder_state_since = moment(null=True)
    send_state = word('ok', 'held', 'away', about='Whether it can send.')
    send_state_reason = any_object(null=True)
    send_state_since = moment(null=True)
    created_at = moment()
    updated_at = moment()


class Account(ListedAccount):
    """An account, with what Meta last said of it."""

    health = any_object('The latest entry of each field.')
    health_facts = many(HealthFact)


class Brake(Answer):
    """What slows an account down."""

    scope = word('number', 'waba', 'app')
    factor = number("Of the number's rate.")
    paused_until = moment(null=True)


class Brakes(Answer):
    data = many(Brake)


class LiftedBrakes(Answer):
    lifted = many(Brake)
    messages = whole('How many messages became due.')
    probe = flag('Whether one is sent to see if Meta is back.')


class UsageRow(Answer):
    """`day` or `month`, as asked for with `by`; `category` and `country` as with `group`."""

    day = day(optional=True)
    month = string(optional=True, example='2026-11')
    direction = word('inbound', 'outbound')
    category = string(
        "Meta's pricing category; null until a status brings it.", null=True, optional=True
    )
    country = string(
        "Of the customer's number, ISO 3166; null where only a BSUID is known.",
        null=True,
        optional=True,
        example='BR',
    )
    count = whole()
    billed = whole('Those that were delivered and that Meta bills.')
    unpriced = whole('Those of `billed` whose price the rate card does not know.')
    cost = number('Null while some are unpriced.', null=True)
    currency = string("The rate card's.", null=True, example='USD')


class TokensRow(Answer):
    day = day()
    model = string(null=True)
    prompt_tokens = whole(null=True)
    completion_tokens = whole(null=True)


class Usage(Answer):
    """Messages received and accepted by Meta, what they cost, and what AIs took, by UTC day."""

    data = many(UsageRow)
    tokens = many(TokensRow)


class Template(Answer):
    """A message template as Meta knows it."""

    waba_id = string()
    name = string(example='order_ready')
    language = string(example='en_US')
    id = string("Meta's id.", null=True)
    status = string(null=True, example='APPROVED')
    category = string(null=True, example='utility')
    components = many(anything(), null=True)
    parameter_format = string(null=True)
    quality = string(null=True)
    reason = string('Why Meta has rejected it.', null=True)
    updated_at = moment()
    synced_at = moment(null=True)


class SyncState(Answer):
    """When the templates were read, and will be."""

    synced_at = moment(null=True)
    due_at = moment(null=True)
    error = any_object(null=True)


class SyncedTemplates(Answer):
    waba_id = string()
    sync = part(SyncState)


class DeletedTemplate(Answer):
    deleted = flag()
    name = string()
    language = string(null=True)
    id = string(null=True)


class Conversation(Answer):
    """What a chatbot and one person, or group, have said."""

    id = identifier()
    chatbot_id = string(example='acme')
    wa_id = string('The phone number as Meta has it.', null=True, example='12025550143')
    user_id = string('The business-scoped user id.', null=True)
    parent_user_id = string(null=True)
    group_id = string(null=True)
    username = string(null=True)
    name = string(null=True)
    last_inbound_at = moment(null=True)
    last_message_at = moment(null=True)
    last_outbound_at = moment(null=True)
    paused_until = moment('Until then no responder answers.', null=True)
    paused_by = word(*map(str, PausedBy), null=True)
    assignee = string(null=True)
    reply_due_at = moment(null=True)
    reply_attempts = whole()
    reply_error = any_object('Why the responder has not answered.', null=True)
    created_at = moment()
    updated_at = moment()
    window_expires_at = moment('Until then Meta takes more than templates.', null=True)
    window_open = flag(null=True)


class KnownId(Answer):
    """An id that leads, or has led, to a person."""

    value = string()
    current = flag()
    seen_at = moment(null=True)


class Marketing(Answer):
    """Whether a person wants marketing."""

    opted_out = flag()
    since = moment(null=True)
    by = word(*map(str, Source), null=True)


class ListedContact(Answer):
    """A person, and every id that leads there. Its id is that of the conversation."""

    id = identifier()
    chatbot_id = string(example='acme')
    name = string(null=True)
    username = string(null=True)
    wa_id = string(null=True)
    user_id = string(null=True)
    parent_user_id = string(null=True)
    conversation_id = identifier()
    phones = many(KnownId)
    user_ids = many(KnownId)
    marketing = part(Marketing)
    created_at = moment()


class ContactChange(Answer):
    kind = string()
    detail = anything()
    at = moment(null=True)
    created_at = moment()


class Contact(ListedContact):
    """A person, with what changed."""

    history = many(ContactChange)


class ErasedCounts(Answer):
    messages = whole()
    media = whole('Files.')
    statuses = whole()
    webhooks = whole('Bodies that were made anew without the person, or emptied.')
    events = whole('That endpoints were or would have been told.')
    identities = whole('Phones and user ids.')
    changes = whole('Of the history of the contact.')
    answers = whole('To requests with an Idempotency-Key.')


class Erased(Answer):
    """What was erased of a person."""

    erased = part(ErasedCounts)


AccountPage = page_of(ListedAccount)
HealthPage = page_of(HealthEvent)
TemplatePage = page_of(Template, waba_id=string(), sync=part(SyncState))
ConversationPage = page_of(Conversation)
ContactPage = page_of(ListedContact)
