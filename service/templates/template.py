"""The templates that messages name: whether they are known, fit the message, and may be sent."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from service.graph.outcome import ErrorDict
from service.runtime.db import connection, execute, fetch
from service.runtime.errors import Invalid
from service.runtime.queues import ERRANDS, wake
from service.runtime.rows import fetch_as, fetch_bulk_as
from service.templates import validation

Message = dict[str, Any]  # a checked message, as service.content.message_schema gives it


@dataclass(frozen=True, slots=True, order=True)
class TemplateKey:
    """The name and language of a template; a WABA has one template for each pair."""

    name: str
    language: str


@dataclass(frozen=True, slots=True)
class Stop:
    """How a verdict of Meta's on a template stops the messages that are made from it."""

    verdict: str
    status: str  # of the message
    hold_reason: str | None
    cause: str
    title: str

    def error(self, details: str | None) -> ErrorDict:
        return {
            'code': None,
            'title': self.title,
            'details': details,
            'fbtrace_id': None,
            'cause': self.cause,
        }


STOPS = {
    stop.verdict: stop
    for stop in (
        Stop('PAUSED', 'held', 'template', 'template_paused', 'The template is paused'),
        Stop('DISABLED', 'held', 'template', 'template_paused', 'The template is disabled'),
        Stop('REJECTED', 'failed', None, 'template_rejected', 'The template was rejected'),
        Stop('DELETED', 'failed', None, 'template_deleted', 'The template was deleted'),
    )
}


@dataclass(slots=True)
class Template:
    """A template that is known.

    `components`: as Meta gives them, None when only webhooks told of it.
    """

    name: str
    language: str
    status: str | None
    category: str | None
    components: list[Any] | None
    parameter_format: str | None
    reason: str | None

    @property
    def key(self) -> TemplateKey:
        return TemplateKey(self.name, self.language)

    @property
    def is_marketing(self) -> bool:
        return self.category == 'marketing'

    @property
    def stop(self) -> Stop | None:
        """What stops a message that is made from it, None when it may go."""
        return STOPS.get(self.status or '')


Templates = Mapping[TemplateKey | None, Template]


def template_key(message: Message, field: str = 'template') -> TemplateKey | None:
    """Which template a checked message is made from, None for other types."""
    if field not in message or (field == 'template' and message.get('type') != 'template'):
        return None
    return TemplateKey(message[field]['name'], message[field]['language']['code'])


TEMPLATE_FIELDS = ('template', 'fallback_template')  # of a message
FIND_TEMPLATES = """
SELECT name, language, status, category, components, parameter_format, reason
FROM template JOIN {rows} USING (name, language)
WHERE waba_id = %(waba_id)s
"""
FIND_WABA = 'SELECT waba_id FROM whatsapp_cloud_account WHERE chatbot_id = %s'


def waba_of(chatbot_id: str) -> str | None:
    """The WABA of a chatbot whose account has not been looked up."""
    return next((waba_id for (waba_id,) in fetch(FIND_WABA, (chatbot_id,))), None)


def _named_in(messages: Iterable[Message]) -> Iterator[tuple[str, TemplateKey]]:
    """Each field of a message that names a template, and the template that it names."""
    for message in messages:
        for field in TEMPLATE_FIELDS:
            key = template_key(message, field)
            if key is not None:
                yield field, key


def find_templates(waba_id: str | None, messages: Iterable[Message]) -> Templates:
    """The known templates that messages are made from; no query when they name none."""
    keys = sorted({key for _, key in _named_in(messages)})
    if not waba_id or not keys:
        return {}
    found = fetch_bulk_as(Template, FIND_TEMPLATES, keys, waba_id=waba_id)
    return {template.key: template for template in found}


def find_fitting(
    waba_id: str | None, messages: Sequence[Message], leaves_unlisted: bool = False
) -> Templates:
    """The known templates of messages, after a check that the messages fit them.

    A message with "validate": false is not checked. `leaves_unlisted`: where a template is not in
    the list, nothing is: the list may be older than it, and Meta knows. Raises Invalid.
    """
    if not any(_named_in(messages)):
        return {}
    with connection():
        found = find_templates(waba_id, messages)
        problems = find_unlisted(waba_id, messages, found)
    if problems and leaves_unlisted:
        return found
    checked = [message for message in messages if _is_checked(message)]
    for message in checked if found else ():
        for field in TEMPLATE_FIELDS:
            template = found.get(template_key(message, field))
            problems |= validation.problems(template, message.get(field), field)
    if problems:
        raise Invalid(validation.DOES_NOT_FIT, problems)
    return found


def _is_checked(message: Message) -> bool:
    return message.get('validate') is not False


@dataclass(frozen=True, slots=True)
class ListedTemplate:
    """A template in the list of its WABA; without a name it says that the list is empty."""

    name: str | None
    language: str | None


# Without a row nobody has read the list of the WABA; a row of nulls says that it is empty.
LIST_TEMPLATE_NAMES = """
SELECT t.name, t.language FROM template_sync s
LEFT JOIN template t ON t.waba_id = s.waba_id AND t.status IS DISTINCT FROM 'DELETED'
WHERE s.waba_id = %s AND s.synced_at IS NOT NULL ORDER BY t.name, t.language
"""
MAX_LISTED = 20  # names in one sentence


def find_unlisted(
    waba_id: str | None, messages: Iterable[Message], found: Templates
) -> dict[str, list[str]]:
    """{path: [sentence]} for templates that are not in the list of their WABA, if that is known.

    The list is read again then. `found`: the result of find_templates. A message with
    "validate": false is not checked.
    """
    named = set(_named_in(filter(_is_checked, messages)))
    missing = [(field, key) for field, key in sorted(named) if key not in found]
    if not waba_id or not missing:
        return {}
    listed = fetch_as(ListedTemplate, LIST_TEMPLATE_NAMES, (waba_id,))
    if not listed:
        return {}
    request_sync([waba_id])
    wake(ERRANDS)
    languages = defaultdict(list)
    for template in listed:
        if template.name and template.language:
            languages[template.name].append(template.language)
    return dict(_describe_missing(field, key, languages) for field, key in missing)


def _describe_missing(
    field: str, key: TemplateKey, languages: Mapping[str, list[str]]
) -> tuple[str, list[str]]:
    """The path of a missing template, and a sentence on it.

    `languages`: those of each template that exists.
    """
    if key.name in languages:
        has = f'It has: {_enumerate(languages[key.name])}.'
        sentence = f'The template "{key.name}" has no language "{key.language}". {has}'
        return f'{field}.language.code', [sentence]
    exist = f'There are: {_enumerate(list(languages))}.' if languages else 'It has none.'
    sentence = f'The WhatsApp Business account has no template "{key.name}". {exist}'
    return f'{field}.name', [sentence]


def _enumerate(names: list[str]) -> str:
    rest = f' and {len(names) - MAX_LISTED} more' if len(names) > MAX_LISTED else ''
    return ', '.join(names[:MAX_LISTED]) + rest


# Seconds between two readings of a WABA that webhooks ask for: Meta allows 200 calls an hour
# (docs/meta.md, section 8).
SYNC_GAP_SECONDS = 30
REQUEST_SYNC = """
INSERT INTO template_sync AS s (waba_id) SELECT unnest(%(waba_ids)s::text[])
ON CONFLICT (waba_id) DO UPDATE SET attempts = 0,
  due_at = greatest(clock_timestamp(), s.synced_at + %(gap)s * interval '1 second')
"""


def request_sync(waba_ids: Iterable[str | None], gap: float = SYNC_GAP_SECONDS) -> None:
    """Ask for a new reading of the templates of these WABAs; several requests become one reading.

    Wake ERRANDS after the commit.
    """
    known = sorted({waba_id for waba_id in waba_ids if waba_id})
    execute(REQUEST_SYNC, {'waba_ids': known, 'gap': gap})
