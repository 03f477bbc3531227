"""Statements that a direct connection prepares once and then executes by name.

PostgreSQL parses and plans them once for each connection, before it knows any values or how large
the tables will be. So a statement is written so that it has no other plan than look-ups in indexes;
a test holds every Prepared to that.
"""

import hashlib
import re
from collections.abc import Callable
from functools import cached_property, partial

PLACEHOLDER = re.compile(r'%(?:\((\w+)\))?s|%%')


def fill(text: str, **parts: object) -> str:
    """SQL with `parts` where {name} stands. An f-string would look like one of foreign text."""
    for name, part in parts.items():
        text = text.replace(f'{{{name}}}', str(part))
    return text


class Prepared(str):
    """SQL to be prepared; with {rows} of a dataclass (rows.py) `Prepared.for_rows(Price)('…')`.

    Its columns are named, never *: a new column of a table would change what it returns. A part
    that depends on a parameter (`%(x)s IS NULL OR …`) hides an index: that is two statements.
    """

    row_type: type | None

    def __new__(cls, text: str, row_type: type | None = None, **parts: object) -> 'Prepared':
        self = super().__new__(cls, fill(text, **parts))
        self.row_type = row_type
        return self

    @classmethod
    def for_rows(cls, row_type: type) -> Callable[..., 'Prepared']:
        return partial(cls, row_type=row_type)

    @cached_property
    def name(self) -> str:
        """The same for the same text, in every process."""
        return f's{hashlib.sha256(self.encode()).hexdigest()[:16]}'

    @cached_property
    def prepare(self) -> str:
        """PREPARE, with $1 and so on where a parameter stands."""
        numbers: dict[str, int] = {}

        def numbered(placeholder: re.Match[str]) -> str:
            if placeholder[0] == '%%':
                return '%'
            name = placeholder[1] or f'{len(numbers)}'
            return f'${numbers.setdefault(name, len(numbers) + 1)}'

        return f'PREPARE {self.name} AS {PLACEHOLDER.sub(numbered, self)}'

    @cached_property
    def execute(self) -> str:
        """EXECUTE, with the placeholders of the parameters."""
        found = (match[0] for match in PLACEHOLDER.finditer(self) if match[0] != '%%')
        named = ', '.join(found if '%s' in self else dict.fromkeys(found))
        return f'EXECUTE {self.name} ({named})' if named else f'EXECUTE {self.name}'
