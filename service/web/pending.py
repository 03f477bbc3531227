"""What a caller waits for that others have to find out (waiting_calls.py)."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from service.runtime import logs


@dataclass(slots=True)
class LateAnswer:
    """What a caller gets who has waited."""

    status: int
    body: str


@dataclass(slots=True)
class Pending:
    """A request waits for the row `key`, until `until` (monotonic).

    `find`: {key: what is known}, of many keys at once; `render`: the answer that this makes.
    """

    find: Callable[[Collection[str]], Mapping[str, Any]]
    key: str
    render: Callable[[Any], LateAnswer]
    until: float
    request_id: str = field(default_factory=lambda: logs.request_id.get() or '')
