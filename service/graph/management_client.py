"""The Graph API's other side: what a WhatsApp Business account owns.

Its templates are read, made and deleted.
"""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import parse_qs, quote, urlencode, urlsplit

from urllib3.exceptions import HTTPError

from service.graph.client import JSON_BODY, json_of, refusal
from service.graph.connections import MAX_ANSWER, Answer, Connections
from service.graph.outcome import Outcome, OutcomeKind, make_error
from service.runtime.bounded_answer import Unreadable
from service.runtime.untrusted import as_dict

FIELDS = (
    'id,name,language,status,category,components,parameter_format,quality_score,rejected_reason'
)
PAGE, MAX_PAGES = 100, 100  # templates; Meta allows 6000 of a WABA (section 8)
PATIENCE = 120  # seconds for all pages
LARGEST_LIST = 32 * 2**20  # bytes, decoded, of all pages


class ManagementError(Exception):
    """What Meta did not do, as an Outcome.

    `held` is about the account, `failed` about the request; others may pass by themselves.
    """

    def __init__(self, outcome: Outcome) -> None:
        super().__init__(outcome.reason['title'])
        self.outcome = outcome


def _refused(kind: OutcomeKind, title: str, cause: str | None = None) -> ManagementError:
    return ManagementError(Outcome(kind, error=make_error(title, cause=cause)))


class ManagementClient:
    """Connections to the Graph API for `concurrency` threads. Every call raises ManagementError."""

    def __init__(self, concurrency: int = 1) -> None:
        self._meta = Connections(concurrency)

    def templates(self, waba_id: str, token: str) -> list[Any]:
        """All templates of a WABA, as Meta gives them."""
        found: list[Any] = []
        after: str | None = None
        left = LARGEST_LIST  # bytes
        deadline = time.monotonic() + PATIENCE
        for _ in range(MAX_PAGES):
            query = {'fields': FIELDS, 'limit': PAGE} | ({'after': after} if after else {})
            answer = self._answer('GET', waba_id, token, query, most=left)
            page = understood(answer)
            left -= len(answer.data)
            if not isinstance(page.get('data'), list):
                raise _refused(
                    OutcomeKind.FAILED, 'Meta answered something that is no list of templates'
                )
            found += page['data']
            before = after
            after = _after(as_dict(page.get('paging')))
            if not after:
                return found
            if after == before or time.monotonic() > deadline:
                break
        raise _refused(OutcomeKind.RETRY, 'The list of templates does not end', 'unreachable')

    def create_template(self, waba_id: str, token: str, body: dict[str, Any]) -> dict[str, Any]:
        """Meta's answer: id, status, category."""
        return self._call('POST', waba_id, token, {}, body)

    def delete_template(
        self, waba_id: str, token: str, name: str, template_id: str | None = None
    ) -> dict[str, Any]:
        """All languages of a name, or the one of this id."""
        return self._call(
            'DELETE',
            waba_id,
            token,
            {'name': name} | ({'hsm_id': template_id} if template_id else {}),
        )

    def _call(
        self,
        method: str,
        waba_id: str,
        token: str,
        query: dict[str, Any],
        body: dict[str, Any] | None = None,
    ) -> dict[str, Any]:
        return understood(self._answer(method, waba_id, token, query, body))

    def _answer(
        self,
        method: str,
        waba_id: str,
        token: str,
        query: dict[str, Any],
        body: dict[str, Any] | None = None,
        most: int = MAX_ANSWER,
    ) -> Answer:
        path = f'{quote(waba_id, safe="")}/message_templates'
        if query:
            path += f'?{urlencode(query)}'
        text = json.dumps(body) if body else None
        headers = JSON_BODY if body else None
        with needs_answer():
            return self._meta.call(method, path, token, text, headers, most=most)


def _after(paging: dict[str, Any]) -> str | None:
    """The cursor of the next page, if there is one.

    Meta's address for it is not followed: it might lead elsewhere.
    """
    if not isinstance(paging.get('next'), str):
        return None
    after = as_dict(paging.get('cursors')).get('after')
    return (
        after
        if isinstance(after, str)
        else (parse_qs(urlsplit(paging['next']).query).get('after') or [None])[0]
    )


@contextmanager
def needs_answer() -> Iterator[None]:
    """Around a call: ManagementError when there is no answer, or one that cannot be read."""
    try:
        yield
    except Unreadable as error:
        raise _refused(OutcomeKind.RETRY, f'Meta answered {error}', 'no_answer') from None
    except HTTPError as error:
        title = f'No answer from Meta ({type(error).__name__})'
        raise _refused(OutcomeKind.UNKNOWN, title, 'no_answer') from None


def understood(answer: Answer) -> dict[str, Any]:
    """The JSON of an answer. Raises ManagementError when Meta refused, or it is none."""
    body = json_of(answer)
    if answer.status >= 300:
        raise ManagementError(refusal(answer, body or {}))
    if body is None:
        raise _refused(OutcomeKind.UNKNOWN, 'Meta answered something that is not JSON', 'no_answer')
    return body
