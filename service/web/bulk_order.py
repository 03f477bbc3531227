"""The order of a bulk that comes as a CSV file: from a query, or from a command's options."""

from collections.abc import Mapping
from typing import Any, BinaryIO

from flask import json

from service.accounts.account import Account
from service.content.message_schema import check
from service.runtime.errors import Invalid
from service.runtime.untrusted import is_deep
from service.sending import batch as batches
from service.sending import recipients_csv, submit
from service.sending.recipients import RecipientList
from service.web.request_input import BODY_TOO_DEEP
from service.web.responses import JSONObject
from service.web.send_schemas import csv_schema

# Exactly one of these says what is sent.
MESSAGE_OPTIONS = ('message', 'text', 'template')
OPTIONS = (*MESSAGE_OPTIONS, 'language', 'force')
CSV_PARAMETERS = (*(name for name in csv_schema.fields if name != 'message'), *OPTIONS)
DRY_RUN = 'dry_run'  # a query parameter, also beside JSON
TRUTH_WORDS = {'true': True, 'yes': True, '1': True, 'false': False, 'no': False, '0': False}


def check_order(given: Mapping[str, Any]) -> JSONObject:
    """The order that query parameters or options stand for. Raises Invalid."""
    kinds = [name for name in MESSAGE_OPTIONS if name in given]
    if len(kinds) != 1:
        problem = 'Exactly one of message, text and template is required.'
        raise Invalid(problem, {name: [problem] for name in kinds or ['message']})
    if ('language' in given) != (kinds == ['template']):
        problem = 'Needed with template, and with nothing else.'
        raise Invalid('language belongs to template.', {'language': [problem]})
    message = _message(kinds[0], given)
    if 'force' in given and isinstance(message, dict):
        message['force'] = _flag(given['force'])
    order = {name: value for name, value in given.items() if name not in OPTIONS}
    return check(csv_schema, order | {'message': message})


def _message(kind: str, given: Mapping[str, Any]) -> object:
    """The message in Meta's form; of a given one whatever its JSON holds, to be checked."""
    if kind == 'text':
        return {'type': 'text', 'text': {'body': given['text']}}
    if kind == 'template':
        language = {'code': given['language']}
        return {'type': 'template', 'template': {'name': given['template'], 'language': language}}
    try:
        message = json.loads(given['message'])
    except (ValueError, RecursionError):
        raise Invalid('message is not JSON.', {'message': ['Not JSON.']}) from None
    if isinstance(message, dict) and is_deep(message):
        raise Invalid(BODY_TOO_DEEP, {'message': ['Nested too deeply.']})
    return message


def _flag(value: object) -> object:
    """The truth of a query's text; what is neither yes nor no stays as it is, and is refused."""
    return TRUTH_WORDS.get(value.lower(), value) if isinstance(value, str) else value


def read_csv(order: JSONObject, stream: BinaryIO) -> RecipientList:
    """The recipients of an order, read from a binary stream. Raises Invalid."""
    recipients = submit.start_bulk(order['chatbot_id'], order['message'])
    recipients.add_rows(recipients_csv.read_rows(stream, recipients.personalisation))
    return recipients


def store(account: Account, order: JSONObject, recipients: RecipientList) -> JSONObject:
    """Store a batch in the caller's transaction; return it as callers see it."""
    batch = submit.queue_bulk(account, recipients, order.get('send_at'), order.get('expires_at'))
    (row,) = batches.serialize([batch])
    row['rejected_rows'] = recipients.rejected_rows
    row['dropped_rows'] = recipients.dropped_rows
    return row
