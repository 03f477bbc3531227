"""The one way of a message into the queue: of POST /send, a bulk, the command line and a reply.

1. Files and templates fit, and a message that is pointed at is named by its wamid.
2. Capacity: at most MAX_QUEUED messages of a chatbot wait.
3. Conversation: the recipient has one, or gets one.
4. May it be sent: the 24-hour window and opt-outs decide; its fallback may be sent instead.
5. Queue: the rows are stored.

The caller opens the transaction, so that what belongs to the rows (an idempotent answer, a reply's
claim) is stored with them or not at all. After the commit the caller wakes the send queue.
A reply needs only step 1, when it arrives, and step 5, when it is recorded: it has a conversation,
the customer has just written, and the queue's limit does not hold it up.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import islice

from service.accounts.account import Account
from service.billing.ledger import AIUsage
from service.conversations.identity import resolve
from service.conversations.identity_claim import addressee
from service.conversations.identity_store import known_phones
from service.conversations.pause import Occasion, PausedBy
from service.media import outbound_file
from service.messages.message import Message
from service.messages.references import with_wamids
from service.runtime import metrics, tracing
from service.runtime.db import connection
from service.runtime.errors import Invalid, TooManyQueued
from service.sending import batch, late_answer, outbox, send_policy, takeover
from service.sending.batch import Batch
from service.sending.outbound_message import OutboundMessage, split_text
from service.sending.outbox import AccountMessages, Priority, QueueOptions
from service.sending.personalisation import Body, Personalisation, has_placeholder
from service.sending.recipients import Conversations, RecipientList
from service.templates import template
from service.templates.template import Templates

ROWS_PER_INSERT = 1000  # more are not faster, and need more memory


@dataclass(frozen=True, slots=True)
class PreparedMessage:
    """A message after steps 1 and 2. `templates`: what is known of those that it names."""

    account: Account
    message: Body
    templates: Templates


@dataclass(frozen=True, slots=True)
class PreparedReply:
    """A responder's answer to one conversation: bodies that prepare_reply returned, addressed.

    `expires_at`: after which it comes too late.
    """

    chatbot_id: str
    conversation_id: str
    bodies: Sequence[Body]
    expires_at: datetime | None
    usage: AIUsage | None = None


def prepare(account: Account, message: Body, leaves_unlisted: bool = False) -> PreparedMessage:
    """Steps 1 and 2 of one checked message (content.message_schema).

    `leaves_unlisted`: a template that is not in the list is Meta's to judge.
    Raises Invalid or TooManyQueued.
    """
    (message,), templates = _fit(account, [message], leaves_unlisted)
    if outbox.is_full(account.chatbot_id, len(split_text(message))):
        raise TooManyQueued('MAX_QUEUED messages of this chatbot are waiting.')
    return PreparedMessage(account, message, templates)


def queue(prepared: PreparedMessage, wants_answer: bool = False) -> list[Message]:
    """Steps 3 to 5; a long text that may be split becomes several messages.

    `wants_answer`: the caller waits for Meta's answer (awaited_answer.py).
    Raises Conflict when it may not be sent, Invalid when it answers nothing of this customer.
    """
    account = prepared.account
    body = prepared.message
    (conversation_id,) = resolve([addressee(account.chatbot_id, body)]).values()
    message = OutboundMessage(conversation_id, body, prepared.templates)
    allowed = send_policy.require_allowed(message)
    priority, expires_at = Priority.SINGLE, body.get('expires_at')
    if 'in_reply_to' in body:
        wanted = late_answer.require_wanted(account, conversation_id, body)
        priority, expires_at = wanted.priority, wanted.earliest(expires_at)
    if body.get('from_human'):
        takeover.by_themselves([Occasion.now(conversation_id, PausedBy.HUMAN_SEND)])
    options = QueueOptions(priority, body.get('send_at'), expires_at, wants_answer=wants_answer)
    queued = outbox.queue(account, allowed.parts(), options)
    metrics.messages_queued.labels('single').inc(len(queued))
    tracing.begin('queue message', [one.id for one in queued])
    return queued


def start_bulk(chatbot_id: str, message: Body) -> RecipientList:
    """Step 1 of a bulk as far as its templates go; add rows to the list. Raises Invalid."""
    with connection():
        waba_id = template.waba_of(chatbot_id)
        found = template.find_templates(waba_id, [message])
        unlisted = template.find_unlisted(waba_id, [message], found)
    problems = {
        f'message.{path}': sentences
        for path, sentences in unlisted.items()
        if not _depends_on_row(message, path)
    }
    if problems:
        raise Invalid('There is no such template; see errors.', problems)
    keys = [template.template_key(message, field) for field in template.TEMPLATE_FIELDS]
    personalisation = Personalisation(message, *[found.get(key) for key in keys])
    return RecipientList(chatbot_id, personalisation, known_phones)


def queue_bulk(
    account: Account,
    recipients: RecipientList,
    send_at: datetime | None = None,
    expires_at: datetime | None = None,
) -> Batch:
    """All five steps of a bulk that has its rows.

    Raises Invalid, TooManyQueued, or Conflict when nobody is left.
    """
    check_bulk(account, recipients)
    count = len(recipients.accepted)
    if outbox.is_full(account.chatbot_id, count):
        raise TooManyQueued(
            f'With these {count}, more than MAX_QUEUED messages of this chatbot would wait.'
        )
    conversations = resolve(recipients.accepted)
    leave_out(account, recipients, conversations)
    batch_id = batch.insert(recipients)
    options = QueueOptions(Priority.BULK, send_at, expires_at, batch_id)
    for messages in messages_of(account, recipients, conversations):
        outbox.store([AccountMessages(account, messages)], options)
        metrics.messages_queued.labels('bulk').inc(len(messages))
    return Batch.find(batch_id)


def check_bulk(account: Account, recipients: RecipientList) -> None:
    """Step 1 of a bulk as far as files and other messages go. Raises Invalid."""
    outbound_file.check(account.chatbot_id, recipients.with_other_files(), 'message')
    message = with_wamids(account.chatbot_id, recipients.personalisation.message, 'message.')
    recipients.personalisation.message = message


def leave_out(account: Account, recipients: RecipientList, conversations: Conversations) -> None:
    """Step 4 of a bulk: who is meant twice or may not get it. Raises Conflict, see exclude()."""
    recipients.count_once(conversations)
    message = recipients.personalisation.message
    draft = OutboundMessage('', message, template.find_templates(account.waba_id, [message]))
    recipients.exclude(conversations, send_policy.decide_all(draft, conversations.values()))


def messages_of(
    account: Account, recipients: RecipientList, conversations: Conversations
) -> Iterator[list[OutboundMessage]]:
    """The messages of a bulk for step 5, some at a time.

    A row may choose its template, so each time they are looked up.
    """
    addressed = recipients.messages(conversations)
    while some := list(islice(addressed, ROWS_PER_INSERT)):
        templates = template.find_templates(account.waba_id, [body for _, body in some])
        yield [OutboundMessage(where, body, templates) for where, body in some]


def prepare_reply(account: Account, messages: Sequence[Body]) -> list[Body]:
    """Step 1 of the checked messages of a responder's answer, before they are recorded.

    Raises Invalid.
    """
    return _fit(account, messages)[0]


def queue_replies(replies: Sequence[PreparedReply]) -> None:
    """Step 5 of any number of answers, of whatever accounts, in one statement."""
    accounts = Account.find_all(reply.chatbot_id for reply in replies)
    of_accounts = [_messages_of(accounts[reply.chatbot_id], reply) for reply in replies]
    rows = outbox.store(of_accounts, QueueOptions(Priority.REPLY))
    tracing.inherit({row.id: row.conversation_id for row in rows})
    metrics.messages_queued.labels('reply').inc(sum(len(one.messages) for one in of_accounts))


def _messages_of(account: Account, reply: PreparedReply) -> AccountMessages:
    templates = template.find_templates(account.waba_id, reply.bodies)
    messages = [OutboundMessage(reply.conversation_id, body, templates) for body in reply.bodies]
    for message in messages:
        message.expires_at = reply.expires_at
    messages[0].ai_usage = reply.usage
    return AccountMessages(account, messages)


def _fit(
    account: Account, messages: Sequence[Body], leaves_unlisted: bool = False
) -> tuple[list[Body], Templates]:
    """Step 1: the messages with wamids, and what is known of their templates."""
    outbound_file.check(account.chatbot_id, messages)
    templates = template.find_fitting(account.waba_id, messages, leaves_unlisted)
    return [with_wamids(account.chatbot_id, message) for message in messages], templates


def _depends_on_row(message: Body, path: str) -> bool:
    """Whether a placeholder is in the name or language of the template.

    `path`: of a problem; it begins with the field that names the template.
    """
    key = template.template_key(message, path.split('.')[0])
    return key is not None and has_placeholder([key.name, key.language])
