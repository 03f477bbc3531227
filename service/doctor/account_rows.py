"""An account as our own rows show it: whether it may send, who answers, what was heard of Meta."""

from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any

from service.accounts.account import Account
from service.doctor.check import Check, fail, ok, warn
from service.graph import outage
from service.graph.error_codes import explain
from service.runtime.config import settings
from service.runtime.db import fetch_dicts
from service.runtime.errors import Unavailable
from service.runtime.session import deadline
from service.sending import brake

SECONDS = 3  # for the answers to each check
QUIET = timedelta(days=7)  # without a webhook
FIX_HELD = 'Then let it go on: POST /account/<chatbot_id>/resume.'
FIX_WEBHOOKS = (
    'Write to the number from a phone. If nothing comes: subscribed, callback and '
    'webhook_fields say whether Meta would send it, and the app has to be Live.'
)

# Of the newest messages: what came from a customer, or went on after Meta had accepted it, came by
# a webhook. `unheard`: accepted so long ago that its first status is overdue.
FIND_SEEN = """
SELECT now() AS now,
  max(CASE direction WHEN 'inbound' THEN created_at ELSE updated_at END) FILTER (
    WHERE direction = 'inbound' OR status IN ('sent', 'delivered', 'read', 'played')) AS seen,
  max(updated_at) FILTER (
    WHERE status = 'accepted' AND updated_at < now() - interval '10 minutes') AS unheard
FROM (
  SELECT direction, status, created_at, updated_at FROM message
  WHERE chatbot_id = %s ORDER BY id DESC LIMIT 1000) m
"""

NAMED = 5  # accounts that are named
FIND_TROUBLED = """
SELECT chatbot_id, count(*) OVER () AS troubled FROM whatsapp_cloud_account
WHERE active AND (send_state <> 'ok' OR responder_state <> 'ok') ORDER BY chatbot_id LIMIT %s
"""


def look_at_all() -> Iterator[Check]:
    """Which accounts are held, or have a responder that answers nobody. Needs a connection."""
    with deadline(SECONDS):
        rows = fetch_dicts(FIND_TROUBLED, (NAMED,))
    if not rows:
        yield ok('accounts', 'None is held, and no responder is refused.')
        return
    names = ', '.join(row['chatbot_id'] for row in rows)
    more = f' and {rows[0]["troubled"] - NAMED} more' if rows[0]['troubled'] > NAMED else ''
    detail = f'Held, or with a responder that answers nobody: {names}{more}.'
    yield warn('accounts', detail, f'Look at each: flask doctor {rows[0]["chatbot_id"]}')


def look(account: Account) -> Iterator[Check]:
    """What needs no answer of Meta's. Needs a connection."""
    with deadline(SECONDS):
        yield _sending(account)
    with suppress(Unavailable):  # the check of Redis says so
        yield _brakes(account)
    yield _responder(account)
    with deadline(SECONDS):
        yield _webhooks(account)


def _sending(account: Account) -> Check:
    name = 'account'
    if not account.active:
        fix = 'Save its access_token again, which activates it.'
        return warn(name, 'The account was deactivated: it sends and answers nothing.', fix)
    told: dict[str, Any] = account.to_dict(outage.current())
    reason = told['send_state_reason'] or {}
    if told['send_state'] == 'ok':
        return ok(name, 'The account is active and may send.')
    why = str(reason.get('title') or reason.get('explanation')).rstrip('.')
    fix = reason.get('fix') or explain(None)['fix']
    if told['send_state'] == 'held':
        return fail(name, f'The account is held: {why}.', f'{fix} {FIX_HELD}')
    return fail(name, f'The account waits until Meta is back: {why}.', fix)


def _brakes(account: Account) -> Check:
    brakes = brake.of_account(account)
    if not brakes:
        return ok('brakes', 'Nothing slows it down.')
    told = [_describe(one) for one in brakes]
    fix = 'They come off by themselves; flask lift-brakes takes them off when the reason is gone.'
    return warn('brakes', f'Meta has asked for less: {"; ".join(told)}.', fix)


def _describe(one: brake.Brake) -> str:
    pause = f', paused until {one["paused_until"]:%H:%M:%S} UTC' if one['paused_until'] else ''
    return f'the {one["scope"]} is at {one["factor"]:.0%} of its rate{pause}'


def _responder(account: Account) -> Check:
    name = 'responder'
    kind = (account.responder or {}).get('kind')
    if account.responder_state == 'misconfigured':
        reason = account.responder_state_reason or {}
        detail = f'The responder can answer nobody: {reason.get("title", "it refuses")}.'
        return fail(name, detail, 'Mend its address, key or model, and save the account again.')
    if kind is None and not settings.AI_BASE_URL:
        fix = 'Give the account a responder, or {"kind": "none"} when nobody is to be answered.'
        return warn(name, 'Nobody answers: no responder, and no AI_BASE_URL.', fix)
    if kind == 'none':
        return ok(name, 'Nobody is to be answered, as the account says.')
    return ok(name, f'Who answers: {kind or "the AI of the environment"}.')


def _webhooks(account: Account) -> Check:
    name = 'webhook_seen'
    found = fetch_dicts(FIND_SEEN, (account.chatbot_id,))[0]
    seen, unheard = found['seen'], found['unheard']
    if unheard and (seen is None or seen < unheard):
        detail = f'Meta accepted a message at {_time(unheard)} and has told nothing since.'
        return fail(name, f'{detail} {_last(seen)}', FIX_WEBHOOKS)
    if seen is None or found['now'] - seen > QUIET:
        return warn(name, _last(seen), FIX_WEBHOOKS)
    return ok(name, _last(seen))


def _last(seen: datetime | None) -> str:
    return f'The last webhook came at {_time(seen)}.' if seen else 'No webhook has come yet.'


def _time(at: datetime) -> str:
    return f'{at.astimezone(UTC):%Y-%m-%d %H:%M} UTC'
