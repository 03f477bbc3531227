"""The ledger of Graph send calls: what arrived, what became of it, and what the tests count."""

import json
import time
from collections import Counter, deque
from dataclasses import dataclass, field


@dataclass(slots=True)
class Send:
    """One call of `/messages`.

    The body stays bytes: a long benchmark leaves hundreds of thousands of these.
    """

    index: int
    phone_number_id: str
    token_tail: str
    raw: bytes
    monotonic: float = field(default_factory=time.monotonic)
    wall: float = field(default_factory=time.time)
    recipient: str = ''
    opaque: str | None = None
    outcome: str = 'error'  # accepted | error | reset | html
    answer: int | None = (
        None  # HTTP status; null while it runs and when the connection was closed instead
    )
    error_code: int | None = None
    wamid: str | None = None

    def shown(self) -> dict:
        return {
            'index': self.index,
            'monotonic': self.monotonic,
            'wall': self.wall,
            'phone_number_id': self.phone_number_id,
            'token_tail': self.token_tail,
            'recipient': self.recipient,
            'opaque': self.opaque,
            'outcome': self.outcome,
            'answer': self.answer,
            'error_code': self.error_code,
            'wamid': self.wamid,
            'body': readable(self.raw),
        }


def readable(raw: bytes) -> object:
    try:
        return json.loads(raw)
    except ValueError:
        return raw.decode(errors='replace')


class Sends:
    def __init__(self) -> None:
        self.calls: list[Send] = []

    def record(self, phone_number_id: str, token: str, raw: bytes) -> Send:
        send = Send(len(self.calls), phone_number_id, token[-4:], raw)
        self.calls.append(send)
        return send

    def since(self, index: int, limit: int | None) -> list[dict]:
        end = None if limit is None else index + limit
        return [send.shown() for send in self.calls[index:end]]

    def counts(self, since: int = 0, *, brief: bool = False) -> dict:
        """Totals; unless `brief` also per opaque id and per recipient, which may be long."""
        calls = self.calls[since:]
        accepted = [send for send in calls if send.outcome == 'accepted']
        totals = {
            'calls': len(calls),
            'accepted': len(accepted),
            'by_outcome': Counter(send.outcome for send in calls),
            'by_error_code': Counter(
                str(send.error_code) for send in calls if send.error_code is not None
            ),
            'accepted_more_than_once': sum(
                n > 1 for n in Counter(s.opaque for s in accepted if s.opaque).values()
            ),
            'max_per_second': busiest_seconds(calls),
        }
        if brief:
            return totals
        return totals | {
            'accepted_by_opaque': Counter(send.opaque for send in accepted if send.opaque),
            'accepted_by_recipient': Counter(send.recipient for send in accepted),
        }


def busiest_seconds(calls: list[Send]) -> dict[str, int]:
    """Per phone_number_id: the most calls (accepted or not) within any sliding second."""
    windows: dict[str, deque] = {}
    most: Counter = Counter()
    for send in calls:
        window = windows.setdefault(send.phone_number_id, deque())
        window.append(send.monotonic)
        while window[0] <= send.monotonic - 1:
            window.popleft()
        most[send.phone_number_id] = max(most[send.phone_number_id], len(window))
    return most
