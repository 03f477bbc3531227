"""Pure: a checked message on its way out, and what its content says about it."""

from dataclasses import dataclass, field
from datetime import datetime

from service.billing.ledger import AIUsage
from service.content.message_schema import is_one_time_code
from service.content.message_types import TEXT_LIMIT
from service.content.plain_text import read
from service.content.text_split import split
from service.messages.message import related_wamid
from service.sending.personalisation import Body
from service.templates.rendering import render
from service.templates.template import Template, TemplateKey, Templates, template_key


@dataclass(slots=True)
class OutboundMessage:
    """A checked message to one conversation, and what follows from its content.

    `templates`: what is known of the templates that the body names (template.find_templates).
    `is_marketing`: whether it is of Meta's category marketing, or its fallback is.
    `relates_to`: the wamid that a reaction, an edit or a revoke is about. `ai_usage`: what the
    answer took of which it is the first message. `expires_at`: of a reply.
    """

    conversation_id: str
    body: Body
    templates: Templates
    ai_usage: AIUsage | None = None
    expires_at: datetime | None = None
    type: str = field(init=False)
    template_key: TemplateKey | None = field(init=False)
    template: Template | None = field(init=False)
    is_marketing: bool = field(init=False)
    is_one_time_code: bool = field(init=False)
    relates_to: str | None = field(init=False)

    def __post_init__(self) -> None:
        self.type = self.body.get('type') or 'text'
        self.template_key = template_key(self.body)
        self.template = self.templates.get(self.template_key)
        fallback = self.templates.get(template_key(self.body, 'fallback_template'))
        self.is_marketing = any(one.is_marketing for one in (self.template, fallback) if one)
        self.is_one_time_code = is_one_time_code(self.body)
        self.relates_to = related_wamid(self.type, self.content)

    @property
    def content(self) -> object:
        """What stands under the key that is named like the type."""
        return self.body[self.type]

    @property
    def needs_open_window(self) -> bool:
        """Whether only an open window lets it through: no template, and not forced."""
        return self.type != 'template' and not self.body.get('force')

    def fallback(self) -> 'OutboundMessage':
        """The template that is sent instead of it."""
        return OutboundMessage(self.conversation_id, with_fallback(self.body), self.templates)

    def texts(self) -> list[str]:
        """What a person would read in it, and in the fallback that may go instead."""
        shown = [rendered_text(self.type, self.content, self.template)]
        if content := self.body.get('fallback_template'):
            template = self.templates.get(template_key(self.body, 'fallback_template'))
            shown.append(rendered_text('template', content, template))
        return shown

    def parts(self) -> list['OutboundMessage']:
        """The messages that it becomes, see split_text."""
        if not _is_split(self.body):
            return [self]
        return [
            OutboundMessage(self.conversation_id, part, self.templates)
            for part in split_text(self.body)
        ]


def rendered_text(kind: str, content: object, template: Template | None) -> str:
    """The text of a message, of a known template with its words."""
    rendered = render(template.components, content) if template else ''
    return rendered or read(kind, content)


def with_fallback(body: Body) -> Body:
    """The body with its fallback_template in the place of its content, which is kept beside it."""
    kind = body.get('type') or 'text'
    left_out = (kind, 'fallback_template', 'split')
    rest = {name: value for name, value in body.items() if name not in left_out}
    replaced = {'type': kind, 'content': body[kind]}
    return rest | {
        'type': 'template',
        'template': body['fallback_template'],
        'replaced': replaced,
    }


def split_text(body: Body) -> list[Body]:
    """The bodies that a long text becomes if it may be split; only the first one quotes."""
    if not _is_split(body):
        return [body]
    first_only = ('context', 'fallback_template')
    rest = {name: value for name, value in body.items() if name not in first_only}
    first, *others = split(body['text']['body'])
    parts = [body | {'text': body['text'] | {'body': first}}]
    parts += [rest | {'text': body['text'] | {'body': part}} for part in others]
    return parts


def _is_split(body: Body) -> bool:
    return bool(body.get('split')) and len(body['text']['body']) > TEXT_LIMIT
