"""docs/errors.md, from the error table: `python -m service.graph.error_docs > docs/errors.md`."""

import sys
from collections.abc import Iterable

from service.graph.error_class import CLASSES, SCOPES, Key, KnownError
from service.graph.error_codes import TABLE, codes
from service.graph.own_errors import OUR_OWN, UNKNOWN
from service.runtime.errors import CODES

PAGE = """\
# Errors

## Answers of the API

Every refusal is a [problem detail](https://www.rfc-editor.org/rfc/rfc9457): `code` is stable and
for programs, `type` leads to its entry here (`GET /whatsapp-cloud/docs/errors` serves this page),
`detail` and `errors` are for people. Where Meta refused, `code` is Meta's own number: [its
codes](#metas-codes).

Each answer has a `Request-Id`; the log lines of that request bear it as `request_id`, and each
refusal has one line, `request refused`. An `X-Request-Id` of 20 to 128 letters, digits, `_` and
`-`, as a proxy sends it, is kept.

{ours}

## Errors of messages

Every error code of Meta's that is known here, what it means and what to do. A message that
failed, waits or is held shows both sentences beside Meta's own words. The page is written by
`python -m service.graph.error_docs > docs/errors.md`.

### What the gateway does

| class | |
|---|---|
{classes}

A scope says what else is slowed down, or stops, besides the message: {scopes}.

## Meta's codes

{codes}

## Without a code of Meta's

{own}

## Codes that are not in the table

Their class follows from the HTTP status.

{unknown}
"""


def page() -> str:
    """The text of docs/errors.md."""
    by_code = sorted(TABLE.items(), key=lambda item: min(codes(item[0])))
    return PAGE.format(
        ours='\n\n'.join(_entry(code, *texts) for code, texts in CODES.items()),
        classes='\n'.join(f'| {name} | {meaning} |' for name, meaning in CLASSES.items()),
        scopes=', '.join(f'`{scope}` {meaning}' for scope, meaning in SCOPES.items()),
        codes=_rows('code', ((_shown(key), known) for key, known in by_code)),
        own=_rows('outcome', ((f'`{word}`', known) for word, known in OUR_OWN.items())),
        unknown=_rows('HTTP status', UNKNOWN.items()),
    )


def _entry(code: str, meaning: str, fix: str) -> str:
    """A heading of its own: the fragment of `type` leads to it."""
    return f'### {code}\n\n{meaning} {fix}'


def _rows(title: str, entries: Iterable[tuple[str, KnownError]]) -> str:
    lines = [
        f'| {title} | class | what it means | what to do | wait | scope |',
        '|---|---|---|---|---|---|',
    ]
    for name, known in entries:
        wait = '' if known.delay is None else f'{known.delay} s'
        cells = (name, known.error_class, known.sentence, known.fix, wait, known.scope or '')
        lines.append(f'| {" | ".join(cells)} |')
    return '\n'.join(lines)


def _shown(key: Key) -> str:
    return (
        f'{key.start}-{key.stop - 1}' if isinstance(key, range) else ', '.join(map(str, codes(key)))
    )


if __name__ == '__main__':
    sys.stdout.write(page())
