"""The responder `openai`: any server of OpenAI-compatible chat completions."""

import json
from dataclasses import dataclass
from typing import Any

from service.accounts.account import Account
from service.content.text_split import split_formatted
from service.content.whatsapp_format import to_whatsapp
from service.replies import (
    chat_completion,
    chat_history,
    pictures,
    responder_client,
    system_prompt,
)
from service.replies.chat_history import ChatMessage, PastMessage
from service.replies.question import Question
from service.replies.redaction import redact
from service.replies.reply_failure import MISCONFIGURED_STATUSES, NoReply
from service.replies.responder_answer import ResponderAnswer
from service.replies.responder_client import Answer
from service.runtime import encryption
from service.runtime.config import settings

# HTTP statuses of an AI's server after which it is not asked again: it would answer the same.
FINAL_STATUSES = frozenset((400, 401, 402, 403, 404, 405, 410, 413, 415, 422))
SETTINGS = ('temperature', 'max_tokens')  # of the responder, as they stand in the request


@dataclass(frozen=True, slots=True)
class Server:
    """The AI's server that an account uses, and what each request has beside the messages.

    `is_operators`: it is that of AI_BASE_URL.
    """

    base_url: str
    is_operators: bool
    key: str | None
    request: dict[str, Any]


def ask(question: Question) -> ResponderAnswer:
    """Chat completions, with the account's system prompt and the last messages. Raises NoReply."""
    server = _server(question.account)
    messages = _messages(question)
    if not messages:
        return ResponderAnswer()  # none of the last messages is the customer's
    body = json.dumps(server.request | {'messages': messages}).encode()
    headers = {'Authorization': f'Bearer {server.key}'} if server.key else {}
    url = f'{server.base_url.rstrip("/")}/chat/completions'
    answer = responder_client.post(url, body, headers, question.seconds, server.is_operators)
    try:
        return _understand(answer, server)
    except NoReply as reason:  # its details are the server's own words
        written = chat_history.texts(messages)
        reason.details = redact(reason.details, [server.key], written)
        raise


def _server(account: Account) -> Server:
    responder = account.responder or {}
    is_operators = not responder.get('base_url')
    base_url = responder.get('base_url') or settings.AI_BASE_URL
    if not base_url:
        title = 'the responder has no base_url and AI_BASE_URL is not set'
        raise NoReply(title, final=True, is_misconfigured=True)
    key = encryption.decrypt(account.responder_secret)
    if not key and is_operators:  # our own key goes only to our own server
        key = settings.AI_API_KEY
    model = responder.get('model') or settings.AI_MODEL
    request = {'model': model} if model else {}
    request |= {name: responder[name] for name in SETTINGS if name in responder}
    return Server(base_url, is_operators, key, request | (responder.get('extra') or {}))


def _messages(question: Question) -> list[ChatMessage]:
    urls = pictures.as_data_urls(question.pictures)
    past = [
        PastMessage(row['direction'], row['text'] or '', urls.get(row['id']))
        for row in question.history
    ]
    prompt = question.responder.get('system_prompt') or ''
    return chat_history.build_messages(past, system_prompt.fill_in(prompt, question.conversation))


def _understand(answer: Answer, server: Server) -> ResponderAnswer:
    completion = chat_completion.parse(answer.body)
    if answer.status >= 300:
        raise NoReply(
            f'the responder answered HTTP {answer.status}',
            chat_completion.find_error_text(completion),
            final=answer.status in FINAL_STATUSES,
            wait=answer.wait,
            is_misconfigured=answer.status in MISCONFIGURED_STATUSES,
        )
    text = to_whatsapp(chat_completion.find_answer(completion)).strip()
    messages = [{'type': 'text', 'text': {'body': part}} for part in split_formatted(text)]
    model = server.request.get('model')
    return ResponderAnswer(messages, chat_completion.find_usage(completion, model))
