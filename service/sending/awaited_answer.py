"""What became of messages whose callers wait for Meta's answer (the Graph door)."""

import json
import logging
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from service.graph.error_class import ErrorClass
from service.graph.error_codes import look_up
from service.graph.outcome import ErrorDict, MetaAnswer
from service.messages.state_machine import Status
from service.runtime.db import fetch
from service.runtime.prepared import Prepared, fill
from service.runtime.rows import fetch_as

log = logging.getLogger(__name__)

MAX_ANSWER = 16 * 1024  # characters; Meta's answers have some hundred
PATIENCE_SECONDS = 10  # that a caller waits
# Without a wamid: it was not sent, and will not be.
ENDED = frozenset((Status.FAILED, Status.CANCELLED, Status.EXPIRED))


@dataclass(frozen=True, slots=True)
class AwaitedAnswer:
    """A message that Meta has taken (`wamid`) or that will not be sent (`error`).

    `answer`: what Meta said of it, as far as that is known.
    """

    id: str
    type: str
    to: str | None
    recipient: str | None
    wamid: str | None
    wa_id: str | None
    error: ErrorDict | None
    answer: MetaAnswer | None


@dataclass(slots=True)
class _Awaited:
    """The row of such a message. `reason`: why its account is held.

    `is_far`: if it is tried at all, it is not soon.
    """

    id: str
    type: str
    status: str
    to: str | None
    recipient: str | None
    wamid: str | None
    wa_id: str | None
    error: Any
    reason: Any
    meta_answer: Any
    is_far: bool


IS_FAR = fill(
    "(status = 'held' OR status = 'queued' AND due_at > now() + interval '{patience} s')",
    patience=PATIENCE_SECONDS,
)
FIND_AWAITED = Prepared(
    """
SELECT m.id, m.type, m.status, m.recipient_to AS to, m.recipient, m.wamid,
  m.answer_wa_id AS wa_id, m.error, a.send_state_reason AS reason, m.meta_answer,
  {is_far} AS is_far
FROM message m JOIN whatsapp_cloud_account a USING (chatbot_id) WHERE m.id = ANY(%s::uuid[])
""",
    is_far=IS_FAR,
)
# Whoever is told that a message was refused decides about it: it is not sent later.
CANCEL_REFUSED = fill(
    """
UPDATE message SET status = 'cancelled', hold_reason = NULL, due_at = NULL, updated_at = now(),
  error = coalesce(error, (
    SELECT send_state_reason FROM whatsapp_cloud_account a WHERE a.chatbot_id = message.chatbot_id))
WHERE id = ANY(%s::uuid[]) AND {is_far}
RETURNING id
""",
    is_far=IS_FAR,
)


def find(message_ids: Collection[str]) -> dict[str, AwaitedAnswer]:
    """{message id: what Meta said}, without the messages of which nothing is known yet.

    What Meta refuses until somebody acts, or for hours, is cancelled: its caller is told why. What
    is only tried again is waited for.
    """
    rows = fetch_as(_Awaited, FIND_AWAITED, (list(message_ids),))
    ended = {one.id for one in rows if one.status in ENDED}
    ended |= _cancel([one.id for one in rows if _is_refused(one)])
    return {one.id: _answer(one) for one in rows if one.wamid or one.id in ended}


def _is_refused(row: _Awaited) -> bool:
    """Whether somebody or something else has to change before it could be sent."""
    if row.wamid or not row.is_far:
        return False
    is_deferred = row.error and look_up(row.error['code']).error_class == ErrorClass.DEFERRED
    return row.status == Status.HELD or bool(is_deferred)


def _answer(row: _Awaited) -> AwaitedAnswer:
    """A failure that Meta tells of later, in a status, is none of its answer."""
    error = None if row.wamid else row.error or row.reason
    answer = MetaAnswer(**row.meta_answer) if row.meta_answer else None
    return AwaitedAnswer(
        row.id, row.type, row.to, row.recipient, row.wamid, row.wa_id, error, answer
    )


def kept(is_wanted: bool, answer: MetaAnswer | None) -> str | None:
    """Meta's answer as JSON that can be stored; None when nobody waits for it, or it cannot."""
    if not is_wanted or answer is None:
        return None
    try:
        text = json.dumps({'status': answer.status, 'body': answer.body}, allow_nan=False)
    except (ValueError, RecursionError):
        return None
    return text if len(text) <= MAX_ANSWER else None


def _cancel(message_ids: list[str]) -> set[str]:
    if not message_ids:
        return set()
    cancelled = {id_ for (id_,) in fetch(CANCEL_REFUSED, (message_ids,))}
    log.info('messages cancelled: refused', extra={'messages': len(cancelled)})
    return cancelled
