"""Files that messages from outside bring: a row for each, for workers to fetch it from Meta."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from service.accounts.receiving_account import ReceivingAccount
from service.graph.error_shapes import errors_in, told_errors
from service.graph.outcome import ErrorDict, error_from, make_error
from service.media.media import FILE_TYPES
from service.runtime.db import db
from service.runtime.ids import new_id
from service.runtime.queues import ERRANDS, wake
from service.runtime.rows import Json, Uuid, execute_bulk
from service.runtime.untrusted import as_dict, clean, digest_of, identifier

DESCRIBING = ('mime_type', 'filename', 'sha256', 'status', 'url')  # fields of a file
# Meta could not take the file from the customer: over 100 MB (docs/meta.md, section 2).
UNAVAILABLE = 131052
# Control characters, and those that turn fdp.exe into exe.pdf.
NOT_IN_NAMES = re.compile('[\x00-\x1f\x7f\u200e\u200f\u202a-\u202e\u2066-\u2069]')

INSERT_EXPECTED = """
INSERT INTO media ({columns}, status, due_at)
SELECT {columns}, CASE WHEN n.error IS NULL THEN 'fetching' ELSE 'failed' END,
  CASE WHEN n.error IS NULL THEN now() END
FROM {rows}
ON CONFLICT (message_id) DO NOTHING
"""


@dataclass(frozen=True, slots=True)
class ExpectedFile:
    """The row of a file that is to be fetched. `error`: why that is not possible."""

    id: Uuid
    chatbot_id: str
    phone_number_id: str | None
    message_id: Uuid
    meta_id: str | None
    mime_type: str | None
    filename: str | None
    sha256: bytes | None
    error: Json | None


class MessageItem(Protocol):
    """A message or an echo of a webhook (webhooks.item.Item). `data`: as Meta gives it."""

    data: dict[str, Any]
    phone_number_id: str

    @property
    def account(self) -> ReceivingAccount: ...


def expect(messages: Mapping[str, MessageItem]) -> None:
    """Write a row for each file of new messages ({message id: item}), in their transaction."""
    found = [_expected_file(message_id, item) for message_id, item in messages.items()]
    files = [file for file in found if file]
    if files:
        execute_bulk(INSERT_EXPECTED, files)
        db.after_commit(lambda: wake(ERRANDS))


def _expected_file(message_id: str, item: MessageItem) -> ExpectedFile | None:
    """The row for the file of a message, None for a message without one."""
    kind = item.data.get('type')
    if not isinstance(kind, str):
        kind = ''
    is_file = kind in FILE_TYPES
    body = as_dict(item.data.get(kind)) if is_file else {}
    meta_id = identifier(body.get('id'))
    error = None
    if not meta_id:
        error = _error_in_place(is_file, told_errors(item.data)) or _error_without_id(body)
        if error is None:
            return None
    return ExpectedFile(
        id=new_id(),
        chatbot_id=item.account.chatbot_id,
        phone_number_id=item.phone_number_id,
        message_id=message_id,
        meta_id=meta_id,
        mime_type=clean(body.get('mime_type'), 255),
        filename=file_name(body.get('filename')),
        sha256=digest_of(body.get('sha256')),
        error=error,
    )


def _error_in_place(is_file: bool, errors: object) -> ErrorDict | None:
    """The error that Meta gives in the place of a file.

    Meta gives one also with a message that it calls unsupported.
    """
    for error in map(error_from, errors_in(errors)):
        says_something = error['code'] is not None or error['details']
        if says_something and (is_file or error['code'] == UNAVAILABLE):
            return error
    return None


def _error_without_id(body: dict[str, Any]) -> ErrorDict | None:
    """The error of a file that Meta describes without an id to fetch it by.

    For example with `"status": "undownloaded"`.
    """
    if not any(clean(body.get(name)) for name in DESCRIBING):
        return None
    status = clean(body.get('status'), 64)
    details = f'Its status is "{status}".' if status else None
    return make_error('Meta gave no file with this message', details=details, cause=UNAVAILABLE)


def file_name(value: object) -> str | None:
    """What a person called a file, without folders and control characters that could mislead."""
    name = NOT_IN_NAMES.sub('', clean(value) or '').replace('\\', '/').rsplit('/', 1)[-1].strip()
    return name[:255] if name.strip('.') else None
