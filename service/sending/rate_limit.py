"""What may leave now: a budget of messages per second and phone number, shared by all send
processes through Redis.
"""

import time
from contextlib import suppress

from redis import RedisError

from service.runtime.queues import client

WINDOW = 1.03  # seconds: a little more than one, for what the way to Meta compresses

# A sliding window per number: never more than `rate` in any WINDOW. Each list holds the times of
# the last `rate` messages; a message may go when the one `rate` places before it is WINDOW old. All
# numbers of a claim in one call. After a rest a second's worth may leave at once; then they leave
# evenly, a tenth of a second's worth at a time, for of two bursts on a busy machine the first may
# arrive late and the second in time: too many within one second at Meta. What is given back is
# taken out by its own time: it may have run out by now, and the others' are none of its business.
# Each number has three brakes: its own, its WABA's and its app's; see slow_down.
TAKE = """
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
  local rate, wanted, unused = tonumber(ARGV[4 * i - 1]), tonumber(ARGV[4 * i]), tonumber(ARGV[4 * i + 1])
  if unused > 0 then redis.call('LREM', key, -unused, ARGV[4 * i + 2]) end
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
    left = (left or 0) + unused
    tokens = math.max(left, math.min(left + (now - (at or now)) * rate / ARGV[1], math.max(1, rate / 10)))
  end
  local n = math.max(0, math.min(wanted, math.floor(tokens), rate - used))
  for _ = 1, n do redis.call('RPUSH', key, stamp) end
  redis.call('HSET', key .. ':pace', 'tokens', tostring(tokens - n), 'at', string.format('%.6f', now))
  redis.call('PEXPIRE', key .. ':pace', 5000)
  if n > 0 then redis.call('PEXPIRE', key, 5000) end
  granted[i + 1] = n
end
return granted
"""
# Halves a brake's factor, once a second at most however many answers complain, and pauses it when
# Meta says how long.
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
RECOVERY = 60  # seconds in which a brake comes off, evenly


def scope_keys(phone_number_id, waba_id, own_app):
    """The brakes of a number: its own, its WABA's, its app's (`own_app`: the chatbot that has one
    of its own).
    """
    return (
        f'slow:number:{phone_number_id}',
        f'slow:waba:{waba_id or phone_number_id}',
        f'slow:app:{own_app or ""}',
    )


def slow_down(key, pause=None):
    """Meta throttles: half the rate, back within RECOVERY seconds; nothing at all for `pause`
    seconds, if it asks.
    """
    with suppress(RedisError):
        client().eval(SLOW_DOWN, 1, key, RECOVERY, pause or 0)


class SendBudget:
    """Takes permissions for a whole claim at once; without Redis, an even and safe local share."""

    LOCAL_SHARE = 0.25  # of the rate, while Redis cannot say what the other workers take

    def __init__(self):
        self._local = {}  # number: [monotonic times]
        # number: the time that Redis gave its last permissions, None when they were local
        self._stamps = {}
        self._unused = {}  # number: (count, stamp)
        self._script = None

    def give_back(self, number, count):
        """Permissions of the last take() that no message was found for: told to Redis with the next
        call.
        """
        if not count:
            return
        if stamp := self._stamps.get(number):
            self._unused[number] = (count, stamp)
        else:
            del self._local[number][-count:]

    def take(self, wishes):
        """{phone_number_id: (rate per second, wanted, *scope_keys)} → {phone_number_id: granted},
        in one Redis call.
        """
        if not wishes:
            return {}
        keys, arguments = [], [WINDOW, RECOVERY]
        for number, (rate, wanted, *brakes) in wishes.items():
            keys += [f'sent:{number}', *(brakes or scope_keys(number, None, None))]
            arguments += [rate, wanted, *self._unused.pop(number, (0, ''))]
        try:
            self._script = self._script or client().register_script(TAKE)
            stamp, *granted = self._script(keys=keys, args=arguments, client=client())
        except RedisError:
            self._stamps |= dict.fromkeys(wishes)
            return {
                number: self._take_locally(number, *wish[:2]) for number, wish in wishes.items()
            }
        self._stamps |= dict.fromkeys(wishes, stamp)
        return dict(zip(wishes, granted, strict=True))

    def _take_locally(self, number, rate, wanted):
        now, rate = time.monotonic(), max(1, int(rate * self.LOCAL_SHARE))
        recent = [at for at in self._local.get(number, ()) if at > now - WINDOW]
        granted = max(0, min(wanted, rate - len(recent)))
        self._local[number] = recent + [now] * granted
        return granted
