"""What can go wrong for a caller.

GatewayError                 each knows its HTTP status and its code; the docstring is its title
├── BadRequest               400
├── Unauthorized             401
├── Forbidden                403
├── NotFound                 404
├── RequestTimeout           408   trying again helps
├── Conflict                 409
├── Gone                     410
├── Invalid                  422   with errors: {field: [message]}
├── TooManyQueued            429   trying again helps
└── Unavailable              503   trying again helps
"""

from typing import Any

# code: (what it means, what to do). Programs compare codes, so one that was shipped keeps its name
# and its meaning.
CODES = {
    'bad_request': ('The request cannot be read as HTTP or as this API wants it.', 'See detail.'),
    'malformed_json': (
        'The body is not a JSON object.',
        'Send one JSON object as application/json.',
    ),
    'body_incomplete': (
        'The connection brought less of the body than was announced; nothing was stored.',
        'Send the request again, whole.',
    ),
    'request_timeout': (
        'The request came too slowly; nothing was stored.',
        'Send its head within 10 seconds, and its body without long pauses.',
    ),
    'nested_too_deeply': ('The JSON has too many levels.', 'Send what the documentation shows.'),
    'signature_invalid': (
        'X-Hub-Signature-256 is missing, or is not that of the body.',
        'Compare the app secret with the one of the Meta app; see that no proxy changes the body.',
    ),
    'account_inactive': (
        'The account was deactivated.',
        'Save its access_token again, which activates it.',
    ),
    'unauthorized': (
        'No API key, a wrong one, or one that has expired or was deleted, came with the request.',
        'Send Authorization: Bearer <key>.',
    ),
    'scope_missing': (
        'The API key may not do this: it lacks the scope that is named.',
        'Use a key with that scope; a key of API_KEYS makes one with POST /keys.',
    ),
    'verification_refused': (
        'The webhook was asked for with another verify token.',
        "Give Meta the word of WHATSAPP_VERIFY_TOKEN, or the account's own on its own path.",
    ),
    'not_found': (
        'There is nothing under this address or id.',
        'Look at the id, and whether it is of this gateway.',
    ),
    'unknown_chatbot': ('There is no account of this chatbot_id.', 'Create it with POST /account.'),
    'method_not_allowed': (
        'The address is not asked with this method.',
        'Allow names those that are.',
    ),
    'conflict': ('The present state does not allow it.', 'See detail.'),
    'number_taken': (
        'The phone_number_id belongs to another chatbot.',
        'Use that chatbot, or give it another number first.',
    ),
    'waba_taken': (
        'The waba_id is that of a chatbot which the API key does not see.',
        'Look at the waba_id; where they share it, save it with a key of API_KEYS.',
    ),
    'window_closed': (
        'The customer last wrote more than 24 hours ago.',
        'Send a template, or name a fallback_template.',
    ),
    'opted_out': (
        'The person wants no marketing.',
        'Send none until they want it; all else still goes.',
    ),
    'reply_overtaken': (
        'The customer has written again since the message that is answered.',
        'Wait for the question about the new message, or send with "force": true.',
    ),
    'reply_too_late': (
        "The answer comes later than the account's reply_ttl_seconds after the message.",
        'Raise reply_ttl_seconds, or send with "force": true.',
    ),
    'conversation_paused': (
        'A person has taken the conversation over: no responder answers in it.',
        'Wait until it is resumed, or send with "force": true.',
    ),
    'nobody_left': (
        'No recipient of the bulk may get this message now.',
        'See dropped and dropped_rows.',
    ),
    'not_cancellable': ('The message has left, or has ended.', 'Look at its status.'),
    'not_retryable': ('Only failed and unknown messages are sent anew.', 'Look at its status.'),
    'media_gone': (
        "The file was deleted: it is older than the account's retention.media_days.",
        'Nothing brings it back; raise media_days for those to come.',
    ),
    'body_gone': (
        'The webhook is stored without its body: that was erased, or too old to be kept.',
        'Nothing brings it back; retention of the accounts says how long bodies are kept.',
    ),
    'gone': ('It is no longer kept.', 'See detail.'),
    'payload_too_large': ('The body is larger than this address takes.', 'Send less at a time.'),
    'unsupported_media_type': (
        'The Content-Type is not one that this address takes.',
        'Send application/json.',
    ),
    'range_not_satisfiable': (
        'The file has no such bytes.',
        'Content-Range tells how many it has.',
    ),
    'invalid': ('One or more fields are not valid.', 'errors names each field and its limit.'),
    'idempotency_key_reused': (
        'The Idempotency-Key was used with another body.',
        'Use a new key for each new request.',
    ),
    'too_many_queued': (
        'More than MAX_QUEUED messages of the chatbot would wait.',
        'Try again after Retry-After.',
    ),
    'too_many_waiters': (
        'Too many callers wait for events already.',
        'Ask again after Retry-After, or without "wait".',
    ),
    'too_many_requests': (
        'Too many such requests are under way already.',
        'Try again after Retry-After.',
    ),
    'internal_error': ('A fault of the gateway.', 'Look for the Request-Id in the log.'),
    'unavailable': (
        'Something that is needed is away for the moment.',
        'Try again after Retry-After.',
    ),
    'database_away': ('PostgreSQL is away; nothing was stored.', 'Try again after Retry-After.'),
    'storage_away': ('The storage for files is away.', 'Try again; look at MEDIA_URL.'),
    'meta_unreachable': (
        'Meta did not answer the call that this needs.',
        'Try again after Retry-After.',
    ),
}


class GatewayError(Exception):
    """Internal error"""

    status = 500
    code: str | int = 'internal_error'
    retry_after: int | None = None
    is_logged = False  # True once a line in the log tells of it

    def __init__(
        self,
        detail: str | None = None,
        errors: dict[str, Any] | None = None,
        code: str | int | None = None,
        **members: object,
    ) -> None:
        """`code`: one of CODES that says more than the class; a number is Meta's own.

        `members`: what else a program needs to know, beside the sentence for people.
        """
        super().__init__(detail or self.title)
        self.detail = detail
        self.errors = errors
        self.code = type(self).code if code is None else code
        self.members = members

    @property
    def title(self) -> str:
        return type(self).__doc__ or ''


class BadRequest(GatewayError):
    """Bad request"""

    status = 400
    code = 'bad_request'


class Unauthorized(GatewayError):
    """A valid API key is required"""

    status = 401
    code = 'unauthorized'


class Forbidden(GatewayError):
    """Not allowed"""

    status = 403
    code = 'scope_missing'


class NotFound(GatewayError):
    """Not found"""

    status = 404
    code = 'not_found'


class RequestTimeout(GatewayError):
    """Request timeout"""

    status = 408
    code = 'request_timeout'


class Conflict(GatewayError):
    """Conflict with the present state"""

    status = 409
    code = 'conflict'


class Gone(GatewayError):
    """No longer kept"""

    status = 410
    code = 'gone'


class Invalid(GatewayError):
    """The request is not valid"""

    status = 422
    code = 'invalid'


class TooManyQueued(GatewayError):
    """Too many messages are waiting"""

    status = 429
    code = 'too_many_queued'
    retry_after = 5


class TooManyRequests(GatewayError):
    """Too many such requests at once"""

    status = 429
    code = 'too_many_requests'
    retry_after = 2


class Unavailable(GatewayError):
    """Temporarily unavailable"""

    status = 503
    code = 'unavailable'
    retry_after = 2
