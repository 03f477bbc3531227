"""Asks the responder of an account: an OpenAI-compatible server, or the platform's own service."""

from collections.abc import Callable
from dataclasses import replace

from service.content.graph_body import address
from service.content.message_schema import MessageSchema, check
from service.conversations.conversation import Conversation
from service.replies import http_responder, openai_responder
from service.replies.question import Question
from service.replies.reply_failure import NoReply
from service.replies.responder_answer import ResponderAnswer, SendBody
from service.runtime import encryption
from service.sending import submit

MAX_MESSAGES = 20  # in one answer; each of them is billed
ADDRESS = frozenset(('to', 'recipient', 'recipient_type'))

message_schema = MessageSchema()


def ask(question: Question) -> ResponderAnswer:
    """What the account's responder answers; its messages are checked and addressed.

    Raises NoReply when there is no usable answer, Invalid when one of its messages breaks a rule.
    """
    try:
        answer = RESPONDERS[question.responder['kind']](question)
    except encryption.DecryptionError as error:
        raise NoReply(str(error), is_misconfigured=True) from None
    count = len(answer.messages)
    if count > MAX_MESSAGES:
        told = f'the answer has {count} messages, and {MAX_MESSAGES} at most are sent'
        raise NoReply(told)
    checked = [check(message_schema, body) for body in answer.messages]
    messages = submit.prepare_reply(question.account, checked)
    to_customer = [addressed(message, question.conversation) for message in messages]
    return replace(answer, messages=to_customer)


def addressed(message: SendBody, conversation: Conversation) -> SendBody:
    """The message addressed to the customer who is answered, whoever else the responder names.

    By phone while the phone is theirs, even if they hide it by now: their BSUID lasts as long as
    the number, and some messages need a phone (Meta's error 131062). Else by BSUID.
    """
    to = conversation.wa_id
    recipient = None if to else conversation.user_id or conversation.parent_user_id
    if not (to or recipient):
        raise NoReply('nothing is known of the customer that an answer could go to')
    content = {name: value for name, value in message.items() if name not in ADDRESS}
    return content | address(to, recipient)


def _ask_nobody(question: Question) -> ResponderAnswer:
    return ResponderAnswer()


RESPONDERS: dict[str, Callable[[Question], ResponderAnswer]] = {
    'openai': openai_responder.ask,
    'http': http_responder.ask,
    'none': _ask_nobody,
}
