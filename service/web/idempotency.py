"""Idempotency-Key: the same key and request give the first answer again, and never a second
message.
"""

import hashlib
import json
from collections.abc import Callable

from flask import Response, current_app, request

from service.runtime.db import db, execute, fetch
from service.runtime.errors import GatewayError, Invalid
from service.runtime.untrusted import UNSTORABLE

FIND = 'SELECT request_digest, answer::text FROM idempotency_key WHERE chatbot_id = %s AND key = %s'
KEEP = """
INSERT INTO idempotency_key (chatbot_id, key, request_digest, answer) VALUES (%s, %s, %s, %s) ON CONFLICT DO NOTHING
"""


def digest(body):
    """Equal for equal JSON, whatever its spaces and the order of its keys."""
    return hashlib.sha256(json.dumps(body, sort_keys=True).encode()).digest()


class Once:
    """This request's key, if it has one, as `chatbot_id` was given.

    `digest()`: bytes that are equal for equal requests; it is asked when they are needed.
    """

    def __init__(self, chatbot_id: object, digest: Callable[[], bytes]) -> None:
        self.chatbot_id, self._digest = chatbot_id, digest
        self.key = _key()

    def first_answer_or(self, act: Callable[[], Response]) -> Response:
        """The answer of an earlier equal request before anything is looked at, else what `act`
        answers.

        And instead of a refusal, should the earlier request have ended meanwhile. Times pass and
        states change, so what was taken once might be refused now.
        """
        return self.first_answer() or self.instead_of_refusal(act)

    def instead_of_refusal(self, act: Callable[[], Response]) -> Response:
        """What `act` gives; the answer of an earlier equal request when `act` refuses this one."""
        try:
            return act()
        except GatewayError:
            if first := self.first_answer():
                return first
            raise

    def first_answer(self) -> Response | None:
        """The answer of an earlier request with the key, else None.

        Raises Invalid if that was another one.
        """
        is_id = isinstance(self.chatbot_id, str) and not UNSTORABLE.search(self.chatbot_id)
        rows = fetch(FIND, (self.chatbot_id, self.key)) if self.key and is_id else None
        if not rows:
            return None
        if bytes(rows[0][0]) != self._digest():
            sentence = 'Was used with another body.'
            problem = {'Idempotency-Key': [sentence]}
            raise Invalid(
                'This Idempotency-Key was used with another body.',
                problem,
                'idempotency_key_reused',
            )
        return Response(
            rows[0][1],
            202,
            content_type='application/json',
            headers={'Idempotent-Replayed': 'true'},
        )

    def answer(self, store: Callable[[], object]) -> Response | None:
        """202 with what `store` returns, kept under the key in the same transaction."""
        digest = self._digest() if self.key else None
        with db.atomic() as transaction:
            answer = current_app.json.dumps(store())
            if not self.key or execute(KEEP, (self.chatbot_id, self.key, digest, answer)):
                return Response(answer, 202, content_type='application/json')
            transaction.rollback()
        return self.first_answer()  # another request with this key was faster


def _key():
    key = request.headers.get('Idempotency-Key')
    if key is not None and (not 1 <= len(key) <= 255 or UNSTORABLE.search(key)):
        sentence = 'Must have 1 to 255 characters.'
        raise Invalid(
            'Idempotency-Key must have 1 to 255 characters.', {'Idempotency-Key': [sentence]}
        )
    return key
