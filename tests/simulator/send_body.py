"""Pure: what Meta checks of a send before it accepts it, and how it reads a recipient."""

import re

# What a body may be of; `interactive` and the like are not looked into.
SEND_TYPES = (
    'audio',
    'contacts',
    'document',
    'image',
    'interactive',
    'location',
    'reaction',
    'sticker',
    'template',
    'text',
    'video',
    'pin',
)
MEDIA_TYPES = ('audio', 'document', 'image', 'sticker', 'video')
TEXT_LIMIT, OPAQUE_LIMIT = 4096, 512
USER_ID = re.compile(r'[A-Z]{2}\.[A-Za-z0-9.]+')
NOT_DIGITS = re.compile(r'\D')

Problem = tuple[int, str]


def digits_of(recipient: object) -> str:
    text = str(recipient)
    return text if text.isdigit() else NOT_DIGITS.sub('', text)


def is_user_id(recipient: object) -> bool:
    return (
        isinstance(recipient, str)
        and recipient[:1].isalpha()
        and bool(USER_ID.fullmatch(recipient))
    )


def magic_digits(body: dict) -> str:
    """The digits of `to`, or of a BSUID after its dot."""
    return digits_of(body['to']) if body.get('to') else str(body['recipient']).partition('.')[2]


def body_problem(body: object) -> Problem | None:
    """The Graph error code and its details, or None."""
    if not isinstance(body, dict):
        return 100, 'The body is not a JSON object.'
    if body.get('messaging_product') != 'whatsapp':
        return 100, 'The parameter messaging_product is required.'
    opaque = body.get('biz_opaque_callback_data')
    if opaque is not None and not (isinstance(opaque, str) and len(opaque) <= OPAQUE_LIMIT):
        return (
            100,
            f'biz_opaque_callback_data must be a string of at most {OPAQUE_LIMIT} characters.',
        )
    return recipient_problem(body) or content_problem(body)


def recipient_problem(body: dict) -> Problem | None:
    given = [name for name in ('to', 'recipient') if body.get(name)]
    if not given:
        return 100, 'The parameter to is required.'
    if len(given) == 2:
        return 131009, 'Only one of to and recipient may be given.'
    if given == ['recipient'] and not is_user_id(body['recipient']):
        return 131009, 'recipient is not a business-scoped user id.'
    if body.get('recipient_type') == 'group' or is_user_id(body.get('to')):
        return None
    if given == ['to'] and not 5 <= len(digits_of(body['to'])) <= 15:
        return 131009, 'to is not a phone number.'
    return None


def content_problem(body: dict) -> Problem | None:
    kind = body.get('type', 'text')
    if kind not in SEND_TYPES:
        return 100, f'Param type must be one of {{{", ".join(SEND_TYPES).upper()}}} - got "{kind}".'
    content = body.get(kind)
    if not isinstance(content, list if kind == 'contacts' else dict):
        return 100, f'The parameter {kind} is required.'
    if kind == 'text':
        return text_problem(content.get('body'))
    if kind in MEDIA_TYPES and not (content.get('id') or content.get('link')):
        return 100, f'{kind} needs an id or a link.'
    return None


def text_problem(text: object) -> Problem | None:
    if not isinstance(text, str) or not text:
        return 100, "The parameter text['body'] is required."
    if len(text) > TEXT_LIMIT:
        return 100, f"Param text['body'] must be at most {TEXT_LIMIT} characters long."
    return None
