"""Field smb_message_echoes: what the business wrote on its own phone (docs/meta.md, section 5)."""

from service.content.person_id import named
from service.webhooks import identity_claims, payload
from service.webhooks.item import Item, ItemOutcome

FIELD = 'smb_message_echoes'


def read(change: Item) -> list[Item]:
    """The echoes in a change that can be used. The change gets its outcome."""
    written = payload.echoes(change)
    for echo in written:
        echo.identity = None if echo.problem else identity_claims.of_item(echo)
    usable = [echo for echo in written if echo.identity]
    lost = len(written) - len(usable)
    detail = f'{lost} of {len(written)} messages could not be used' if lost else None
    change.set_outcome(ItemOutcome.STORED, detail)
    return usable


def recipient(echo: Item) -> tuple[str | None, str | None]:
    """Whom an echo went to: the phone and the BSUID, each None where Meta names none."""
    ids = named(echo.data.get('to_user_id'), echo.data.get('to'))
    return ids.get('phone'), ids.get('user') or ids.get('parent')
