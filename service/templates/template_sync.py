"""The reading of a WABA's templates: who is due, what was read, what is gone."""

import json

from service.runtime.db import columns, execute, fetch, fetch_dicts, to_json
from service.runtime.untrusted import as_dict, clean, identifier, is_deep
from service.templates import template

TOKENS = 3  # of as many accounts of a WABA: one that may send may not be allowed to read

NEXT_DUE = 'SELECT min(greatest(due_at, lease_until)) FROM template_sync WHERE due_at IS NOT NULL'
CLAIM = f"""
UPDATE template_sync s SET lease_until = now() + %s * interval '1 second', attempts = least(s.attempts + 1, 32767)
FROM (
  SELECT waba_id FROM template_sync WHERE due_at <= now() AND (lease_until IS NULL OR lease_until <= now())
  ORDER BY due_at LIMIT %s FOR NO KEY UPDATE SKIP LOCKED) due
WHERE s.waba_id = due.waba_id
RETURNING s.waba_id AS id, s.due_at, s.lease_until, s.attempts, now() AS began, ARRAY(
  SELECT a.access_token FROM whatsapp_cloud_account a WHERE a.waba_id = s.waba_id AND a.active
  ORDER BY a.send_state = 'ok' DESC, a.updated_at DESC LIMIT {TOKENS}) AS tokens
"""
# Under the lease that it was read with. Who wished for a reading meanwhile gets another one.
SETTLE = """
UPDATE template_sync SET error = %(error)s, lease_until = now() + %(pause)s * interval '1 second',
  attempts = CASE WHEN %(done)s THEN 0 ELSE attempts END,
  synced_at = CASE WHEN %(done)s THEN now() ELSE synced_at END,
  due_at = CASE WHEN due_at = %(due_at)s THEN now() + %(delay)s * interval '1 second' ELSE due_at END
WHERE waba_id = %(id)s AND lease_until = %(lease_until)s
"""
# What a webhook said since the reading began is newer.
STORE = """
INSERT INTO template AS t (waba_id, name, language, id, status, category, components, parameter_format, quality,
  reason, synced_at)
SELECT %s, n.*, now() FROM unnest(%s::text[], %s::text[], %s::text[], %s::text[], %s::text[], %s::json[], %s::text[],
  %s::text[], %s::text[]) AS n
ON CONFLICT (waba_id, name, language) DO UPDATE SET id = excluded.id, status = excluded.status,
  category = excluded.category, components = excluded.components, parameter_format = excluded.parameter_format,
  quality = excluded.quality, synced_at = now(), updated_at = now(),
  reason = coalesce(excluded.reason, CASE excluded.status WHEN t.status THEN t.reason END)
WHERE t.updated_at <= coalesce(%s, now())
"""
FORGET = """
DELETE FROM template WHERE waba_id = %s AND updated_at <= %s
  AND (name, language) NOT IN (SELECT * FROM unnest(%s::text[], %s::text[]))
RETURNING name, language
"""


def claim(limit, lease):
    """WABAs whose templates are to be read, for `lease` seconds."""
    return fetch_dicts(CLAIM, (lease, limit))


def read(row, found, delay):
    """Keep what was read, forget what is gone, in the caller's transaction (sending/holds.py: what
    follows of it).

    Returns the (name, language) of those that are gone; None when the reading came too late, and
    nothing is kept.
    """
    if not _settle(row, delay, done=True):
        return None
    names = store(row['id'], found, row['began'])
    values = (
        row['id'],
        row['began'],
        [name for name, _ in names],
        [language for _, language in names],
    )
    return fetch(FORGET, values)


def failed(row, delay, error, pause):
    """Try again in `delay` seconds (None: rest), and whoever asks for it not within `pause`."""
    _settle(row, delay, error=error, pause=pause)


def _settle(row, delay, error=None, pause=None, done=False):
    values = {name: row[name] for name in ('id', 'due_at', 'lease_until')}
    return execute(
        SETTLE, values | {'delay': delay, 'error': to_json(error), 'pause': pause, 'done': done}
    )


def store(waba_id, found, began=None):
    """Keep templates as Meta gives them, in the order of their keys; returns those, (name,
    language).
    """
    rows = {row[:2]: row for row in filter(None, map(_row, found))}
    if rows:
        execute(STORE, (waba_id, *columns([rows[key] for key in sorted(rows)]), began))
    return sorted(rows)


def _row(given):
    """The columns of STORE, None for what is no template."""
    given = as_dict(given)
    name, language = clean(given.get('name'), 512), clean(given.get('language'), 64)
    if not (name and language):
        return None
    category, reason = clean(given.get('category'), 64), clean(given.get('rejected_reason'), 2000)
    components = given.get('components')
    is_good = isinstance(components, list) and _is_storable(components)
    return (
        name,
        language,
        identifier(given.get('id')),
        clean(given.get('status'), 64),
        category and category.lower(),
        to_json(components) if is_good else None,
        clean(given.get('parameter_format'), 64),
        clean(as_dict(given.get('quality_score')).get('score'), 64),
        None if reason == 'NONE' else reason,
    )


def _is_storable(components):
    """No json column takes NaN, and what is too deep is never shown again."""
    try:
        json.dumps(components, allow_nan=False)
    except (ValueError, RecursionError):
        return False
    return not is_deep({'components': components})


SHOWN = """
SELECT waba_id, name, language, id, status, category, components, parameter_format, quality, reason, updated_at,
  synced_at FROM template WHERE waba_id = %s
"""
FILTERS = ('name', 'status', 'category', 'language')
STATE = 'SELECT synced_at, due_at, error FROM template_sync WHERE waba_id = %s'


def page(waba_id, wanted, after, limit):
    """Templates by name and language, as dicts.

    `wanted`: {filter: value}; `after`: the last (name, language).
    """
    where = ''.join(f' AND {name} = %s' for name in wanted) + (
        ' AND (name, language) > (%s, %s)' if after else ''
    )
    parameters = (waba_id, *wanted.values(), *(after or ()), limit)
    return fetch_dicts(f'{SHOWN}{where} ORDER BY name, language LIMIT %s', parameters)


def deleted(waba_id, name, language=None, template_id=None):
    """Meta has deleted it, in all languages or in one (by its language or Meta's id); in the
    caller's transaction.
    """
    which = 'waba_id = %s AND name = %s AND (%s::text IS NULL OR id = %s) AND language = coalesce(%s, language)'
    template.sync_due([waba_id])
    gone = (
        f"UPDATE template SET status = 'DELETED', reason = NULL, updated_at = now() WHERE {which}"  # noqa: S608
    )
    execute(gone, (waba_id, name, template_id, template_id, language))


def state(waba_id):
    """How it stands with the reading, for callers."""
    rows = fetch_dicts(STATE, (waba_id,))
    found = rows[0] if rows else {'synced_at': None, 'due_at': None, 'error': None}
    error = found['error'] and {
        name: value for name, value in found['error'].items() if name != 'cause'
    }
    return found | {'error': error}
