"""The kinds of fields of this API's own bodies, beside those of Meta's (content/fields.py)."""

import base64
import re
from datetime import UTC, datetime

from marshmallow import ValidationError, fields, validate

from service.content.fields import MAX_LINK, storable, visible
from service.runtime import public_address
from service.runtime.db import no_connection
from service.runtime.env_values import UNSEEN
from service.runtime.ids import ID

NUMBER_ID = re.compile(r'\A[A-Za-z0-9_-]{1,64}\Z')  # it becomes part of a URL
# It becomes part of a URL, too, and clients resolve "." and "..".
CHATBOT_ID = re.compile(r'\A(?!\.{1,2}\Z)[A-Za-z0-9._@:+-]{1,255}\Z')
TEMPLATE_NAME = re.compile(r'\A[a-z0-9_]{1,512}\Z')
# It becomes a header. Quotes at its beginning were copied with it by mistake.
ACCESS_TOKEN = re.compile(r'\A(?!["\'])[!-~]{1,4096}\Z')
USER_INFO = (
    'No user or password may stand before the host: this address is shown again. '
    'A secret belongs into "{}", which never is.'
)
SECRET_BYTES = 12  # of a webhook secret, decoded; Standard Webhooks advises 24 to 64
YEARS = range(1970, 9999)  # a change of the offset never leads out of the calendar


class Text(fields.String):
    """A string that a text column can hold, of a given length, and that shows something."""

    def __init__(
        self, maximum: int = 255, required: bool = False, allow_none: bool | None = None
    ) -> None:
        super().__init__(
            validate=[validate.Length(1, maximum), storable, visible],
            required=required,
            allow_none=allow_none,
        )


class Pasted(fields.String):
    """A secret, id or address that was copied from a page: blanks around it are taken off."""

    def _deserialize(self, value: object, attr: str | None, data: object, **options: object) -> str:
        stripped = value.strip() if isinstance(value, str) else value
        return super()._deserialize(stripped, attr, data, **options)


class PastedURL(Pasted, fields.URL):
    """An http or https URL that was copied; a host on the local network needs no dot."""

    def __init__(self, required: bool = False) -> None:
        super().__init__(
            required=required,
            schemes={'http', 'https'},
            require_tld=False,
            validate=[validate.Length(1, MAX_LINK), wholly_visible],
        )


class PublicURL(PastedURL):
    """The same that leads to a public address, as far as its name can be resolved now.

    It is shown again, so no password stands in it. `secret`: the field that one belongs into.
    """

    def __init__(self, secret: str, required: bool = False) -> None:
        super().__init__(required=required)
        self.secret = secret

    def _deserialize(self, value: object, attr: str | None, data: object, **options: object) -> str:
        url = super()._deserialize(value, attr, data, **options)
        if _has_user_info(url):
            raise ValidationError(USER_INFO.format(self.secret))
        try:
            with no_connection():
                public_address.check_url(url)
        except public_address.NotPublic as problem:
            raise ValidationError(f'{problem}') from None
        return url


def _has_user_info(url: str) -> bool:
    authority = re.split(r'[/?#\\]', url.partition('//')[2], maxsplit=1)[0]
    return '@' in authority


class Timestamp(fields.AwareDateTime):
    """A time with its offset, given on in UTC: PostgreSQL takes no offset of 16 hours."""

    def _deserialize(
        self, value: object, attr: str | None, data: object, **options: object
    ) -> datetime:
        at = super()._deserialize(value, attr, data, **options)
        if at.year not in YEARS:
            raise ValidationError('Not a time of this age.')
        return at.astimezone(UTC)


def wholly_visible(value: str) -> None:
    """A validator: no character that a person who compares two texts would miss."""
    if UNSEEN.search(value):
        raise ValidationError('Holds a character that cannot be seen.')


def webhook_secret(value: str) -> None:
    """A validator: a secret of Standard Webhooks, "whsec_" and base64."""
    try:
        key = base64.b64decode(value.removeprefix('whsec_'), validate=True)
    except ValueError:
        key = b''
    if not value.startswith('whsec_') or len(key) < SECRET_BYTES:
        raise ValidationError(f'Must be whsec_ and base64 of at least {SECRET_BYTES} bytes.')


message_id_form = validate.Regexp(rf'\A{ID}\Z', error='Not the id of a message.')
number_id_form = validate.Regexp(NUMBER_ID, error="Not an id of Meta's.")
chatbot_id_form = validate.Regexp(
    CHATBOT_ID,
    error='Must be 1 to 255 characters, letters a to z, digits and . _ - @ : +, '
    'and neither "." nor ".."',
)
template_name_form = validate.Regexp(
    TEMPLATE_NAME, error='Must be 1 to 512 characters of a-z, 0-9 and _.'
)
token_form = validate.Regexp(
    ACCESS_TOKEN, error='Not a token: 1 to 4096 ASCII characters, no space, no quotes around it.'
)
