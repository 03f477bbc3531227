"""What callers may send about templates, checked before anything is done."""

from typing import Any

from marshmallow import INCLUDE, fields, validate, validates_schema

from service.content.fields import Body, fits_in, without_nulls
from service.web.schema_fields import Text, template_name_form

MAX_COMPONENTS = 25
CATEGORIES = ('MARKETING', 'UTILITY', 'AUTHENTICATION')
PARAMETER_FORMATS = ('POSITIONAL', 'NAMED')


class NewTemplateSchema(Body):
    """Meta's body of a new template: the fields named here are checked, the rest is handed on."""

    class Meta:
        unknown = INCLUDE

    chatbot_id = Text(required=True)
    name = fields.String(required=True, validate=template_name_form)
    language = Text(maximum=64, required=True)
    category = fields.String(required=True, validate=validate.OneOf(CATEGORIES))
    components = fields.List(
        fields.Dict(), required=True, validate=validate.Length(1, MAX_COMPONENTS)
    )
    parameter_format = fields.String(validate=validate.OneOf(PARAMETER_FORMATS))

    def given(self, data: object) -> object:
        return without_nulls(data)

    @validates_schema(pass_original=True)
    def check_size(self, data: dict[str, Any], original: object, **_: object) -> None:
        fits_in(original)


class SyncSchema(Body):
    """Whose templates shall be read again."""

    chatbot_id = Text(required=True)


new_template_schema = NewTemplateSchema()
sync_schema = SyncSchema()
