"""What became of one call to the Graph API, and what Meta's error makes of it."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Any, NotRequired, TypedDict

from service.graph.error_class import ErrorClass
from service.graph.error_codes import look_up
from service.graph.error_shapes import code_in, details_in, errors_in, title_in
from service.runtime.untrusted import clean


class OutcomeKind(StrEnum):
    """What became of one call, in one word: the log and `tries` of a message show it."""

    ACCEPTED = 'accepted'
    RETRY = 'retry'
    FAILED = 'failed'
    HELD = 'held'
    UNKNOWN = 'unknown'
    POSTPONED = 'postponed'  # no call was made: it is not its time
    EXPIRED = 'expired'  # no call was made: it is too late


class ErrorDict(TypedDict):
    """The contract's `error`, as it stands in rows and is shown to callers.

    `code`: Meta's; `cause`: ours where Meta has no code for it (error_codes.OUR_OWN), not shown.
    """

    code: int | None
    title: str
    details: str | None
    fbtrace_id: str | None
    cause: NotRequired[str | int]


KINDS = {
    ErrorClass.TRANSIENT: OutcomeKind.RETRY,
    ErrorClass.DEFERRED: OutcomeKind.RETRY,
    ErrorClass.ACCOUNT: OutcomeKind.HELD,
    ErrorClass.PERMANENT: OutcomeKind.FAILED,
    ErrorClass.AMBIGUOUS: OutcomeKind.UNKNOWN,
}
LOST = frozenset(('no_answer', 'http_5xx', 'no_id'))  # causes: nobody knows whether it was sent
NO_GRAPH_ANSWER = LOST | {'unreachable'}


@dataclass(frozen=True, slots=True)
class MetaAnswer:
    """What Meta said, as JSON. `status`: of HTTP."""

    status: int
    body: dict[str, Any]


@dataclass(slots=True)
class Outcome:
    """What became of one call."""

    kind: OutcomeKind
    wamid: str | None = None
    wa_id: str | None = None
    user_id: str | None = None
    media_id: str | None = None  # of an upload
    error: ErrorDict | None = None
    delay: float | None = None  # seconds, when more is asked for than the retry policy gives
    blocks_conversation: bool = True  # a retry holds up the messages behind it
    scope: str | None = None  # what else slows down or stops (error_codes.SCOPES)
    pause: float | None = None  # seconds that Meta wants the scope to pause
    answer: MetaAnswer | None = None  # None: there was none, or no JSON object

    @property
    def code(self) -> int | None:
        """Meta's code of its error, None when it has no error or Meta gave no code."""
        return self.error['code'] if self.error else None

    @property
    def reason(self) -> ErrorDict:
        """The error of an outcome that has one, as every call has that Meta did not accept."""
        if self.error is None:
            raise ValueError(f'{self.kind} has no error')
        return self.error

    @property
    def tells_of_meta(self) -> bool | None:
        """Whether Meta is there; None when this outcome says nothing about that.

        A transient error and a lost connection say that it is not.
        """
        if self.kind == OutcomeKind.ACCEPTED:
            return True
        if not self.error or self.scope == 'pair':
            return None
        if cause := self.error.get('cause'):
            return False if cause in NO_GRAPH_ANSWER else None
        if self.kind != OutcomeKind.RETRY and self.error.get('code') is None:
            return None  # HTTP alone: it may come from whatever stands between
        return self.kind != OutcomeKind.RETRY or not self.blocks_conversation


def classify_error(
    error: ErrorDict,
    http_status: int = 400,
    delay: float | None = None,
    pause: float | None = None,
) -> Outcome:
    """The Outcome that the error table gives an error, of an answer or of a `failed` status."""
    known = look_up(error['code'], http_status)
    is_deferred = known.error_class == ErrorClass.DEFERRED
    kind = KINDS[known.error_class]
    if is_deferred and known.delay is None:
        kind = OutcomeKind.HELD
    return Outcome(
        kind,
        error=error,
        delay=max(filter(None, (known.delay, delay)), default=None),
        blocks_conversation=not is_deferred,
        scope=known.scope,
        pause=pause,
    )


def make_error(
    title: str,
    code: int | None = None,
    details: str | None = None,
    fbtrace_id: str | None = None,
    cause: str | int | None = None,
) -> ErrorDict:
    """An error of ours, or one of Meta's in the contract's form."""
    error: ErrorDict = {
        'code': code,
        'title': title,
        'details': details,
        'fbtrace_id': fbtrace_id,
    }
    if cause:
        error['cause'] = cause
    return error


def error_from(meta: dict[str, Any]) -> ErrorDict:
    """Meta's error object (an answer's or a status's) as the contract's `error`."""
    return make_error(
        clean(title_in(meta), 500) or 'Error',
        code_in(meta),
        clean(details_in(meta), 2000),
        clean(meta.get('fbtrace_id'), 255),
    )


def first_error(errors: object) -> ErrorDict | None:
    """The first of Meta's `errors`, whatever their shape, as the contract's `error`, or None."""
    found = errors_in(errors)
    return error_from(found[0]) if found else None
