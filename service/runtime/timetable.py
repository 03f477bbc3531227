"""Pure: when those who have much to do depart. Who has little goes at once.

What comes between two departures goes together, in as few statements as one message takes. A turn
takes four after another: the commit of its webhook, the step that reads it, the record of the
answer, the claim that sends it. Each departs a little after the one before, in all processes of a
machine alike, so a message waits for the first and is just in time for the others.
"""

import math
from dataclasses import dataclass

EVERY = 0.05  # seconds


@dataclass(frozen=True, slots=True)
class Departures:
    """One each `every` seconds, `offset` seconds after the full ones."""

    offset: float
    every: float = EVERY

    def after(self, moment: float) -> float:
        """The first one later than `moment`, both in monotonic seconds.

        Their zero is the machine's start, the same for all of its processes.
        """
        return (math.floor((moment - self.offset) / self.every) + 1) * self.every + self.offset


COMMIT = Departures(0, EVERY / 2)  # of webhooks: Meta waits for it
READ = Departures(0.008)
RECORD = Departures(0.027)  # what came of calls
SEND = Departures(0.034)
