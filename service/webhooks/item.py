"""Items: the parts of a webhook's body, each with what surrounds it there and its outcome."""

from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from service.accounts.receiving_account import ReceivingAccount
from service.conversations.identity_claim import IdentityClaim
from service.runtime.timestamps import past_from_epoch

JsonObject = dict[str, Any]  # an object as Meta sent it: nothing in it is certain


class ItemKind(StrEnum):
    MESSAGE = 'message'  # a customer's
    ECHO = 'echo'  # what the business wrote on its own phone, out of a change of that field
    STATUS = 'status'
    VALUE_ERROR = 'value_error'  # an error that concerns no message
    CHANGE = 'change'  # of any other field, or a part of the body that nothing reads


class ItemOutcome(StrEnum):
    STORED = 'stored'
    DUPLICATE = 'duplicate'  # it is stored already
    ORPHAN = 'orphan'  # a status whose message is not known yet
    REFUSED = 'refused'  # it may not come in this way, or no account has its number
    IGNORED = 'ignored'  # a field that is not known
    INVALID = 'invalid'  # it cannot be used


@dataclass(frozen=True, slots=True)
class Change:
    """What a change of another field than `messages` says. All of it may have any shape."""

    value: Any = None
    waba_id: str | None = None  # the id of its entry
    time: Any = None  # the time of its entry: seconds since 1970


@dataclass(slots=True)
class Item:
    """One part of a webhook's body, made by payload.py.

    `data` is Meta's object of a message, an echo, a status or a value error, and empty in a change,
    which has a `change`. Texts that Meta does not give are ''.
    """

    kind: ItemKind
    key: str  # the same for the same message, status or error; the field of a change
    data: JsonObject = field(default_factory=dict)
    change: Change = Change()
    phone_number_id: str = ''
    wamid: str = ''
    contact: JsonObject = field(default_factory=dict)  # the person's entry in `contacts`
    problem: str | None = None  # why it cannot be used

    # What surrounds it.
    display_phone_number: str | None = None
    waba_id: str | None = None
    received_at: datetime = field(default_factory=lambda: datetime.now(UTC))  # of its webhook
    path: str = ''  # of its webhook: the chatbot whose own path it is, '' for the shared one

    # Meta's time of a message or status, None when it gives none or one in the future.
    timestamp: datetime | None = field(init=False)

    # Found out while it is processed.
    receiver: ReceivingAccount | None = None  # whose number it came to, None for a stranger's
    identity: IdentityClaim | None = None  # of whom it speaks, None when it names nobody
    conversation_id: str = ''  # where that person is, '' for somebody who is not known
    outcome: ItemOutcome | None = None
    detail: str | None = None

    def __post_init__(self) -> None:
        self.timestamp = past_from_epoch(self.data.get('timestamp'))

    @property
    def account(self) -> ReceivingAccount:
        """The account whose number it came to. LookupError when no account has the number."""
        if self.receiver is None:
            raise LookupError('no account has the number of this item')
        return self.receiver

    @property
    def at(self) -> datetime:
        """Meta's time or, without one, the time of receipt."""
        return self.timestamp or self.received_at

    def set_outcome(self, outcome: str, detail: str | None = None) -> None:
        self.outcome = ItemOutcome(outcome)
        self.detail = detail

    def report(self) -> dict[str, str | None]:
        """What the webhook event shows of it."""
        return {'kind': self.kind, 'key': self.key, 'outcome': self.outcome, 'detail': self.detail}
