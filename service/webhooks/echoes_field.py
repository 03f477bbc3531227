"""Field smb_message_echoes: what the business wrote on its own phone (docs/meta.md, section 5)."""

from collections.abc import Sequence

from service.content.person_id import named
from service.messages.echo import messages_under_way
from service.runtime.untrusted import as_dict
from service.webhooks import identity_claims, payload
from service.webhooks.item import Item, ItemOutcome

FIELD = 'smb_message_echoes'
Likeness = tuple[str, str, str]  # a conversation, a type and a text


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


def written_by_people(echoes: Sequence[Item]) -> list[Item]:
    """The echoes but those of messages that we are sending ourselves just now."""
    under_way = messages_under_way({one.conversation_id for one in echoes})
    ours = {_likeness(one.conversation_id, one.type, one.content) for one in under_way}
    return [one for one in echoes if _likeness_of(one) not in ours]


def _likeness_of(item: Item) -> Likeness:
    kind = item.data.get('type')
    return _likeness(item.conversation_id, str(kind), item.data.get(str(kind)))


def _likeness(conversation_id: str, kind: str, content: object) -> Likeness:
    """What an echo and its message have in common: texts are the same, all else is of one type."""
    body = as_dict(content).get('body') if kind == 'text' else None
    return conversation_id, kind, str(body)
