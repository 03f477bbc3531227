"""GET /usage: how many messages, what they cost, and what AIs took."""

import csv
import io
from collections.abc import Collection
from datetime import date

from flask import Blueprint, Response

from service.billing import usage
from service.web import accepted, account_answers, request_input
from service.web.auth import find_account, guard, scope
from service.web.described import JSON, describe
from service.web.plain_shapes import USAGE_CSV
from service.web.request_input import query_parameters
from service.web.responses import JSONObject

blueprint = guard(Blueprint('usage', __name__))
CSV = 'text/csv'
FORMULAS = ('=', '+', '-', '@', '\t', '\r')  # words that Meta made up may begin so


@blueprint.get('/usage')
@scope('read')
@query_parameters('chatbot_id', 'from', 'to', 'by', 'group')
@describe(account_answers.Usage, problems=('unknown_chatbot',), also={CSV: USAGE_CSV})
def show() -> JSONObject | Response:
    """Count the messages of an account, by day or month, direction, category and country.

    With what Meta bills for them by the rate card; as CSV with `Accept: text/csv`.
    """
    account = find_account(request_input.required('chatbot_id'))
    first, last = _date('from'), _date('to')
    by = request_input.choice('by', usage.PERIODS) or 'day'
    group = _group()
    rows = usage.read(account.chatbot_id, first, last, by, group)
    if accepted.best_type((JSON, CSV)) == CSV:
        return _as_csv(rows, (by, 'direction', *group))
    return {'data': rows, 'tokens': usage.tokens_by_day(account.chatbot_id, first, last)}


def _group() -> list[str]:
    """What rows are told apart by, beside period and direction. Raises Invalid."""
    words = (request_input.parameter('group') or 'category').split(',')
    wanted = {word.strip() for word in words}
    if not wanted <= {*usage.GROUPS}:
        raise request_input.invalid('group', f'A list of these: {", ".join(usage.GROUPS)}.')
    return [name for name in usage.GROUPS if name in wanted]


def _as_csv(rows: list[JSONObject], keys: Collection[str]) -> Response:
    names = [*keys, 'count', 'billed', 'unpriced', 'cost', 'currency']
    file = io.StringIO()
    writer = csv.writer(file)
    writer.writerow(names)
    for row in rows:
        writer.writerow([_cell(row[name]) for name in names])
    return Response(file.getvalue(), content_type=f'{CSV}; charset=utf-8')


def _cell(value: object) -> object:
    """A text that a spreadsheet would take for a formula, as a text; all else as it is."""
    return f"'{value}" if isinstance(value, str) and value.startswith(FORMULAS) else value


def _date(name: str) -> date | None:
    value = request_input.parameter(name)
    try:
        return date.fromisoformat(value) if value else None
    except ValueError:
        raise request_input.invalid(name, 'Not a date like 2026-11-22.') from None
