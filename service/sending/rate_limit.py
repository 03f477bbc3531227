"""Messages a second of each phone number: one limit for all send processes, kept in Redis."""

import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass

from redis import RedisError
from redis.commands.core import Script

from service.runtime.queues import client

WINDOW_SECONDS = 1.03  # more than one: on their way to Meta messages may move closer together

# A sliding window for each number: never more than `rate` messages within WINDOW_SECONDS. Its list
# holds the times of the last `rate` messages; a message may leave when the one `rate` places before
# it has left the window. One call handles all numbers of a claim.
# After a rest a second's worth of messages may leave at once. Then they leave evenly, a tenth of a
# second's worth at a time: of two bursts on a busy machine the first may arrive late and the second
# in time, and Meta would count both within one second.
# Released permissions are removed by the time at which they were granted. They may have left the
# window by now, and those of other processes must stay.
# Three brakes slow a number: its own, its WABA's and its app's (slow_down).
ACQUIRE = """
local time = redis.call('TIME')
local now, stamp = time[1] + time[2] / 1000000, string.format('%d.%06d', time[1], time[2])
local function brake(key)
  local factor, at, until_ = unpack(redis.call('HMGET', key, 'factor', 'at', 'until'))
  if until_ and now < tonumber(until_) then return 0 end
  return factor and math.min(1, factor + (now - at) / ARGV[2]) or 1
end
local granted = {stamp}
for i = 1, #KEYS / 4 do
  local key = KEYS[4 * i - 3]
  local rate, wanted = tonumber(ARGV[4 * i - 1]), tonumber(ARGV[4 * i])
  local released = tonumber(ARGV[4 * i + 1])
  if released > 0 then redis.call('LREM', key, -released, ARGV[4 * i + 2]) end
  local factor = brake(KEYS[4 * i - 2]) * brake(KEYS[4 * i - 1]) * brake(KEYS[4 * i])
  if factor < 1 then rate = math.ceil(rate * factor) end
  local used = redis.call('LLEN', key)
  while used > 0 and tonumber(redis.call('LINDEX', key, 0)) <= now - tonumber(ARGV[1]) do
    redis.call('LPOP', key)
    used = used - 1
  end
  local tokens = rate
  if used > 0 then
    local left, at = unpack(redis.call('HMGET', key .. ':pace', 'tokens', 'at'))
    left = (left or 0) + released
    local refilled = left + (now - (at or now)) * rate / ARGV[1]
    tokens = math.max(left, math.min(refilled, math.max(1, rate / 10)))
  end
  local n = math.max(0, math.min(wanted, math.floor(tokens), rate - used))
  for _ = 1, n do redis.call('RPUSH', key, stamp) end
  local at = string.format('%.6f', now)
  redis.call('HSET', key .. ':pace', 'tokens', tostring(tokens - n), 'at', at)
  redis.call('PEXPIRE', key .. ':pace', 5000)
  if n > 0 then redis.call('PEXPIRE', key, 5000) end
  granted[i + 1] = n
end
return granted
"""
# Halves a brake's factor, at most once a second however many answers complain. Pauses the brake for
# as long as Meta asks.
SLOW_DOWN = """
local time = redis.call('TIME')
local now = time[1] + time[2] / 1000000
local factor, at, until_ = unpack(redis.call('HMGET', KEYS[1], 'factor', 'at', 'until'))
if not factor or now - at > 1 then
  factor = factor and math.min(1, factor + (now - at) / ARGV[1]) or 1
  redis.call('HSET', KEYS[1], 'factor', tostring(math.max(1 / 64, factor / 2)), 'at', tostring(now))
end
-- a shorter pause, or none, does not end one that runs
local pause = math.max(tonumber(ARGV[2]), until_ and until_ - now or 0)
if pause > 0 then
  local end_ = string.format('%.6f', now + pause)
  redis.call('HSET', KEYS[1], 'until', end_, 'at', end_)  -- it recovers from then on
end
redis.call('PEXPIRE', KEYS[1], math.ceil((ARGV[1] + pause) * 1000))
"""
RECOVERY_SECONDS = 60  # in which a brake comes off, evenly

BrakeKeys = tuple[str, str, str]  # in Redis: of a number, of its WABA, of its app


@dataclass(frozen=True, slots=True)
class RateRequest:
    """How many messages a number would like to send now (`wanted`), and its `rate` a second."""

    rate: int
    wanted: int
    brakes: BrakeKeys


def scope_keys(phone_number_id: str, waba_id: str | None, own_app: str | None) -> BrakeKeys:
    """The keys of a number's brakes. `own_app`: the chatbot, when it has a Meta app of its own."""
    return (
        f'slow:number:{phone_number_id}',
        f'slow:waba:{waba_id or phone_number_id}',
        f'slow:app:{own_app or ""}',
    )


def slow_down(key: str, pause: float | None = None) -> None:
    """Halve the rate of a brake. `pause`: seconds in which nothing is sent, if Meta asks for it."""
    with suppress(RedisError):
        client().eval(SLOW_DOWN, 1, key, RECOVERY_SECONDS, pause or 0)


class RateLimiter:
    """Asks for the permissions of a whole claim at once; without Redis it grants a local share."""

    LOCAL_SHARE = 0.25  # of the rate, while Redis cannot say what the other workers send

    def __init__(self) -> None:
        self._local: dict[str, list[float]] = {}  # by number: monotonic times of local permissions
        # by number: Redis' time of its last permissions, None when they were local
        self._stamps: dict[str, bytes | None] = {}
        self._released: dict[str, tuple[int, bytes]] = {}  # by number: how many, their time
        self._script: Script | None = None

    def release(self, number: str, count: int) -> None:
        """Give back unused permissions of the last acquire(); the next call tells Redis of them."""
        if not count:
            return
        if stamp := self._stamps.get(number):
            self._released[number] = (count, stamp)
        else:
            del self._local[number][-count:]

    def acquire(self, requests: Mapping[str, RateRequest]) -> dict[str, int]:
        """How many messages each phone_number_id may send now, in one call of Redis."""
        if not requests:
            return {}
        try:
            stamp, granted = self._acquire_in_redis(requests)
        except RedisError:
            stamp = None
            granted = {
                number: self._acquire_locally(number, one) for number, one in requests.items()
            }
        self._stamps |= dict.fromkeys(requests, stamp)
        return granted

    def _acquire_in_redis(
        self, requests: Mapping[str, RateRequest]
    ) -> tuple[bytes | None, dict[str, int]]:
        keys: list[str] = []
        arguments: list[float | bytes | str] = [WINDOW_SECONDS, RECOVERY_SECONDS]
        for number, request in requests.items():
            keys += [f'sent:{number}', *request.brakes]
            released = self._released.pop(number, (0, ''))
            arguments += [request.rate, request.wanted, *released]
        self._script = self._script or client().register_script(ACQUIRE)
        stamp, *granted = self._script(keys=keys, args=arguments, client=client())
        return stamp, dict(zip(requests, granted, strict=True))

    def _acquire_locally(self, number: str, request: RateRequest) -> int:
        now = time.monotonic()
        rate = max(1, int(request.rate * self.LOCAL_SHARE))
        recent = [at for at in self._local.get(number, ()) if at > now - WINDOW_SECONDS]
        granted = max(0, min(request.wanted, rate - len(recent)))
        self._local[number] = recent + [now] * granted
        return granted
