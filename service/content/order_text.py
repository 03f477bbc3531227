"""Pure: the items of an order and their total, as text."""

from decimal import Decimal
from typing import Any

from service.runtime.untrusted import get_text, join_nonempty

LARGEST = 10**15  # of a quantity or a price that is worth a sum


def item_text(item: dict[str, Any]) -> str:
    what = f'{get_text(item, "quantity") or "?"} × {get_text(item, "product_retailer_id") or "?"}'
    price = join_nonempty(
        ' ',
        _money(item.get('item_price')) or get_text(item, 'item_price'),
        get_text(item, 'currency'),
    )
    return f'{what} at {price}' if price else what


def total_text(items: list[dict[str, Any]]) -> str:
    """The total, if all items have numbers and the same currency; else an empty text."""
    parts = [(_number(item.get('quantity')), _number(item.get('item_price'))) for item in items]
    currencies = {get_text(item, 'currency') for item in items}
    known = [
        (quantity, price) for quantity, price in parts if quantity is not None and price is not None
    ]
    if len(currencies) != 1 or len(known) < len(parts):
        return ''
    total = sum((quantity * price for quantity, price in known), Decimal())
    return join_nonempty(' ', 'Total', _money(total), *currencies)


def _number(value: object) -> Decimal | None:
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal):
        return None
    return Decimal(str(value)) if -LARGEST < value < LARGEST else None


def _money(value: object) -> str:
    amount = _number(value)
    if amount is None:
        return ''
    return f'{amount:.0f}' if amount == amount.to_integral_value() else f'{amount:.2f}'
