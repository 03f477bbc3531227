"""Pure: the classes of errors, and what is known of one error."""

from dataclasses import dataclass
from enum import StrEnum


class ErrorClass(StrEnum):
    """What the gateway does by itself about an error."""

    TRANSIENT = 'transient'
    DEFERRED = 'deferred'
    PERMANENT = 'permanent'
    ACCOUNT = 'account'
    AMBIGUOUS = 'ambiguous'


CLASSES = {
    ErrorClass.TRANSIENT: (
        'it is tried again by itself after 2, 4 and 8 seconds, or later when Meta asks for it; '
        'then it fails'
    ),
    ErrorClass.DEFERRED: (
        'it is sent again after the time given, or when Meta reports that the cause is gone'
    ),
    ErrorClass.PERMANENT: 'final for this message: it is not tried again',
    ErrorClass.ACCOUNT: (
        'nothing can be sent until somebody acts: the account is held, its messages wait for a '
        'new token or a resume'
    ),
    ErrorClass.AMBIGUOUS: (
        'nobody knows whether it was sent: Meta may still report it, so it is not repeated at once'
    ),
}
SCOPES = {
    'pair': 'messages to this recipient',
    'number': 'this phone number',
    'app': 'the whole app',
    'waba': 'the WhatsApp Business account',
    'template': 'messages with this template',
    'bulk': 'bulk sending',
}

FIX_LOST = (
    'If Meta reports it, it was sent; else on_unknown of the account decides. Sent by hand, it '
    'may arrive twice.'
)
FIX_RETRIED = 'It is tried again by itself. If that fails too, send it again later.'
FIX_WAIT = 'Nothing to do: it is sent again by itself after the wait.'
FIX_NOT_OURS = (
    'This is no answer to a message: look at what else uses this token, and ask Meta with the '
    'fbtrace_id.'
)
FIX_SIGN_IN = 'Make a new access token in Meta Business Settings and save it to this account.'


Key = int | tuple[int, ...] | range  # a code, several of them, or a range


@dataclass(frozen=True)
class KnownError:
    """What is known of an error: for people two sentences, for the gateway the rest."""

    error_class: ErrorClass
    sentence: str
    fix: str
    delay: int | None = None  # seconds
    scope: str | None = None  # what else it slows down or stops: a key of SCOPES


def transient(sentence: str, fix: str, scope: str | None = None) -> KnownError:
    return KnownError(ErrorClass.TRANSIENT, sentence, fix, scope=scope)


def deferred(
    sentence: str, fix: str, delay: int | None = None, scope: str | None = None
) -> KnownError:
    return KnownError(ErrorClass.DEFERRED, sentence, fix, delay, scope)


def permanent(sentence: str, fix: str) -> KnownError:
    return KnownError(ErrorClass.PERMANENT, sentence, fix)


def account(sentence: str, fix: str, scope: str | None = None) -> KnownError:
    return KnownError(ErrorClass.ACCOUNT, sentence, fix, scope=scope)


def ambiguous(sentence: str, fix: str) -> KnownError:
    return KnownError(ErrorClass.AMBIGUOUS, sentence, fix)
