"""Idempotency-Key: the same key and request give the first answer again, never a second message."""

import hashlib
import io
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import IO, Any, cast

from flask import Response, current_app, request

from service.runtime.db import db, execute, no_connection
from service.runtime.errors import GatewayError, Invalid
from service.runtime.rows import fetch_as
from service.runtime.untrusted import UNSTORABLE
from service.web.auth import current_key

READ_BYTES = 65536  # of a file that is only hashed, at a time
FIND_ANSWER = """
SELECT request_digest AS digest, answer::text AS answer
FROM idempotency_key WHERE chatbot_id = %s AND key = %s
"""
STORE_ANSWER = """
INSERT INTO idempotency_key (chatbot_id, key, request_digest, answer)
VALUES (%(chatbot_id)s, %(key)s, %(digest)s, %(answer)s) ON CONFLICT DO NOTHING
"""


@dataclass(slots=True)
class StoredAnswer:
    """The answer to the first request with a key, and which request that was."""

    digest: memoryview
    answer: str


def digest_of_body(body: dict[str, Any]) -> bytes:
    """Equal for equal JSON, whatever its spaces, the order of its keys and the form of numbers."""
    return hashlib.sha256(json.dumps(_with_whole_numbers(body), sort_keys=True).encode()).digest()


def _with_whole_numbers(value: Any) -> Any:
    """The same JSON; a number that is whole is an integer, as 1.0 and 1e0 are to JSON."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, list):
        return list(map(_with_whole_numbers, value))
    if not isinstance(value, dict):
        return value
    result = {}
    for name, part in value.items():  # no comprehension: each would count twice, as deep as it is
        result[name] = _with_whole_numbers(part)
    return result


class HashedStream(io.RawIOBase):
    """A stream that is hashed as it is read, after a text; its digest also reads what is left."""

    def __init__(self, stream: IO[bytes], text: str) -> None:
        self._stream = stream
        self._hash = hashlib.sha256(text.encode('utf-8', 'surrogatepass'))
        self._is_over = False

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: object) -> int:
        view = memoryview(cast(bytearray, buffer))
        data = self._stream.read(len(view))
        view[: len(data)] = data
        self._hash.update(data)
        self._is_over = not data
        return len(data)

    def digest(self) -> bytes:
        if not self._is_over:
            with no_connection():  # the caller may be slow
                while self.read(READ_BYTES):
                    pass
        return self._hash.digest()


class IdempotentRequest:
    """This request with its key, if it has one.

    `chatbot_id`: as it was given, not checked yet. `digest()`: bytes that are equal for equal
    requests; it is called when they are needed, because the end of a file may still have to come.
    `key`: in the place of the header's.
    """

    def __init__(
        self, chatbot_id: object, digest: Callable[[], bytes], key: str | None = None
    ) -> None:
        self.chatbot_id = chatbot_id
        self.key = key or _key()
        self._digest = digest

    def replay_or(self, act: Callable[[], Response]) -> Response:
        """The answer of an earlier equal request, else what `act` answers.

        The earlier answer comes before anything is checked: times pass and states change, so what
        was taken once might be refused now. It also stands in for a refusal, should the earlier
        request have ended meanwhile.
        """
        return self.first_answer() or self.replay_on_refusal(act)

    def replay_on_refusal(self, act: Callable[[], Response]) -> Response:
        """What `act` answers; where it refuses, the answer of an earlier equal request."""
        try:
            return act()
        except GatewayError:
            if first := self.first_answer():
                return first
            raise

    def first_answer(self) -> Response | None:
        """The answer of an earlier request with this key; Invalid when that was another request."""
        is_id = isinstance(self.chatbot_id, str) and not UNSTORABLE.search(self.chatbot_id)
        if not self.key or not is_id or not current_key().sees(str(self.chatbot_id)):
            return None
        found = fetch_as(StoredAnswer, FIND_ANSWER, (self.chatbot_id, self.key))
        if not found:
            return None
        if bytes(found[0].digest) != self._digest():
            raise Invalid(
                'This Idempotency-Key was used with another body.',
                {'Idempotency-Key': ['Was used with another body.']},
                'idempotency_key_reused',
            )
        return _accepted(found[0].answer, {'Idempotent-Replayed': 'true'})

    def answer(self, store: Callable[[], object]) -> Response:
        """202 with what `store` returns, stored under the key in the same transaction."""
        digest = self._digest() if self.key else None
        with db.atomic() as transaction:
            answer = current_app.json.dumps(store())
            if not self.key or self._keep(digest, answer):
                return _accepted(answer)
            transaction.rollback()
        first = self.first_answer()  # another request with this key was faster
        if first is None:
            raise LookupError('the answer of the faster request is not there any more')
        return first

    def _keep(self, digest: bytes | None, answer: str) -> bool:
        """Store the answer under the key; False when another request has stored one."""
        values = {'chatbot_id': self.chatbot_id, 'key': self.key, 'digest': digest}
        return bool(execute(STORE_ANSWER, values | {'answer': answer}))


def _accepted(answer: str, headers: dict[str, str] | None = None) -> Response:
    return Response(answer, 202, content_type='application/json', headers=headers)


def _key() -> str | None:
    key = request.headers.get('Idempotency-Key')
    if key is not None and (not 1 <= len(key) <= 255 or UNSTORABLE.search(key)):
        raise Invalid(
            'Idempotency-Key must have 1 to 255 characters.',
            {'Idempotency-Key': ['Must have 1 to 255 characters.']},
        )
    return key
