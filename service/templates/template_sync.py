"""Reading the template lists of WABAs: which is due, what was read, what is gone."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from service.graph.outcome import ErrorDict
from service.runtime.db import execute, fetch_dicts, to_json
from service.runtime.durability import worked_out_again
from service.runtime.rows import Json, execute_bulk, fetch_as
from service.runtime.untrusted import as_dict, clean, identifier, is_deep
from service.templates.template import TemplateKey, request_sync

MAX_TOKENS = 3  # of the accounts of a WABA: a token that may send may not be allowed to read

NEXT_DUE = 'SELECT min(greatest(due_at, lease_until)) FROM template_sync WHERE due_at IS NOT NULL'
CLAIM_SYNCS = """
UPDATE template_sync s SET lease_until = now() + %(lease)s * interval '1 second',
  attempts = least(s.attempts + 1, 32767)
FROM (
  SELECT waba_id FROM template_sync
  WHERE due_at <= now() AND (lease_until IS NULL OR lease_until <= now())
  ORDER BY due_at LIMIT %(limit)s FOR NO KEY UPDATE SKIP LOCKED) due
WHERE s.waba_id = due.waba_id
RETURNING s.waba_id AS id, s.due_at, s.lease_until, s.attempts, now() AS began, ARRAY(
  SELECT a.access_token FROM whatsapp_cloud_account a WHERE a.waba_id = s.waba_id AND a.active
  ORDER BY a.send_state = 'ok' DESC, a.updated_at DESC LIMIT %(max_tokens)s) AS tokens
"""
# Only under the lease that it was read with. A request that came meanwhile keeps its own due_at.
FINISH_SYNC = """
UPDATE template_sync SET error = %(error)s, lease_until = now() + %(pause)s * interval '1 second',
  attempts = CASE WHEN %(is_done)s THEN 0 ELSE attempts END,
  synced_at = CASE WHEN %(is_done)s THEN now() ELSE synced_at END,
  due_at = CASE WHEN due_at = %(due_at)s THEN now() + %(delay)s * interval '1 second'
    ELSE due_at END
WHERE waba_id = %(id)s AND lease_until = %(lease_until)s
"""
# What a webhook said after the reading began is newer, and stays.
SAVE_TEMPLATES = """
INSERT INTO template AS t (waba_id, {columns}, synced_at)
SELECT %(waba_id)s, {columns}, now() FROM {rows}
ON CONFLICT (waba_id, name, language) DO UPDATE SET id = excluded.id, status = excluded.status,
  category = excluded.category, components = excluded.components,
  parameter_format = excluded.parameter_format, quality = excluded.quality,
  synced_at = now(), updated_at = now(),
  reason = coalesce(excluded.reason, CASE excluded.status WHEN t.status THEN t.reason END)
WHERE t.updated_at <= coalesce(%(began)s, now())
"""
DELETE_GONE = """
DELETE FROM template WHERE waba_id = %(waba_id)s AND updated_at <= %(began)s
  AND (name, language) NOT IN (SELECT * FROM unnest(%(names)s::text[], %(languages)s::text[]))
RETURNING name, language
"""


@dataclass(frozen=True, slots=True)
class ClaimedSync:
    """A WABA whose templates are to be read. `id`: the WABA's; `tokens`: encrypted, best first."""

    id: str
    due_at: datetime
    lease_until: datetime
    attempts: int
    began: datetime
    tokens: list[str]


@dataclass(slots=True)
class TemplateRow:
    """A template as Meta's list gives it. `components`: None when they cannot be stored."""

    name: str
    language: str
    id: str | None
    status: str | None
    category: str | None
    components: Json | None
    parameter_format: str | None
    quality: str | None
    reason: str | None


@worked_out_again()
def claim(limit: int, lease: float) -> list[ClaimedSync]:
    """Take WABAs whose templates are to be read, for `lease` seconds."""
    values = {'limit': limit, 'lease': lease, 'max_tokens': MAX_TOKENS}
    return fetch_as(ClaimedSync, CLAIM_SYNCS, values)


def record_list(sync: ClaimedSync, found: list[Any], delay: float) -> list[TemplateKey] | None:
    """Keep the list that was read and delete what is gone, in the caller's transaction.

    Returns the templates that are gone; what that does to messages is the caller's part
    (sending/holds.py). None when the reading came too late, and nothing was kept.
    """
    if not _finish(sync, delay, is_done=True):
        return None
    kept = save_templates(sync.id, found, sync.began)
    values = {
        'waba_id': sync.id,
        'began': sync.began,
        'names': [key.name for key in kept],
        'languages': [key.language for key in kept],
    }
    return fetch_as(TemplateKey, DELETE_GONE, values)


def record_failure(sync: ClaimedSync, delay: float | None, error: ErrorDict, pause: float) -> None:
    """Try again in `delay` seconds (None: not by itself), and never within `pause` seconds."""
    _finish(sync, delay, error=error, pause=pause)


def _finish(
    sync: ClaimedSync,
    delay: float | None,
    error: ErrorDict | None = None,
    pause: float | None = None,
    is_done: bool = False,
) -> bool:
    """Give the lease back. False when somebody else had it by then."""
    values = {
        'id': sync.id,
        'due_at': sync.due_at,
        'lease_until': sync.lease_until,
        'delay': delay,
        'error': to_json(error),
        'pause': pause,
        'is_done': is_done,
    }
    return bool(execute(FINISH_SYNC, values))


def save_templates(
    waba_id: str, found: Iterable[Any], began: datetime | None = None
) -> list[TemplateKey]:
    """Keep templates as Meta gives them, locked in the order of their keys; returns the keys."""
    rows: dict[TemplateKey, TemplateRow] = {}
    for given in found:
        row = _row(as_dict(given))
        if row:
            rows[TemplateKey(row.name, row.language)] = row
    keys = sorted(rows)
    execute_bulk(SAVE_TEMPLATES, [rows[key] for key in keys], waba_id=waba_id, began=began)
    return keys


def _row(given: dict[str, Any]) -> TemplateRow | None:
    """The row of a template, None for something that is no template."""
    name = clean(given.get('name'), 512)
    language = clean(given.get('language'), 64)
    if not (name and language):
        return None
    category = clean(given.get('category'), 64)
    reason = clean(given.get('rejected_reason'), 2000)
    components = given.get('components')
    is_good = isinstance(components, list) and _is_storable(components)
    return TemplateRow(
        name=name,
        language=language,
        id=identifier(given.get('id')),
        status=clean(given.get('status'), 64),
        category=category and category.lower(),
        components=components if is_good else None,
        parameter_format=clean(given.get('parameter_format'), 64),
        quality=clean(as_dict(given.get('quality_score')).get('score'), 64),
        reason=None if reason == 'NONE' else reason,
    )


def _is_storable(components: list[Any]) -> bool:
    """No json column takes NaN, and what is too deep is never shown again."""
    try:
        json.dumps(components, allow_nan=False)
    except (ValueError, RecursionError):
        return False
    return not is_deep({'components': components})


# psycopg2 puts the values into the text, so the planner drops each condition that is not asked for.
LIST_TEMPLATES = """
SELECT waba_id, name, language, id, status, category, components, parameter_format, quality, reason,
  updated_at, synced_at
FROM template
WHERE waba_id = %(waba_id)s
  AND (%(name)s::text IS NULL OR name = %(name)s)
  AND (%(language)s::text IS NULL OR language = %(language)s)
  AND (%(status)s::text IS NULL OR status = %(status)s)
  AND (%(category)s::text IS NULL OR category = %(category)s)
  AND (%(after_name)s::text IS NULL
    OR (name, language) > (%(after_name)s::text, %(after_language)s::text))
ORDER BY name, language LIMIT %(limit)s
"""
FILTERS = ('name', 'status', 'category', 'language')


def list_templates(
    waba_id: str, wanted: dict[str, str], after: tuple[str, str] | None, limit: int
) -> list[dict[str, Any]]:
    """Templates by name and language, as callers see them.

    `wanted`: the value of each filter; `after`: the (name, language) behind which the page begins.
    """
    after_name, after_language = after or (None, None)
    page = {'after_name': after_name, 'after_language': after_language, 'limit': limit}
    filters = {name: wanted.get(name) for name in FILTERS}
    return fetch_dicts(LIST_TEMPLATES, {'waba_id': waba_id} | filters | page)


MARK_DELETED = """
UPDATE template SET status = 'DELETED', reason = NULL, updated_at = now()
WHERE waba_id = %(waba_id)s AND name = %(name)s AND (%(id)s::text IS NULL OR id = %(id)s)
  AND language = coalesce(%(language)s, language)
"""


def mark_deleted(
    waba_id: str, name: str, language: str | None = None, template_id: str | None = None
) -> None:
    """Meta has deleted it, in all languages or in one (by its language or by Meta's id).

    In the caller's transaction.
    """
    request_sync([waba_id])
    values = {'waba_id': waba_id, 'name': name, 'id': template_id, 'language': language}
    execute(MARK_DELETED, values)


SYNC_STATE = 'SELECT synced_at, due_at, error FROM template_sync WHERE waba_id = %s'


def sync_state(waba_id: str) -> dict[str, Any]:
    """When the templates were read, when they will be, and what went wrong; as callers see it."""
    rows = fetch_dicts(SYNC_STATE, (waba_id,))
    state = rows[0] if rows else {'synced_at': None, 'due_at': None, 'error': None}
    if state['error']:
        state['error'].pop('cause', None)
    return state
