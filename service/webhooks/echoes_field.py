"""Webhook field smb_message_echoes: what the business wrote on its own phone (docs/meta.md, section 5)."""

from service.content.person_id import named
from service.webhooks import identity_claims
from service.webhooks.payload import echoes

FIELD = 'smb_message_echoes'


def found_in(changes):
    """The echoes, [(item, account)], in changes, [(item, account)], each of which gets its outcome."""
    found = []
    for change, account in changes:
        written = echoes(change)
        usable = [(one, account) for one in written if _is_usable(one, account['chatbot_id'])]
        lost = len(written) - len(usable)
        change.settle('stored', f'{lost} of {len(written)} messages could not be used' if lost else None)
        found += usable
    return found


def _is_usable(echo, chatbot_id):
    return not echo.problem and identity_claims.of_item(echo, chatbot_id)


def address(item):
    """The columns that an echo has beside those of an inbound message."""
    ids = named(item.data.get('to_user_id'), item.data.get('to'))
    return ids.get('phone'), ids.get('user') or ids.get('parent')
