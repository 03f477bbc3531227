"""What is to be sent becomes queued rows, alike for POST /send, a bulk (HTTP or command line) and a
reply.

1. Files and templates fit, and what a message points at is named by its wamid.
2. Capacity: no more than MAX_QUEUED messages of a chatbot wait.
3. Conversation: whoever it goes to has one, or gets one.
4. May it go: the 24-hour window, and who wants no marketing; perhaps its fallback goes instead.
5. Queue: the rows are stored.

The caller opens the transaction, so that what is stored beside the rows (an idempotent answer, a
reply's claim) stands or falls with them, and wakes the send queue after the commit. A reply takes
only the first step, when it comes, and the last, when it is recorded: it has its conversation, the
customer has just written, and a limit on the queue does not hold it up.
"""

from dataclasses import dataclass
from datetime import datetime
from itertools import islice

from service.accounts.account import Account
from service.content.message_types import TEXT_LIMIT
from service.content.text_split import split
from service.conversations.identity import resolve
from service.conversations.identity_claim import addressee
from service.conversations.identity_store import known_phones
from service.media import outbound_file
from service.messages.message import Message
from service.messages.references import with_wamids
from service.runtime.db import connection
from service.runtime.errors import Invalid, TooManyQueued
from service.sending import batch, outbox, send_policy
from service.sending.batch import Batch
from service.sending.outbox import Outgoing
from service.sending.personalisation import Personalisation, placeholders
from service.sending.recipients import RecipientList
from service.templates import template
from service.templates.template import Templates

AT_ONCE = 1000  # rows in one INSERT: more are not faster and need more memory


@dataclass(frozen=True, slots=True)
class Prepared:
    """A message of which the first two steps are done.

    `templates`: what is known of those that it names.
    """

    account: Account
    message: dict
    templates: Templates


def prepare(account: Account, message: dict) -> Prepared:
    """Steps 1 and 2 of one validated message (content.message_schema).

    Raises Invalid or TooManyQueued.
    """
    (message,), templates = _fit(account, [message])
    if outbox.is_full(account.chatbot_id, len(_parts(message))):
        raise TooManyQueued('MAX_QUEUED messages of this chatbot are waiting.')
    return Prepared(account, message, templates)


def queue(prepared: Prepared) -> list[Message]:
    """Steps 3 to 5; several messages of a long text that may be split.

    Raises Conflict when it may not go.
    """
    account, message, templates = prepared.account, prepared.message, prepared.templates
    (conversation_id,) = resolve([addressee(account.chatbot_id, message)]).values()
    parts = _parts(send_policy.admit(message, conversation_id, templates))
    return outbox.queue(
        account,
        [Outgoing(conversation_id, part) for part in parts],
        outbox.SINGLE,
        send_at=message.get('send_at'),
        expires_at=message.get('expires_at'),
        templates=templates,
    )


def start_bulk(chatbot_id: str, message: dict) -> RecipientList:
    """Step 1 of a bulk as far as its templates go; add rows to the list. Raises Invalid."""
    with connection():
        waba_id = template.waba_of(chatbot_id)
        found = template.find_templates(waba_id, [message])
        problems = template.find_unlisted(waba_id, [message], found)
    problems = {
        f'message.{path}': told
        for path, told in problems.items()
        if not _is_filled_in(message, path)
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
    outbound_file.check(account.chatbot_id, recipients.with_other_files(), 'message')
    message = recipients.personalisation.message = with_wamids(
        account.chatbot_id, recipients.personalisation.message, 'message.'
    )
    if outbox.is_full(account.chatbot_id, len(recipients.accepted)):
        raise TooManyQueued(
            f'With these {len(recipients.accepted)}, more than MAX_QUEUED messages of this chatbot would wait.'
        )
    conversations = resolve(recipients.accepted)
    recipients.count_once(conversations)
    templates = template.find_templates(account.waba_id, [message])
    recipients.is_marketing = template.is_marketing(message, templates)
    recipients.exclude(
        conversations,
        send_policy.standings(message, conversations.values(), recipients.is_marketing),
    )
    batch_id = batch.insert(recipients)
    messages = recipients.messages(conversations)
    while some := list(islice(messages, AT_ONCE)):
        outbox.store(
            account, some, outbox.BULK, send_at=send_at, expires_at=expires_at, batch_id=batch_id
        )
    return Batch.find(batch_id)


def prepare_reply(account: Account, messages: list[dict]) -> list[dict]:
    """Step 1 of the validated messages of a responder's answer; they point at wamids then.

    Raises Invalid.
    """
    return _fit(account, messages)[0]


def queue_reply(account: Account, conversation_id: str, messages: list[dict]) -> None:
    """Step 5 of the same messages, addressed."""
    outbox.queue(
        account, [Outgoing(conversation_id, message) for message in messages], outbox.REPLY
    )


def _fit(account: Account, messages: list[dict]) -> tuple[list[dict], Templates]:
    outbound_file.check(account.chatbot_id, messages)
    with connection():
        templates = template.find_fitting(account.waba_id, messages)
    return [with_wamids(account.chatbot_id, message) for message in messages], templates


def _is_filled_in(message: dict, path: str) -> bool:
    """Whether which template it is (name, language) depends on the row.

    `path`: of the problem, its place first.
    """
    key = template.template_key(message, path.split('.')[0])
    parts = [key.name, key.language] if key else []
    return any(True for _ in placeholders(parts))


def _parts(message: dict) -> list[dict]:
    """The messages that it becomes: several of a long text that may be split, of which the first
    quotes.
    """
    if not message.get('split') or len(message['text']['body']) <= TEXT_LIMIT:
        return [message]
    rest = {
        name: value
        for name, value in message.items()
        if name not in ('context', 'fallback_template')
    }
    texts = [{'text': {**message['text'], 'body': part}} for part in split(message['text']['body'])]
    return [(rest if at else message) | text for at, text in enumerate(texts)]
