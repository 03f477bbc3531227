"""What a responder answered."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from service.billing.ledger import AIUsage

SendBody = dict[str, Any]  # as for POST /send


@dataclass(frozen=True, slots=True)
class ResponderAnswer:
    """The messages of an answer, none for silence.

    `usage`: what an AI took for it, as far as it said so. `is_later`: the platform's own service
    answers by POST /send with `in_reply_to`.
    """

    messages: Sequence[SendBody] = ()
    usage: AIUsage | None = None
    is_later: bool = False
