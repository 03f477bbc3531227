"""Reads SQL statements: which states of a message they move, and where to."""

import ast
import importlib
import re
from collections.abc import Iterator
from dataclasses import dataclass

from service.messages.state_machine import Status

GIVEN = 'given'  # a state that Python passes to the statement
UPDATE = re.compile(
    r'\bUPDATE\s+(?:ONLY\s+)?"?message"?(?:\s+(?:AS\s+)?(?!SET\b)\w+)?\s+SET\b', re.I
)
INSERT = re.compile(r'\bINSERT\s+INTO\s+"?message"?\s*(?:AS\s+\w+\s*)?\(', re.I)
VALUES = re.compile(r'\bSELECT\b|\bVALUES\s*\(', re.I)
ENDS_LIST = re.compile(r'(?:FROM|WHERE|RETURNING)\b', re.I)
ASSIGNS_STATUS = re.compile(r'\s*"?status"?\s*=\s*(.*)', re.I | re.S)
ASSIGNS_SEVERAL = re.compile(r'\s*\([^()]*\bstatus\b', re.I)
RESULT = re.compile(r"(?:\b(?:THEN|ELSE)\s+|^\s*)'(\w+)'", re.I)
CASE_AS_STATUS = re.compile(r'\bCASE\b((?:(?!\bCASE\b).)*?)\bEND\s+AS\s+status\b', re.I | re.S)
SOURCE = re.compile(
    r"(?<![\w.])(?:m\.|message\.)?(?:status|waiting)\s*(?:\|\| ''\s*)?"
    r"(?:=\s*'(?P<one>\w+)'|IN\s*\((?P<some>[^)]*)\)"
    r'|(?P<other>=\s*ANY\b|=\s*%|<>|!=|NOT\b|LIKE\b|[<>]))',
    re.I,
)
COMMENT = re.compile(r'--[^\n]*')


@dataclass(frozen=True)
class Moves:
    """From which states a statement moves a message, and to which; `sources` empty: from any."""

    sources: frozenset[str]
    targets: frozenset[str]

    def pairs(self) -> set[tuple[str, str]]:
        """Each move that the statement may make; one that leaves the state as it is is none."""
        sources = self.sources or {str(status) for status in Status}
        return {(one, other) for one in sources for other in self.targets if one != other}


def moves_of(statement: str) -> Moves | None:
    """What an UPDATE of message.status does; None for every other statement."""
    statement = COMMENT.sub('', statement)
    found = UPDATE.search(statement)
    if not found:
        return None
    assignments, end = _split(statement, found.end())
    assert not any(map(ASSIGNS_SEVERAL.match, assignments)), 'a row of columns cannot be read here'
    expressions = [one[1] for one in map(ASSIGNS_STATUS.match, assignments) if one]
    if not expressions:
        return None
    (expression,) = expressions
    elsewhere = f'{statement[: found.start()]} {expression} {statement[end:]}'
    return Moves(_sources(elsewhere), _targets(expression, statement))


def starts_of(statement: str) -> frozenset[str]:
    """The states in which an INSERT lets messages begin; none for every other statement."""
    statement = COMMENT.sub('', statement)
    found = INSERT.search(statement)
    if not found:
        return frozenset()
    names, end = _split(statement, found.end())
    columns = [name.strip().strip('"') for name in names]
    if 'status' not in columns:  # it is one of the columns of the rows
        return frozenset({GIVEN})
    values, _ = _split(statement, VALUES.search(statement, end).end())
    # Counted from the end: `n.*` stands for many columns.
    return _targets(values[columns.index('status') - len(columns)].strip(), '')


def _split(statement: str, start: int) -> tuple[list[str], int]:
    """The parts of a list in SQL from a place on, and where it ends."""
    parts = ['']
    depth = 0
    is_quoted = False
    for place in range(start, len(statement)):
        letter = statement[place]
        if letter == "'":
            is_quoted = not is_quoted
        depth += (letter == '(') - (letter == ')') if not is_quoted else 0
        is_word = not (statement[place - 1].isalnum() or statement[place - 1] in '._')
        if depth < 0 or depth == 0 and is_word and ENDS_LIST.match(statement, place):
            return parts, place
        if letter == ',' and depth == 0 and not is_quoted:
            parts.append('')
        else:
            parts[-1] += letter
    return parts, len(statement)


def _sources(text: str) -> frozenset[str]:
    found = set()
    for one in SOURCE.finditer(text):
        if one['other']:
            found.add(GIVEN)
        else:
            found |= set(re.findall(r"'(\w+)'", f"'{one['one']}'" if one['one'] else one['some']))
    return frozenset(found)


def _targets(expression: str, statement: str) -> frozenset[str]:
    """The literals that an expression may result in, also of a subquery's column `status`."""
    if literals := frozenset(RESULT.findall(expression)):
        return literals
    cases = CASE_AS_STATUS.findall(statement)
    return frozenset(RESULT.findall(' '.join(cases))) or frozenset({GIVEN})


def statements_in(path, root) -> Iterator[tuple[str, str]]:
    """(name, statement) of every string of a file that moves messages or lets them begin.

    A constant is called like its module and itself, and has the value that it has at run time;
    a string within a function is called like the function.
    """
    tree = ast.parse(path.read_text())
    module = '.'.join(path.relative_to(root).with_suffix('').parts)
    for node in tree.body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            name = node.targets[0].id
            value = getattr(importlib.import_module(module), name)
            for text in value if isinstance(value, tuple) else [value]:
                if isinstance(text, str) and _concerns_messages(text):
                    yield f'{module}.{name}', text
        elif isinstance(node, ast.FunctionDef | ast.ClassDef):
            found = [text for text in strings(node) if _concerns_messages(text)]
            yield from ((f'{module}.{node.name}', text) for text in found)


def _concerns_messages(text: str) -> bool:
    return bool(UPDATE.search(text) or INSERT.search(text))


def strings(tree: ast.AST) -> Iterator[str]:
    """Every string in it, an f-string as one with {} for what is put in."""
    parts = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            parts |= set(map(id, node.values))
            texts = [one.value if isinstance(one, ast.Constant) else '{}' for one in node.values]
            yield ''.join(texts)
        elif _is_text(node) and id(node) not in parts:
            yield node.value


def _is_text(node: ast.AST) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, str)
