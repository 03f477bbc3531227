"""Meta's statuses: each is kept once and joined to its message, by our id or by the wamid."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from service.messages.fact import Key
from service.messages.message_status import DeliveryStatus
from service.runtime.ids import is_id
from service.runtime.prepared import Prepared
from service.runtime.rows import Uuid, fetch_as, fetch_bulk, fetch_bulk_as
from service.sending.escalation import SendFailure
from service.sending.status_change import News, TargetMessage, advance

Targets = dict[str, TargetMessage]  # by their ids


@dataclass(slots=True)
class MessageAddress:
    """Where Meta says that a message is."""

    phone_number_id: str
    wamid: str


@dataclass(frozen=True, order=True, slots=True)
class KnownWamid:
    """The wamid of a message that had none until a status told it."""

    id: Uuid
    phone_number_id: str
    wamid: str


LOCK_TARGETS = Prepared.for_rows(MessageAddress)("""
SELECT id, chatbot_id, conversation_id, phone_number_id, wamid, status, error, accepted_at,
  attempts, batch_id, tries, echo, fallback IS NOT NULL AS has_fallback
FROM message WHERE id IN (
  SELECT m.id FROM {rows} CROSS JOIN LATERAL (
    SELECT id FROM message
    WHERE phone_number_id = n.phone_number_id AND wamid = n.wamid AND direction = 'outbound'
    OFFSET 0) m
  UNION SELECT id FROM message WHERE id = ANY(%(ids)s::uuid[]) AND direction = 'outbound')
ORDER BY id FOR NO KEY UPDATE
""")
INSERT_STATUSES = Prepared.for_rows(DeliveryStatus)("""
INSERT INTO message_status ({columns}) SELECT * FROM {rows}
ON CONFLICT DO NOTHING RETURNING phone_number_id, wamid, status, participant
""")


def store(
    statuses: Iterable[DeliveryStatus],
) -> tuple[dict[Key, str], list[SendFailure]]:
    """Keep statuses and advance their messages, in the caller's transaction.

    Returns 'stored' or 'orphan' for the key of each new status (all others were known), and the
    failures that they tell of.
    """
    unique = {status.key: status for status in statuses}
    if not unique:
        return {}, []
    targets = _lock_targets(list(unique.values()))
    # Everybody inserts in one order, so that two workers never wait for each other.
    in_order = [unique[key] for key in sorted(unique)]
    new = set(fetch_bulk(INSERT_STATUSES, in_order))
    news = _with_targets([one for one in unique.values() if one.key in new], targets)
    news += _adopt_orphans(news)
    failures = advance(news)
    return {key: 'stored' if unique[key].message_id else 'orphan' for key in new}, failures


def _lock_targets(statuses: Sequence[DeliveryStatus]) -> Targets:
    """Lock the messages of statuses, and set the statuses' `message_id`."""
    named = {status.opaque for status in statuses if is_id(status.opaque)}
    addresses = [MessageAddress(status.phone_number_id, status.wamid) for status in statuses]
    found = fetch_bulk_as(TargetMessage, LOCK_TARGETS, addresses, ids=list(named))
    by_id = {target.id: target for target in found}
    by_wamid = {(target.phone_number_id, target.wamid): target for target in found if target.wamid}
    for status in statuses:
        target = by_id.get(status.opaque.lower()) if status.opaque else None
        if target is None or target.chatbot_id != status.chatbot_id:
            target = by_wamid.get((status.phone_number_id, status.wamid))
        status.message_id = target.id if target else None
    return by_id


def _with_targets(statuses: Iterable[DeliveryStatus], targets: Targets) -> News:
    """The statuses whose message is known, each with it."""
    return [
        (targets[status.message_id], status) for status in statuses if status.message_id in targets
    ]


# `message_id` also stands for `opaque`: the message is found by it.
LINK_ORPHANS = """
WITH orphan AS (
  SELECT s.id, m.id AS message_id FROM {orphans}
  FOR NO KEY UPDATE OF s SKIP LOCKED)
UPDATE message_status s SET message_id = orphan.message_id FROM orphan WHERE s.id = orphan.id
RETURNING s.chatbot_id, s.phone_number_id, s.wamid, s.status, s.participant, s.timestamp,
  s.message_id AS opaque, s.errors, s.pricing, s.recipient, s.message_id
"""
# num_nulls() keeps out the index of all orphans.
OF_EACH = """
{messages} m CROSS JOIN LATERAL (
  SELECT id FROM message_status
  WHERE phone_number_id = m.phone_number_id AND wamid = m.wamid AND num_nulls(message_id) = 1
  OFFSET 0) s
"""
SENT = """
(SELECT * FROM (
  SELECT id, phone_number_id, wamid, direction FROM message
  WHERE id = ANY(%(ids)s::uuid[]) OFFSET 0) m
WHERE direction = 'outbound')
"""
LINK_ORPHANS_OF_MESSAGES = Prepared(LINK_ORPHANS.format(orphans=OF_EACH.format(messages=SENT)))
LINK_ORPHANS_BY_WAMIDS = Prepared.for_rows(KnownWamid)(
    LINK_ORPHANS.format(orphans=OF_EACH.format(messages='(SELECT * FROM {rows})'))
)
RECENT = """
message m JOIN message_status s USING (phone_number_id, wamid)
WHERE s.message_id IS NULL AND m.direction = 'outbound' AND m.wamid IS NOT NULL
  AND s.received_at > now() - interval '1 hour'
"""
LINK_RECENT_ORPHANS = LINK_ORPHANS.format(orphans=RECENT)


def _adopt_orphans(news: News) -> News:
    """The orphans of messages whose first wamid these statuses bring."""
    targets = {target.id: target for target, _ in news}
    first = {
        KnownWamid(target.id, status.phone_number_id, status.wamid)
        for target, status in news
        if target.wamid is None
    }
    orphans = fetch_bulk_as(DeliveryStatus, LINK_ORPHANS_BY_WAMIDS, sorted(first))
    return _with_targets(orphans, targets)


def join_orphans(message_ids: Iterable[str] | None = None) -> tuple[int, list[SendFailure]]:
    """Join statuses that came before their message's wamid was recorded.

    In the caller's transaction. With None the orphans of the last hour are looked through, which
    finds what fell between two workers' transactions. Returns how many were joined, and the
    failures that they tell of.
    """
    if message_ids is None:
        orphans = fetch_as(DeliveryStatus, LINK_RECENT_ORPHANS)
    else:
        ids = {'ids': list(message_ids)}
        orphans = fetch_as(DeliveryStatus, LINK_ORPHANS_OF_MESSAGES, ids)
    if not orphans:
        return 0, []
    targets = _lock_targets(orphans)
    return len(orphans), advance(_with_targets(orphans, targets))
