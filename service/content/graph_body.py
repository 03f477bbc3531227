"""Pure: the body that is POSTed to Meta for a stored message."""

from typing import Any, Protocol

from service.content.person_id import named


def address(
    to: str | None, recipient: str | None, recipient_type: str | None = None
) -> dict[str, str | None]:
    """The recipient of a message, as Meta needs it.

    Without a "+" Meta may put a country code of its own in front of a number.
    """
    if recipient_type == 'group':
        return {'to': to}
    ids = named(to, recipient)
    if phone := ids.get('phone'):
        return {'to': f'+{phone}'}
    bsuid = ids.get('user') or ids.get('parent')
    return {'to': to} if to and not bsuid else {'recipient': bsuid or recipient}


class StoredMessage(Protocol):
    """What is read of a stored message to send it."""

    id: str
    type: str
    recipient_to: str | None
    recipient: str | None
    content: Any
    context: dict[str, Any] | None
    extra: dict[str, Any] | None


def graph_body(message: StoredMessage) -> dict[str, Any]:
    """The body that is POSTed to Meta for a message.

    Rows of earlier versions have the number as the caller gave it.
    """
    body = {
        'messaging_product': 'whatsapp',
        'recipient_type': 'individual',
        **(message.extra or {}),
    }
    body |= address(message.recipient_to, message.recipient, body['recipient_type'])
    if message.context:
        body['context'] = message.context
    body['type'] = message.type
    body[message.type] = message.content
    body['biz_opaque_callback_data'] = message.id
    return body
