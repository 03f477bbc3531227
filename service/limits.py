"""What may leave now: a budget of messages per second and phone number, shared by all send processes through Redis."""

import logging
import time

from redis import RedisError

from service.queues import client

log = logging.getLogger(__name__)

WINDOW = 1.03  # seconds: a little more than one, for what the way to Meta compresses

# A sliding window per number: never more than `rate` in any WINDOW. Each list holds the times of the last `rate`
# messages; a message may go when the one `rate` places before it is WINDOW old. All numbers of a claim in one call.
# What is given back is taken out by its own time: it may have run out by now, and the others' are none of its business.
TAKE = """
local time = redis.call('TIME')
local now, stamp = time[1] + time[2] / 1000000, string.format('%d.%06d', time[1], time[2])
local granted = {stamp}
for i, key in ipairs(KEYS) do
  local rate, wanted, unused = tonumber(ARGV[4 * i - 2]), tonumber(ARGV[4 * i - 1]), tonumber(ARGV[4 * i])
  if unused > 0 then redis.call('LREM', key, -unused, ARGV[4 * i + 1]) end
  local used = redis.call('LLEN', key)
  while used > 0 and tonumber(redis.call('LINDEX', key, 0)) <= now - tonumber(ARGV[1]) do
    redis.call('LPOP', key)
    used = used - 1
  end
  local n = math.max(0, math.min(wanted, rate - used))
  for _ = 1, n do redis.call('RPUSH', key, stamp) end
  if n > 0 then redis.call('PEXPIRE', key, 5000) end
  granted[i + 1] = n
end
return granted
"""


class SendBudget:
    """Takes permissions for a whole claim at once; without Redis, an even and safe local share."""

    LOCAL_SHARE = 0.25  # of the rate, while Redis cannot say what the other workers take

    def __init__(self):
        self._local = {}  # number: [monotonic times]
        self._stamps = {}  # number: the time that Redis gave its last permissions, None when they were local
        self._unused = {}  # number: (count, stamp)
        self._script = None

    def give_back(self, number, count):
        """Permissions of the last take() that no message was found for: told to Redis with the next call."""
        if not count:
            return
        if stamp := self._stamps.get(number):
            self._unused[number] = (count, stamp)
        else:
            del self._local[number][-count:]

    def take(self, wishes):
        """{phone_number_id: (rate per second, wanted)} → {phone_number_id: granted}, in one Redis call."""
        if not wishes:
            return {}
        numbers = list(wishes)
        arguments = [WINDOW]
        for number in numbers:
            arguments += [*wishes[number], *self._unused.pop(number, (0, ''))]
        try:
            self._script = self._script or client().register_script(TAKE)
            keys = [f'sent:{number}' for number in numbers]
            stamp, *granted = self._script(keys=keys, args=arguments, client=client())
            self._stamps |= dict.fromkeys(numbers, stamp)
            return dict(zip(numbers, granted, strict=True))
        except RedisError:
            self._stamps |= dict.fromkeys(numbers)
            return {number: self._take_locally(number, *wishes[number]) for number in numbers}

    def _take_locally(self, number, rate, wanted):
        now, rate = time.monotonic(), max(1, int(rate * self.LOCAL_SHARE))
        recent = [at for at in self._local.get(number, ()) if at > now - WINDOW]
        granted = max(0, min(wanted, rate - len(recent)))
        self._local[number] = recent + [now] * granted
        return granted
