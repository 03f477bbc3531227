"""What stands in the outbox at this moment: waiting, unknown, held. Each by its index."""

from typing import Any

from service.accounts.account import OF_CHATBOTS
from service.runtime.db import fetch
from service.runtime.prepared import fill
from service.runtime.session import LONG, long_time

COUNT_STANDING = fill(
    """
SELECT queued.count, queued.oldest_seconds, unknown.count, held.count
FROM (
  SELECT count(*), extract(epoch FROM now() - min(greatest(created_at, send_at)))::float8
    AS oldest_seconds
  FROM message WHERE waiting = 'queued' AND {of_chatbots}) AS queued,
  (SELECT count(*) FROM message WHERE waiting = 'unknown' AND {of_chatbots}) AS unknown,
  (SELECT count(*) FROM message WHERE waiting = 'held' AND {of_chatbots}) AS held
""",
    of_chatbots=OF_CHATBOTS,
)


def now(chatbots: list[str] | None) -> dict[str, Any]:
    """What waits to be sent and how long the oldest has (null: nothing waits), is unknown, held.

    A scheduled message waits from its `send_at` on. `chatbots`: of these alone, None: of all.
    """
    with long_time():
        ((queued, oldest, unknown, held),) = fetch(LONG + COUNT_STANDING, {'chatbots': chatbots})
    return {
        'waiting': {'count': queued, 'oldest_seconds': oldest},
        'unknown': unknown,
        'held': held,
    }
