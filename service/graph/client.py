"""The client of the Graph API: a call, and what its answer means.

urllib3 is the engine of `requests`; used directly it costs less than half the CPU a call
(docs/performance.md).
"""

import json
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

from urllib3.exceptions import HTTPError

from service.content.person_id import named
from service.graph.connections import Answer, Connections, has_left, seconds_for
from service.graph.error_shapes import error_in
from service.graph.multipart import Form
from service.graph.outcome import (
    ErrorDict,
    MetaAnswer,
    Outcome,
    OutcomeKind,
    classify_error,
    error_from,
    make_error,
)
from service.runtime.bounded_answer import Unreadable
from service.runtime.untrusted import MAX_ID, as_dict, clean, identifier

JSON_BODY = {'Content-Type': 'application/json'}
DAY = 86400  # seconds; no wait that Meta asks for is longer
Understood = Callable[[dict[str, Any]], Outcome]  # what an answer that is a success means


class GraphClient:
    """Keep-alive connections to the Graph API for `concurrency` threads."""

    def __init__(self, concurrency: int = 8) -> None:
        self._meta = Connections(concurrency)

    def send(self, phone_number_id: str, access_token: str, body: dict[str, Any]) -> Outcome:
        """POST one message (section 6.1); raises nothing, whatever the network or Meta does."""
        return self._post(phone_number_id, access_token, body, _accepted)

    def mark_read(
        self, phone_number_id: str, access_token: str, wamid: str, typing: bool = False
    ) -> Outcome:
        """Show a customer's message as read, and the business as typing (section 6.2).

        Harmless to repeat.
        """
        body: dict[str, Any] = {
            'messaging_product': 'whatsapp',
            'status': 'read',
            'message_id': wamid,
        }
        if typing:
            body['typing_indicator'] = {'type': 'text'}
        return self._post(
            phone_number_id, access_token, body, lambda answer: Outcome(OutcomeKind.ACCEPTED)
        )

    def answers(self, phone_number_id: str, access_token: str) -> bool:
        """Whether anybody answers at all, asked with a read that does nothing."""
        try:
            answer = self._meta.call('GET', f'{phone_number_id}?fields=id', access_token)
        except HTTPError:
            return False
        return answer.status not in (500, 502, 503, 504)

    def upload(self, phone_number_id: str, access_token: str, form: Form) -> Outcome:
        """POST a file (section 6.3). Harmless to repeat, so the outcome is never unknown."""
        path = f'{phone_number_id}/media'
        seconds = seconds_for(form.size)
        outcome = self._call(path, access_token, form, form.headers, _uploaded, seconds)
        if outcome.kind != OutcomeKind.UNKNOWN:
            return outcome
        error: ErrorDict = {**outcome.reason, 'cause': 'unreachable'}
        return replace(outcome, kind=OutcomeKind.RETRY, error=error)

    def _post(
        self, phone_number_id: str, access_token: str, body: dict[str, Any], understood: Understood
    ) -> Outcome:
        return self._call(
            f'{phone_number_id}/messages', access_token, json.dumps(body), JSON_BODY, understood
        )

    def _call(
        self,
        path: str,
        access_token: str,
        body: str | Iterable[bytes],
        headers: Mapping[str, str],
        understood: Understood,
        seconds: float | None = None,
    ) -> Outcome:
        try:
            answer = self._meta.call('POST', path, access_token, body, headers, seconds)
        except HTTPError as error:
            return _no_answer(error)
        return _understand(answer, understood)


def _no_answer(error: HTTPError) -> Outcome:
    if not has_left():
        title = f'Meta could not be reached ({type(error).__name__})'
        return Outcome(OutcomeKind.RETRY, error=make_error(title, cause='unreachable'))
    title = f'No answer from Meta ({type(error).__name__})'
    if isinstance(error, Unreadable):
        title = f'Meta answered {error}'
    return Outcome(OutcomeKind.UNKNOWN, error=make_error(title, cause='no_answer'))


def _understand(answer: Answer, understood: Understood) -> Outcome:
    body = json_of(answer) or {}
    outcome = understood(body) if answer.status < 300 else refusal(answer, body)
    outcome.answer = MetaAnswer(answer.status, body) if body else None
    return outcome


def json_of(answer: Answer) -> dict[str, Any] | None:
    """The JSON object of an answer; None when it is not one."""
    try:
        body = json.loads(answer.data)
    except (ValueError, RecursionError):
        return None
    return body if isinstance(body, dict) else None


def refusal(answer: Answer, body: dict[str, Any]) -> Outcome:
    """The Outcome of an answer that is not a success; `body`: its JSON, a dict."""
    said = error_in(body)
    error = error_from(said) if said else make_error(f'Meta answered HTTP {answer.status}')
    is_graphs = error['code'] is not None or isinstance(body.get('error'), dict)
    if answer.status < 500 or is_graphs:
        return _refused(error, answer)
    title = f'Meta answered HTTP {answer.status} without a Graph error'
    words = ': '.join(filter(None, (error['title'], error['details']))) if said else None
    return Outcome(OutcomeKind.UNKNOWN, error=make_error(title, details=words, cause='http_5xx'))


def _accepted(body: dict[str, Any]) -> Outcome:
    wamid = clean(_first(body, 'messages').get('id'), MAX_ID)
    if not wamid:
        return Outcome(
            OutcomeKind.UNKNOWN,
            error=make_error('Meta answered without a message id', cause='no_id'),
        )
    contact = _first(body, 'contacts')
    ids = named(contact.get('user_id'), contact.get('wa_id'))
    return Outcome(
        OutcomeKind.ACCEPTED, wamid=wamid, wa_id=ids.get('phone'), user_id=ids.get('user')
    )


def _uploaded(body: dict[str, Any]) -> Outcome:
    media_id = identifier(body.get('id'))
    if not media_id:
        return Outcome(
            OutcomeKind.UNKNOWN, error=make_error('Meta answered without a media id', cause='no_id')
        )
    return Outcome(OutcomeKind.ACCEPTED, media_id=media_id)


def _first(body: dict[str, Any], name: str) -> dict[str, Any]:
    elements = body.get(name)
    return as_dict(elements[0]) if isinstance(elements, list) and elements else {}


def _refused(error: ErrorDict, answer: Answer) -> Outcome:
    wait = _retry_after(answer)
    return classify_error(error, answer.status, delay=wait, pause=wait or _regain(answer))


def _retry_after(answer: Answer) -> float | None:
    """Seconds; HTTP allows a number of them or a date."""
    asked = answer.headers.get('Retry-After', '')
    if asked.isascii() and asked.isdigit():
        return min(float(asked), DAY)
    with suppress(ValueError, OverflowError, TypeError):
        return min(max(0, (parsedate_to_datetime(asked) - datetime.now(UTC)).total_seconds()), DAY)
    return None


def _regain(answer: Answer) -> float | None:
    """Seconds until Meta gives access again; the header tells minutes (section 7)."""
    try:
        usage = json.loads(answer.headers.get('X-Business-Use-Case-Usage', '{}'))
        minutes = [
            one.get('estimated_time_to_regain_access') for uses in usage.values() for one in uses
        ]
    except (ValueError, RecursionError, TypeError, AttributeError):
        return None
    longest = max((one for one in minutes if isinstance(one, int | float) and one > 0), default=0)
    return min(longest * 60, DAY) or None
