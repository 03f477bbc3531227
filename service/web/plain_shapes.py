"""What goes in and out that is no JSON of ours, as JSON Schema for the OpenAPI document."""

from service.web.responses import JSONObject

TEXT: JSONObject = {'type': 'string'}
FILE: JSONObject = {'type': 'string', 'contentMediaType': 'application/octet-stream'}
# Whole, the range that was asked for, known already, not what was asked for.
FILE_STATUSES = (200, 206, 304, 412)
UPLOAD: JSONObject = {
    'type': 'object',
    'properties': {
        'chatbot_id': {'type': 'string', 'minLength': 1},
        'file': FILE | {'description': 'With its name; 16 to 100 MB at most, by its kind.'},
        'type': {'type': 'string', 'description': 'Its MIME type; the content decides.'},
        'filename': {'type': 'string', 'description': 'Instead of the name of the part.'},
        'messaging_product': {'type': 'string', 'description': "Of Meta's own form; not used."},
    },
    'required': ['chatbot_id', 'file'],
    'additionalProperties': False,
}
CSV: JSONObject = {
    'type': 'string',
    'description': 'A header line, then a recipient a line: `to` or `recipient`, and a column for '
    'each placeholder. The order stands in the query.',
}
USAGE_CSV: JSONObject = {
    'type': 'string',
    'description': 'The rows of `data` with a header line.',
}
METAS_WEBHOOK: JSONObject = {
    'type': 'object',
    'description': "Meta's webhook. Whatever it holds is stored, if the signature is right.",
    'properties': {
        'object': {'const': 'whatsapp_business_account'},
        'entry': {'type': 'array', 'items': {'type': 'object'}},
    },
}
METAS_MESSAGE: JSONObject = {
    'type': 'object',
    'description': "Meta's send body, as its own pages and clients write it.",
    'properties': {
        'messaging_product': {'const': 'whatsapp'},
        'to': {'type': 'string'},
        'type': {'type': 'string'},
    },
}
METAS_ANSWER: JSONObject = {'type': 'object', 'description': "Meta's answer, as it is."}
SIGNATURE: JSONObject = {
    'name': 'X-Hub-Signature-256',
    'in': 'header',
    'required': True,
    'description': '`sha256=` and the HMAC of the raw body with the app secret, in hex.',
    'schema': {'type': 'string'},
}
