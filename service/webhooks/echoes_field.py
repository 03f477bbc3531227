"""Webhook field smb_message_echoes: what the business wrote on its own phone (docs/meta.md, section
5).
"""

from service.content.person_id import named
from service.webhooks import identity_claims
from service.webhooks.payload import Item, echoes

FIELD = 'smb_message_echoes'


def found_in(change: Item) -> list[Item]:
    """The usable echoes in a change, which gets its outcome."""
    written = echoes(change)
    for echo in written:
        echo.identity = None if echo.problem else identity_claims.of_item(echo)
    usable = [echo for echo in written if echo.identity]
    lost = len(written) - len(usable)
    change.set_outcome(
        'stored', f'{lost} of {len(written)} messages could not be used' if lost else None
    )
    return usable


def address(item: Item) -> tuple[str | None, str | None]:
    """The columns that an echo has beside those of an inbound message."""
    ids = named(item.data.get('to_user_id'), item.data.get('to'))
    return ids.get('phone'), ids.get('user') or ids.get('parent')
