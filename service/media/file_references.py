"""Pure: finds the files of ours that a message names, and puts Meta's ids in their place.

An id of ours in a message is a UUID, anything else is Meta's.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from service.content.fields import FREE_FORM
from service.content.file_names import for_people
from service.content.file_types import LIMITS
from service.runtime.ids import is_id

# The key beside a file's id, and the kind of the file.
FILE_KEYS = {**{kind: kind for kind in LIMITS}, 'gif': 'video'}
TYPES_WITHOUT_FILES = frozenset(('text', 'location', 'contacts', 'reaction', 'pin'))

Path = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class FileReference:
    """A place in a message that names a file of ours. `part`: the object with the file's id."""

    path: Path
    kind: str
    part: dict[str, Any]

    @property
    def media_id(self) -> str:
        media_id: str = self.part['id'].lower()
        return media_id


def find_references(value: dict[str, Any], path: Path = ()) -> Iterator[FileReference]:
    """All places in a message, or in a part of it, that name files of ours.

    `path`: of the part in its message.
    """
    waiting: list[tuple[Path, Any]] = [(path, value)]
    while waiting:
        where, container = waiting.pop()
        parts = container.items() if isinstance(container, dict) else enumerate(container)
        for name, part in parts:
            if not isinstance(part, dict | list) or name in FREE_FORM:
                continue
            if name in FILE_KEYS and isinstance(part, dict) and is_id(part.get('id')):
                yield FileReference((*where, name, 'id'), FILE_KEYS[name], part)
            waiting.append(((*where, name), part))


class FileAtMeta(Protocol):
    """A file that Meta has."""

    @property
    def meta_id(self) -> str | None: ...
    @property
    def filename(self) -> str | None: ...
    @property
    def mime_type(self) -> str: ...


def with_meta_ids(message_type: str, content: object, files: Mapping[str, FileAtMeta]) -> object:
    """A message's content with Meta's ids instead of ours. `files`: by our id."""
    body: dict[str, Any] = {message_type: _copy(content)}
    for reference in find_references(body):
        file = files[reference.media_id]
        reference.part['id'] = file.meta_id
        if reference.kind == 'document' and file.filename:
            # Without a name the customer sees none, without an ending nothing opens it.
            reference.part.setdefault('filename', for_people(file.filename, file.mime_type))
    return body[message_type]


def _copy(value: object) -> object:
    """A deep copy. By loops: a comprehension would double the depth of the recursion."""
    if isinstance(value, list):
        return list(map(_copy, value))
    if not isinstance(value, dict):
        return value
    copied = {}
    for name, part in value.items():
        copied[name] = _copy(part)
    return copied
