"""Template webhooks: what Meta says is kept in the template's row, with a verdict for messages."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from service.runtime.db import execute
from service.runtime.untrusted import as_dict, clean, identifier
from service.templates.template import STOPS, request_sync

STATUS_UPDATE = 'message_template_status_update'
COMPONENTS_UPDATE = 'message_template_components_update'
CATEGORY_UPDATE = 'template_category_update'
FIELDS = frozenset(
    (STATUS_UPDATE, COMPONENTS_UPDATE, CATEGORY_UPDATE, 'message_template_quality_update')
)
APPROVING_EVENTS = frozenset(('APPROVED', 'REINSTATED', 'UNARCHIVED'))
# Meta repeats for days what it could not deliver: an old stop may be over by now.
LATE_AFTER = timedelta(minutes=5)

SAVE_TEMPLATE_EVENT = """
INSERT INTO template AS t (waba_id, name, language, id, status, category, quality, reason)
VALUES (
  %(waba_id)s, %(name)s, %(language)s, %(id)s, %(status)s, %(category)s, %(quality)s, %(reason)s)
ON CONFLICT (waba_id, name, language) DO UPDATE SET id = coalesce(excluded.id, t.id),
  status = coalesce(excluded.status, t.status), category = coalesce(excluded.category, t.category),
  quality = coalesce(excluded.quality, t.quality), updated_at = now(),
  reason = CASE WHEN excluded.status IS NULL THEN t.reason ELSE excluded.reason END,
  components = CASE WHEN NOT %(is_edited)s THEN t.components END
WHERE %(late_since)s::timestamptz IS NULL OR t.updated_at <= %(late_since)s
"""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a webhook decides about a template. `status`: None when it decides nothing."""

    waba_id: str
    name: str
    language: str
    status: str | None

    @property
    def frees(self) -> bool:
        return self.status == 'APPROVED'

    @property
    def stops(self) -> bool:
        return self.status in STOPS


def on_template_event(
    field: str, waba_id: str | None, value: dict[str, Any], at: datetime | None = None
) -> Verdict | None:
    """Keep what a template webhook says, and ask for a new reading of all templates of the WABA.

    Returns the Verdict, None when the webhook names no template. What the verdict does to messages
    is the caller's part (sending/holds.py). `at`: Meta's time. A stop that comes late changes
    nothing when something newer is known: the reading decides. The fields are described in
    docs/meta.md, section 5.
    """
    name = clean(value.get('message_template_name'), 512)
    language = clean(value.get('message_template_language'), 64)
    if not (waba_id and name and language):
        return None
    verdict = Verdict(waba_id, name, language, _status(field, value))
    # The row of the sync is locked first, as by whoever stores what was read.
    request_sync([waba_id])
    execute(SAVE_TEMPLATE_EVENT, _columns(field, value, verdict, at))
    return verdict


def _status(field: str, value: dict[str, Any]) -> str | None:
    if field != STATUS_UPDATE:
        return None
    event = clean(value.get('event'), 64)
    return 'APPROVED' if event in APPROVING_EVENTS else event


def _columns(
    field: str, value: dict[str, Any], verdict: Verdict, at: datetime | None
) -> dict[str, object]:
    """The parameters of SAVE_TEMPLATE_EVENT."""
    is_late = verdict.stops and at is not None and at < datetime.now(UTC) - LATE_AFTER
    return {
        'waba_id': verdict.waba_id,
        'name': verdict.name,
        'language': verdict.language,
        'id': identifier(value.get('message_template_id')),
        'status': verdict.status,
        'category': _category(field, value),
        'reason': _reason(value) if field == STATUS_UPDATE else None,
        'quality': clean(value.get('new_quality_score'), 64),
        # After an edit the components are unknown until they are read.
        'is_edited': field == COMPONENTS_UPDATE,
        'late_since': at if is_late else None,
    }


def _category(field: str, value: dict[str, Any]) -> str | None:
    """The category now: a change that is only announced (with `correct_category`) is none yet."""
    if field != CATEGORY_UPDATE:
        category = clean(value.get('message_template_category'), 64)
    elif value.get('correct_category'):
        category = None
    else:
        category = clean(value.get('new_category'), 64)
    return category and category.lower()


def _reason(value: dict[str, Any]) -> str | None:
    """Why Meta rejects or pauses it: its word for the reason, then its explanations."""
    rejection = as_dict(value.get('rejection_info'))
    other = as_dict(value.get('other_info'))
    told = (
        value.get('reason'),
        rejection.get('reason'),
        rejection.get('recommendation'),
        other.get('title'),
        other.get('description'),
    )
    words = [word for word in map(clean, told) if word and word != 'NONE']
    return '; '.join(words)[:2000] or None
