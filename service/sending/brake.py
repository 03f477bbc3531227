"""Brakes as a person sees and lifts them: what slows an account's number, its WABA or its app down.

They stand in Redis (service/sending/rate_limit.py) and come off by themselves; Meta may ask for a
pause of up to a day.
"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

from redis import Redis, RedisError

from service.graph import outage
from service.graph.error_codes import BY_CODE
from service.runtime import queues
from service.runtime.db import execute
from service.runtime.errors import Unavailable
from service.sending import rate_limit
from service.sending.dispatch import PAIR_DEBT_SECONDS

log = logging.getLogger(__name__)
SCOPES = ('number', 'waba', 'app')  # in the order of limits.scope_keys
CODES = [str(code) for code, known in BY_CODE.items() if known.scope in SCOPES]

# Messages that wait as long as Meta asked for, and the conversations behind them; not where one is
# in a call.
FREE_CONVERSATIONS = f"""
UPDATE conversation c SET send_after =
  CASE WHEN c.pair_free_at > now() + interval '{PAIR_DEBT_SECONDS} s' THEN c.pair_free_at - interval '{PAIR_DEBT_SECONDS} s' END
FROM (
  SELECT c.id FROM conversation c WHERE c.send_after > now()
    AND c.id IN (SELECT m.conversation_id FROM message m WHERE m.chatbot_id = %(chatbot)s AND m.status = 'queued'
      AND m.due_at > now() AND m.error ->> 'code' = ANY(%(codes)s))
    AND NOT EXISTS (SELECT 1 FROM message m WHERE m.conversation_id = c.id AND m.status = 'sending')
  ORDER BY c.id FOR NO KEY UPDATE OF c SKIP LOCKED) d
WHERE c.id = d.id
"""
MAKE_DUE = """
UPDATE message m SET due_at = now(), updated_at = now()
FROM (
  SELECT id FROM message WHERE chatbot_id = %(chatbot)s AND status = 'queued' AND due_at > now()
    AND error ->> 'code' = ANY(%(codes)s) ORDER BY id FOR NO KEY UPDATE SKIP LOCKED) d
WHERE m.id = d.id
"""


def of_account(account) -> list[dict]:
    """The brakes that work: scope, factor (of the rate), paused_until.

    Raises Unavailable without Redis.
    """
    with _redis() as redis:
        seconds, microseconds = redis.time()
        found = [redis.hgetall(key) for key in _keys(account)]
    now = seconds + microseconds / 1e6
    brakes = [_shown(scope, brake, now) for scope, brake in zip(SCOPES, found, strict=True)]
    return [brake for brake in brakes if brake['factor'] < 1 or brake['paused_until']]


@contextmanager
def _redis() -> Iterator[Redis]:
    try:
        yield queues.client()
    except RedisError:
        raise Unavailable('Redis is away, and with it the brakes.') from None


def _keys(account) -> tuple[str, str, str]:
    own_app = account.chatbot_id if account.app_secret else None
    return rate_limit.scope_keys(account.phone_number_id, account.waba_id, own_app)


def _shown(scope: str, brake: dict[bytes, bytes], now: float) -> dict:
    factor, at, until = (
        float(brake.get(b'factor', 1)),
        float(brake.get(b'at', now)),
        float(brake.get(b'until', 0)),
    )
    return {
        'scope': scope,
        'factor': round(min(1, factor + max(0, now - at) / rate_limit.RECOVERY), 3),
        'paused_until': datetime.fromtimestamp(until, UTC) if until > now else None,
    }


def lift(account) -> dict:
    """Take all brakes off, send what waits because of them, and probe at once if Meta is away."""
    lifted = of_account(account)
    with _redis() as redis:
        redis.delete(*_keys(account))
    values = {'chatbot': account.chatbot_id, 'codes': CODES}
    is_probed = outage.probe_now(account.phone_number_id)
    execute(FREE_CONVERSATIONS, values)
    freed = execute(MAKE_DUE, values)
    extra = {
        'chatbot_id': account.chatbot_id,
        'scopes': [brake['scope'] for brake in lifted],
        'messages': freed,
    }
    log.warning('brakes lifted', extra=extra)
    return {'lifted': lifted, 'messages': freed, 'probe': is_probed}
