"""Brakes as a person sees and lifts them: what slows an account's number, WABA or app down.

They stand in Redis (service/sending/rate_limit.py) and come off by themselves; Meta may ask for a
pause of up to a day.
"""

import logging
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, TypedDict

from redis import Redis, RedisError

from service.accounts.account import Account
from service.graph import outage
from service.graph.error_codes import BY_CODE
from service.runtime import queues
from service.runtime.db import execute
from service.runtime.errors import Unavailable
from service.sending import rate_limit
from service.sending.dispatch import PAIR_DEBT_SECONDS

log = logging.getLogger(__name__)
BRAKE_SCOPES = ('number', 'waba', 'app')  # in the order of rate_limit.scope_keys
BRAKE_CODES = [str(code) for code, known in BY_CODE.items() if known.scope in BRAKE_SCOPES]

# What waits as long as Meta asked for: the messages, and the conversations that they keep waiting.
# Not a conversation of which a message is being sent.
FREE_CONVERSATIONS = """
UPDATE conversation c SET send_after = CASE
  WHEN c.pair_free_at > now() + %(debt)s * interval '1 second'
  THEN c.pair_free_at - %(debt)s * interval '1 second' END
FROM (
  SELECT c.id FROM conversation c WHERE c.send_after > now()
    AND c.id IN (SELECT m.conversation_id FROM message m
      WHERE m.chatbot_id = %(chatbot_id)s AND m.waiting = 'queued' AND m.due_at > now()
        AND m.error ->> 'code' = ANY(%(codes)s))
    AND NOT EXISTS (
      SELECT 1 FROM message m WHERE m.conversation_id = c.id AND m.status = 'sending')
  ORDER BY c.id FOR NO KEY UPDATE OF c SKIP LOCKED) d
WHERE c.id = d.id
"""
MAKE_MESSAGES_DUE = """
UPDATE message m SET due_at = now(), updated_at = now()
FROM (
  SELECT id FROM message
  WHERE chatbot_id = %(chatbot_id)s AND waiting = 'queued' AND due_at > now()
    AND error ->> 'code' = ANY(%(codes)s)
  ORDER BY id FOR NO KEY UPDATE SKIP LOCKED) d
WHERE m.id = d.id
"""


class Brake(TypedDict):
    """A brake as callers see it. `factor`: of the number's rate."""

    scope: str
    factor: float
    paused_until: datetime | None


class Lifted(TypedDict):
    """What lifting did. `messages`: how many became due; `probe`: whether one is sent to Meta."""

    lifted: list[Brake]
    messages: int
    probe: bool


def of_account(account: Account) -> list[Brake]:
    """The brakes that slow the account now. Raises Unavailable without Redis."""
    with _redis() as redis:
        seconds, microseconds = redis.time()
        found = [redis.hgetall(key) for key in _keys(account)]
    now = seconds + microseconds / 1e6
    brakes = [_read(scope, brake, now) for scope, brake in zip(BRAKE_SCOPES, found, strict=True)]
    return [brake for brake in brakes if brake['factor'] < 1 or brake['paused_until']]


@contextmanager
def _redis() -> Iterator[Redis]:
    try:
        yield queues.client()
    except RedisError:
        raise Unavailable('Redis is away, and with it the brakes.') from None


def _keys(account: Account) -> rate_limit.BrakeKeys:
    own_app = account.chatbot_id if account.app_secret else None
    return rate_limit.scope_keys(account.phone_number_id, account.waba_id, own_app)


def _read(scope: str, brake: Mapping[bytes | str, bytes | str], now: float) -> Brake:
    factor = float(brake.get(b'factor', 1))
    slowed_at = float(brake.get(b'at', now))
    paused_until = float(brake.get(b'until', 0))
    recovered = max(0, now - slowed_at) / rate_limit.RECOVERY_SECONDS
    return {
        'scope': scope,
        'factor': round(min(1, factor + recovered), 3),
        'paused_until': datetime.fromtimestamp(paused_until, UTC) if paused_until > now else None,
    }


def lift(account: Account, scopes: Collection[str] = BRAKE_SCOPES) -> Lifted:
    """Take brakes off, send what waits because of them, and probe at once if Meta is away."""
    lifted = [brake for brake in of_account(account) if brake['scope'] in scopes]
    keys = dict(zip(BRAKE_SCOPES, _keys(account), strict=True))
    with _redis() as redis:
        redis.delete(*[keys[scope] for scope in scopes])
    is_probed = outage.probe_now(account.phone_number_id)
    values: dict[str, Any] = {'chatbot_id': account.chatbot_id, 'codes': BRAKE_CODES}
    execute(FREE_CONVERSATIONS, values | {'debt': PAIR_DEBT_SECONDS})
    freed = execute(MAKE_MESSAGES_DUE, values)
    extra = {
        'chatbot_id': account.chatbot_id,
        'scopes': [brake['scope'] for brake in lifted],
        'messages': freed,
    }
    log.warning('brakes lifted', extra=extra)
    return {'lifted': lifted, 'messages': freed, 'probe': is_probed}
