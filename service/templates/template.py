"""Templates as Meta told of them: which is known, whether a send fits and which is stopped."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from service.runtime.db import columns, execute, fetch, fetch_dicts
from service.runtime.errors import Invalid
from service.runtime.queues import ERRANDS, wake
from service.runtime.untrusted import as_dict, clean, identifier
from service.templates import validation

FIELDS = frozenset(
    (
        'message_template_status_update',
        'message_template_quality_update',
        'message_template_components_update',
        'template_category_update',
    )
)
GOES_AGAIN = frozenset(('APPROVED', 'REINSTATED', 'UNARCHIVED'))
STOPS = {
    'PAUSED': ('held', 'template', 'template_paused', 'The template is paused'),
    'DISABLED': ('held', 'template', 'template_paused', 'The template is disabled'),
    'REJECTED': ('failed', None, 'template_rejected', 'The template was rejected'),
    'DELETED': ('failed', None, 'template_deleted', 'The template was deleted'),
}  # what becomes of a message: its status, hold_reason, and the error's cause and title


@dataclass(slots=True)
class Template:
    """One that is known. `components`: as Meta gives them, None when only webhooks told of it."""

    name: str
    language: str
    status: str | None
    category: str | None
    components: list | None
    parameter_format: str | None
    reason: str | None

    @property
    def is_marketing(self):
        return self.category == 'marketing'

    @property
    def stop(self):
        """(status, hold_reason, error) of a message that is made from it, None when it may go."""
        return stop(self.status, self.reason)


def stop(status, reason):
    if status not in STOPS:
        return None
    state, hold_reason, cause, title = STOPS[status]
    return (
        state,
        hold_reason,
        {'code': None, 'title': title, 'details': reason, 'fbtrace_id': None, 'cause': cause},
    )


def named(message, key='template'):
    """(name, language) of the template that a checked message is made from, (None, None) for other
    types.
    """
    if key not in message or key == 'template' != message.get('type'):
        return None, None
    return message[key]['name'], message[key]['language']['code']


PLACES = ('template', 'fallback_template')  # of a message
KNOWN = """
SELECT name, language, status, category, components, parameter_format, reason
FROM template JOIN unnest(%(names)s::text[], %(languages)s::text[]) AS n (name, language) USING (name, language)
WHERE waba_id = %(waba)s
"""
WABA_OF = 'SELECT waba_id FROM whatsapp_cloud_account WHERE chatbot_id = %s'


def waba_of(chatbot_id: str) -> str | None:
    """The WABA of a chatbot whose account has not been looked up."""
    return next((waba_id for (waba_id,) in fetch(WABA_OF, (chatbot_id,))), None)


def known(waba_id, messages):
    """{(name, language): Template} of the templates that messages are made from; no query when
    there is none.
    """
    named_here = {named(message, place) for message in messages for place in PLACES} - {
        (None, None)
    }
    if not waba_id or not named_here:
        return {}
    names, languages = columns(named_here)
    rows = fetch_dicts(KNOWN, {'waba': waba_id, 'names': names, 'languages': languages})
    return {(row['name'], row['language']): Template(**row) for row in rows}


def fitting(waba_id, messages):
    """`known` of messages that give their templates what these want.

    Raises Invalid; "validate": false is not asked.
    """
    found = known(waba_id, messages)
    problems = unknown(waba_id, messages, found)
    for message in messages if found else ():
        for place in PLACES if message.get('validate') is not False else ():
            problems |= validation.problems(
                found.get(named(message, place)), message.get(place), place
            )
    if problems:
        raise Invalid(validation.DOES_NOT_FIT, problems)
    return found


# No row as long as nobody has read the list of the WABA; a row of nulls when it is empty.
LISTED = """
SELECT t.name, t.language FROM template_sync s
LEFT JOIN template t ON t.waba_id = s.waba_id AND t.status IS DISTINCT FROM 'DELETED'
WHERE s.waba_id = %s AND s.synced_at IS NOT NULL ORDER BY t.name, t.language
"""
MAX_NAMED = 20  # templates in one sentence


def unknown(waba_id, messages, found):
    """{path: [sentence]} of templates that are not in the list of their WABA, if that is known.

    It is read again then.

    `found`: what is `known`. "validate": false is not asked.
    """
    checked = [message for message in messages if message.get('validate') is not False]
    missing = {
        (place, named(message, place))
        for message in checked
        for place in PLACES
        if message.get(place)
    }
    missing = [(place, key) for place, key in sorted(missing) if key[0] and key not in found]
    listed = fetch(LISTED, (waba_id,)) if waba_id and missing else []
    if not listed:
        return {}
    sync_due([waba_id])
    wake(ERRANDS)
    return dict(_not_listed(place, *key, listed) for place, key in missing)


def _not_listed(place, name, language, listed):
    """(path, [sentence])."""
    if languages := [other for same, other in listed if same == name]:
        sentence = (
            f'The template "{name}" has no language "{language}". It has: {_some(languages)}.'
        )
        return f'{place}.language.code', [sentence]
    names = list(dict.fromkeys(known_name for known_name, _ in listed if known_name))
    exist = f'There are: {_some(names)}.' if names else 'It has none.'
    return f'{place}.name', [f'The WhatsApp Business account has no template "{name}". {exist}']


def _some(words):
    rest = f' and {len(words) - MAX_NAMED} more' if len(words) > MAX_NAMED else ''
    return ', '.join(words[:MAX_NAMED]) + rest


def is_marketing(message, templates):
    """Whether a message is of Meta's category marketing, or may become that.

    `templates`: what is `known`.
    """
    found = (templates.get(named(message, place)) for place in PLACES)
    return any(one.is_marketing for one in found if one)


HEARD = """
INSERT INTO template AS t (waba_id, name, language, id, status, category, quality, reason)
VALUES (%(waba)s, %(name)s, %(language)s, %(id)s, %(status)s, %(category)s, %(quality)s, %(reason)s)
ON CONFLICT (waba_id, name, language) DO UPDATE SET id = coalesce(excluded.id, t.id),
  status = coalesce(excluded.status, t.status), category = coalesce(excluded.category, t.category),
  quality = coalesce(excluded.quality, t.quality), updated_at = now(),
  reason = CASE WHEN excluded.status IS NULL THEN t.reason ELSE excluded.reason END,
  components = CASE WHEN NOT %(edited)s THEN t.components END
WHERE %(late)s::timestamptz IS NULL OR t.updated_at <= %(late)s
"""
LATE = timedelta(
    minutes=5
)  # Meta repeats what it could not deliver for days: the other word may be the newer one


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a webhook says of a template. `status`: None when it speaks of something else."""

    waba_id: str
    name: str
    language: str
    status: str | None

    @property
    def frees(self):
        return self.status == 'APPROVED'

    @property
    def stops(self):
        return self.status in STOPS


def heard(field, waba_id, value, at=None):
    """A template webhook (section 5): keep what it says, read it all again soon.

    What is made from it is the caller's to stop or free (sending/holds.py): returns the Verdict,
    None when the webhook names no template.

    `at`: Meta's time. A stop that comes late does nothing when newer things are known: what is read
    decides.
    """
    name, language = (
        clean(value.get('message_template_name'), 512),
        clean(value.get('message_template_language'), 64),
    )
    if not (waba_id and name and language):
        return None
    is_verdict = field == 'message_template_status_update'
    status = clean(value.get('event'), 64) if is_verdict else None
    status = 'APPROVED' if status in GOES_AGAIN else status
    sync_due([waba_id])  # this row first: whoever keeps what was read has it as well
    execute(
        HEARD,
        {
            'waba': waba_id,
            'name': name,
            'language': language,
            'id': identifier(value.get('message_template_id')),
            'status': status,
            'category': _category(field, value),
            'reason': _reason(value) if is_verdict else None,
            'quality': clean(value.get('new_quality_score'), 64),
            'edited': field
            # what it wants now is not known until it is read
            == 'message_template_components_update',
            'late': at if status in STOPS and at and at < datetime.now(UTC) - LATE else None,
        },
    )
    return Verdict(waba_id, name, language, status)


def _category(field, value):
    """What it is now: an impending change (with `correct_category`) is none yet."""
    if field == 'template_category_update':
        category = None if value.get('correct_category') else clean(value.get('new_category'), 64)
    else:
        category = clean(value.get('message_template_category'), 64)
    return category and category.lower()


def _reason(value):
    """Why Meta rejects or pauses it: a word, and what the other objects say to a person."""
    told = [value.get('reason')]
    for name, keys in (
        ('rejection_info', ('reason', 'recommendation')),
        ('other_info', ('title', 'description')),
    ):
        told += [as_dict(value.get(name)).get(key) for key in keys]
    words = [word for word in map(clean, told) if word and word != 'NONE']
    return '; '.join(words)[:2000] or None


SYNC_DUE = """
INSERT INTO template_sync AS s (waba_id) SELECT DISTINCT unnest(%s::text[])
ON CONFLICT (waba_id) DO UPDATE SET attempts = 0,
  due_at = greatest(clock_timestamp(), s.synced_at + %s * interval '1 second')
"""
# seconds between two readings of a WABA that webhooks ask for: Meta allows 200 calls an hour
# (section 8)
GAP = 30


def sync_due(waba_ids, gap=GAP):
    """The templates of these WABAs are to be read (again); many wishes are one reading.

    Wake ERRANDS afterwards.
    """
    execute(SYNC_DUE, (sorted(filter(None, waba_ids)), gap))
