"""Pure: Meta's error codes as docs/meta.md (section 7) has them,
and the two shapes they come in.
"""

import random
import string

# code: (HTTP status, is_transient, title). Code 4 follows the OpenAPI file (429), the older page
# has 400.
CODES = {
    0: (401, False, 'AuthException'),
    1: (400, False, 'API Unknown'),
    2: (503, True, 'API Service'),
    3: (500, False, 'API Method'),
    4: (429, True, 'API Too Many Calls'),
    10: (403, False, 'Permission Denied'),
    33: (400, False, 'Parameter value is not valid'),
    100: (400, False, 'Invalid parameter'),
    104: (401, False, 'Access token required'),
    190: (401, False, 'Access token has expired'),
    200: (403, False, 'API Permission'),
    368: (403, False, 'Temporarily blocked for policies violations'),
    80007: (400, True, 'Rate limit issues'),
    130429: (400, True, 'Rate limit hit'),
    130472: (400, False, "User's number is part of an experiment"),
    130497: (403, False, 'Business account is restricted from messaging users in this country'),
    131000: (500, True, 'Something went wrong'),
    131005: (403, False, 'Access denied'),
    131008: (400, False, 'Required parameter is missing'),
    131009: (400, False, 'Parameter value is not valid'),
    131016: (500, True, 'Service unavailable'),
    131021: (400, False, 'Recipient cannot be sender'),
    131026: (400, False, 'Message undeliverable'),
    131030: (400, False, 'Recipient not in allowed list'),
    131031: (403, False, 'Account has been locked'),
    131037: (400, False, 'Display name approval required'),
    131042: (400, False, 'Business eligibility payment issue'),
    131045: (500, False, 'Incorrect certificate'),
    131047: (400, False, 'Re-engagement message'),
    131048: (400, False, 'Spam rate limit hit'),
    131049: (400, False, 'Not delivered to maintain healthy ecosystem engagement'),
    131050: (400, False, 'User has stopped receiving marketing messages from you'),
    131051: (400, False, 'Unsupported message type'),
    131052: (400, False, 'Media download error'),
    131053: (400, False, 'Media upload error'),
    131056: (400, True, 'Pair rate limit hit'),
    131057: (500, True, 'Account in maintenance mode'),
    131062: (400, False, 'Business-scoped user ids are not supported for this message'),
    132000: (400, False, 'Template parameter count mismatch'),
    132001: (404, False, 'Template does not exist'),
    132005: (400, False, 'Template hydrated text too long'),
    132007: (400, False, 'Template format character policy violated'),
    132012: (400, False, 'Template parameter format mismatch'),
    132018: (400, False, "There's an issue with the parameters in your template"),
    132015: (400, False, 'Template is paused'),
    132016: (400, False, 'Template is disabled'),
    132068: (400, False, 'Flow is blocked'),
    132069: (400, False, 'Flow is throttled'),
    133000: (500, True, 'Incomplete deregistration'),
    133004: (503, True, 'Server temporarily unavailable'),
    133010: (400, False, 'Phone number not registered'),
    133015: (400, True, 'Please wait a few minutes before registering this number'),
    133016: (400, False, 'Account register deregister rate limit exceeded'),
    134102: (500, False, 'Template unavailable for use'),
    135000: (400, False, 'Generic user error'),
    137000: (400, False, 'Recipient identity key hash mismatch'),
    2494100: (400, True, 'Phone number under maintenance'),
}

THROTTLING = frozenset((4, 80007, 130429, 131056))
ERRORS_PAGE = (
    'https://developers.facebook.com/documentation/business-messaging/whatsapp/support/error-codes/'
)
TRACE_ALPHABET = string.ascii_letters + string.digits + '_-'


def http_status(code: int) -> int:
    return CODES.get(code, (400,))[0]


def title(code: int) -> str:
    return CODES[code][2] if code in CODES else f"Error {code} of the simulator's making"


def graph_error(code: int, details: str | None = None) -> dict:
    """The body of a refused Graph call."""
    return {
        'error': {
            'message': f'(#{code}) {title(code)}',
            'type': 'OAuthException',
            'code': code,
            'error_data': {
                'messaging_product': 'whatsapp',
                'details': details or f'{title(code)}.',
            },
            'is_transient': CODES.get(code, (400, False))[1],
            'fbtrace_id': 'A' + ''.join(random.choices(TRACE_ALPHABET, k=22)),
        }
    }


def webhook_error(code: int) -> dict:
    """One of the `errors` of a failed status."""
    return {
        'code': code,
        'title': title(code),
        'message': title(code),
        'error_data': {'details': f'{title(code)}.'},
        'href': ERRORS_PAGE,
    }
