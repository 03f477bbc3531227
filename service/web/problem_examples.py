"""An example of every error, as the API gives it: its HTTP status, and what its answer says."""

import json
from http import HTTPStatus
from typing import Any

from service.runtime.errors import CODES, GatewayError
from service.web.responses import JSONObject, problem_body

# By HTTP status: the codes that stand with it.
BY_STATUS: dict[int, tuple[str, ...]] = {
    400: (
        'bad_request',
        'malformed_json',
        'body_incomplete',
        'nested_too_deeply',
        'signature_invalid',
        'account_inactive',
    ),
    401: ('unauthorized',),
    403: ('scope_missing', 'verification_refused'),
    404: ('not_found', 'unknown_chatbot'),
    405: ('method_not_allowed',),
    408: ('request_timeout',),
    409: (
        'conflict',
        'number_taken',
        'waba_taken',
        'window_closed',
        'opted_out',
        'reply_overtaken',
        'reply_too_late',
        'conversation_paused',
        'nobody_left',
        'not_cancellable',
        'not_retryable',
        'refused_account',
    ),
    410: ('gone', 'media_gone', 'body_gone'),
    413: ('payload_too_large',),
    415: ('unsupported_media_type',),
    416: ('range_not_satisfiable',),
    422: ('invalid', 'idempotency_key_reused', 'refused_by_meta'),
    429: ('too_many_queued', 'too_many_waiters', 'too_many_requests'),
    500: ('internal_error',),
    503: ('unavailable', 'database_away', 'storage_away', 'meta_unreachable', 'meta_busy'),
}
STATUS_OF = {code: status for status, codes in BY_STATUS.items() for code in codes}
# What several views refuse alike.
SENDING = (
    'unknown_chatbot',
    'account_inactive',
    'window_closed',
    'opted_out',
    'reply_overtaken',
    'reply_too_late',
    'conversation_paused',
    'too_many_queued',
    'idempotency_key_reused',
)
AT_META = (
    'unknown_chatbot',
    'conflict',
    'refused_account',
    'refused_by_meta',
    'meta_unreachable',
    'meta_busy',
)
NO_FILE = ('conflict', 'media_gone', 'range_not_satisfiable', 'storage_away')
# The ones that Meta gives the code of, and an example of such a code.
METAS = {'refused_account': 190, 'refused_by_meta': 2388042, 'meta_busy': 131016}
# What an example says besides the meaning of its code.
TOLD: dict[str, dict[str, Any]] = {
    'unauthorized': {'detail': 'Send "Authorization: Bearer <key>" with one of API_KEYS.'},
    'scope_missing': {'detail': 'The key lacks the scope "send".', 'scope': 'send'},
    'not_found': {'detail': 'There is no such message.'},
    'unknown_chatbot': {'detail': 'There is no chatbot "acme".'},
    'malformed_json': {'detail': 'The body is not valid JSON.'},
    'account_inactive': {'detail': 'The account "acme" is inactive.'},
    'window_closed': {
        'detail': 'The customer last wrote more than 24 hours ago: the window closed at '
        '2026-11-21T09:30:00.000000Z.',
        'window_closed_at': '2026-11-21T09:30:00.000000Z',
    },
    'opted_out': {
        'opted_out_at': '2026-11-20T12:00:00.000000Z',
        'opted_out_by': 'keyword',
    },
    'reply_overtaken': {'overtaken_by': '01a20465-3e1c-7ae0-975e-2ddafdfbf485'},
    'conversation_paused': {'paused_until': '2026-11-22T18:30:00.000000Z'},
    'nobody_left': {'dropped': 1, 'dropped_rows': [{'line': 1, 'errors': {'to': ['Opted out.']}}]},
    'not_cancellable': {'detail': 'The message is cancelled and can no longer be cancelled.'},
    'invalid': {
        'detail': 'One or more fields are not valid; see errors.',
        'errors': {'text.body': ['1 to 4096 characters are allowed, this has 5000.']},
    },
    'idempotency_key_reused': {
        'errors': {'Idempotency-Key': ['Was used with another request.']},
    },
    'internal_error': {'detail': 'Something unexpected happened; it was logged.'},
    'refused_account': {
        'detail': 'Meta: Error validating access token',
        'fbtrace_id': 'AXkgc5mGFwzdQ',
        'explanation': 'The access token has expired or was withdrawn.',
        'fix': 'Make a new access token in Meta Business Settings and save it to this account.',
    },
    'meta_busy': {
        'detail': 'Meta: Service unavailable',
        'fbtrace_id': 'AXkgc5mGFwzdQ',
        'explanation': "Meta's service is not available at the moment.",
        'fix': 'Try again after Retry-After.',
    },
    'refused_by_meta': {
        'detail': 'Meta: Invalid parameter (The template has too many variables.)',
        'fbtrace_id': 'AXkgc5mGFwzdQ',
        'explanation': 'Meta does not take a template as it is.',
        'fix': "Read details, which are Meta's words, change the template and create it again.",
    },
}


def example(code: str) -> JSONObject:
    """The answer of a refusal with this code, by the function that makes the real ones."""
    status = STATUS_OF[code]
    told = dict(TOLD.get(code, {}))
    detail = told.pop('detail', None) or CODES[code][0]
    errors = told.pop('errors', None)
    body = problem_body(status, title(status), detail, errors, METAS.get(code, code), **told)
    shown: JSONObject = json.loads(body)
    return shown


def title(status: int) -> str:
    """What answers of this status are called."""
    own = {kind.status: kind.__doc__ for kind in GatewayError.__subclasses__()}
    return own.get(status) or HTTPStatus(status).phrase
