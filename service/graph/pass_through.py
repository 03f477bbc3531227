"""Calls of Meta's API that are handed on as they came, and Meta's answer as it is.

The token goes to Meta alone: of an answer, whose links to further pages repeat it, it is taken out.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from urllib3.exceptions import HTTPError

from service.graph.connections import Answer, Connections, seconds_for, without
from service.graph.media_client import HEADERS
from service.runtime.errors import Unavailable

LARGEST_ANSWER = 4 * 2**20  # bytes: a thousand templates have some 3 MB


@dataclass(frozen=True, slots=True)
class GraphCall:
    """A call; `path` is that behind the version, with its query. `size`: bytes of the body."""

    method: str
    version: str
    path: str
    body: bytes | Iterable[bytes] | None = None
    size: int = 0
    headers: Mapping[str, str] = field(default_factory=dict)


class PassThrough:
    """Connections to the Graph API for `concurrency` threads."""

    def __init__(self, concurrency: int) -> None:
        self._meta = Connections(concurrency)

    def call(self, call: GraphCall, token: str) -> Answer:
        """Meta's answer, without the token. Raises Unavailable when there is none."""
        headers = {**HEADERS, **call.headers}
        try:
            answer = self._meta.call(
                call.method,
                call.path,
                token,
                call.body,
                headers,
                seconds_for(call.size) if call.size else None,
                LARGEST_ANSWER,
                call.version,
            )
        except HTTPError as error:
            sentence = f'Meta has not answered ({type(error).__name__}).'
            raise Unavailable(sentence, code='meta_unreachable') from error
        return without(answer, token)  # also a short one
