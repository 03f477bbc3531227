"""What is due: how long until the next, or how long the oldest has waited, of each kind of work."""

import math

from service.runtime.db import fetch_dicts
from service.runtime.queues import ERRANDS, INCOMING, SEND

QUEUES = {
    'webhooks': INCOMING,
    'replies': INCOMING,
    'send': SEND,
    'media': ERRANDS,
    'receipts': ERRANDS,
    'templates': ERRANDS,
}  # each kind of work and the queue whose workers do it
# One statement: the clock asks twice a second. Of messages, the doubled condition names the index.
NEXT_DUE = """
SELECT extract(epoch FROM min_webhooks - now())::float8 AS webhooks,
  extract(epoch FROM min_replies - now())::float8 AS replies,
  extract(epoch FROM min_send - now())::float8 AS send,
  extract(epoch FROM min_media - now())::float8 AS media,
  extract(epoch FROM min_receipts - now())::float8 AS receipts,
  extract(epoch FROM min_templates - now())::float8 AS templates
FROM (SELECT
  (SELECT min(due_at) FROM webhook_event WHERE status = 'received') AS min_webhooks,
  (SELECT min(greatest(c.reply_due_at, c.reply_lease_until, c.paused_until)) FROM conversation c
   JOIN whatsapp_cloud_account a USING (chatbot_id)
   WHERE c.reply_due_at IS NOT NULL AND a.active) AS min_replies,
  (SELECT min(due_at) FROM message WHERE status IN ('scheduled', 'queued', 'sending', 'unknown')
     AND status IN ('scheduled', 'queued')) AS min_send,
  (SELECT min(due_at) FROM media WHERE status = 'fetching') AS min_media,
  (SELECT min(due_at) FROM read_receipt WHERE due_at IS NOT NULL) AS min_receipts,
  (SELECT min(greatest(due_at, lease_until)) FROM template_sync WHERE due_at IS NOT NULL) AS min_templates) next
"""


def next_due() -> dict[str, float | None]:
    """Seconds until something of each kind is due; negative: the oldest is late by so much; None: nothing waits."""
    return fetch_dicts(NEXT_DUE)[0]


def late_by(next_due: dict[str, float | None], seconds: float) -> dict[str, float]:
    """The kinds whose oldest due row has waited longer than this, each with its age in seconds."""
    return {kind: round(-wait, 1) for kind, wait in next_due.items() if wait is not None and wait < -seconds}


def until_next_ring(next_due: dict[str, float | None]) -> dict[str, float]:
    """Seconds until each queue has to be woken, 0 for now; queues with nothing to do are left out."""
    rings: dict[str, float] = {}
    for kind, wait in next_due.items():
        if wait is not None:
            queue = QUEUES[kind]
            rings[queue] = min(max(0, wait), rings.get(queue, math.inf))
    return rings
