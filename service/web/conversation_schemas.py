"""What callers may send about a conversation."""

from marshmallow import fields, validate

from service.content.fields import Body, Flag
from service.conversations.pause import MAX_MINUTES
from service.web.schema_fields import Text


class PauseSchema(Body):
    """A person takes the conversation; without minutes until it is resumed."""

    minutes = fields.Integer(
        strict=True, validate=validate.Range(1, MAX_MINUTES), allow_none=True, load_default=None
    )
    assignee = Text(allow_none=True)


class ResumeSchema(Body):
    """The responder has it again."""

    answer = Flag(load_default=False)


pause_schema = PauseSchema()
resume_schema = ResumeSchema()
