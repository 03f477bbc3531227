"""What becomes of a change of any field but `messages`: field → who keeps it.

The others stay in the event's body.
"""

from service.accounts import health_event
from service.accounts.account import speaks_for
from service.runtime.timestamps import past
from service.runtime.untrusted import as_dict
from service.sending import holds
from service.templates import template_event
from service.webhooks.payload import KNOWN_FIELDS, Item


def _of_a_template(item):
    data = item.data
    at = past(data['time']) or item.received_at
    verdict = template_event.on_template_event(
        item.key, data['waba_id'], as_dict(data['value']), at
    )
    if verdict is None:
        return (
            'invalid',
            'no id of the WhatsApp Business account, or no name or language of a template',
        )
    holds.apply_verdict(verdict)
    return 'stored', None


# What Meta says of a whole WABA, so an app of its own may say it of its own WABA only.
OF_A_WABA = {
    **dict.fromkeys(template_event.FIELDS, _of_a_template),
    **dict.fromkeys(health_event.FIELDS, health_event.heard),
}


def keep(item: Item) -> tuple[str, str | None]:
    """Give one change to whom it concerns; its (outcome, detail)."""
    if handler := OF_A_WABA.get(item.key):
        if item.path and not speaks_for(item.path, item.data['waba_id']):
            return 'refused', "the WhatsApp Business account is not this account's"
        return handler(item)
    return (
        ('stored', None)
        if item.key in KNOWN_FIELDS
        else ('ignored', 'unknown field, kept in the event')
    )
