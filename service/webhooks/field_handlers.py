"""The table of webhook fields: who handles a change of which field.

Changes that speak of people are not here: their fields have modules of their own. All that has no
handler stays in the event's body.
"""

from collections.abc import Callable

from service.accounts import health_event
from service.accounts.receiving_account import speaks_for
from service.runtime.timestamps import past_from_epoch
from service.runtime.untrusted import as_dict
from service.sending import holds
from service.templates import template_event
from service.webhooks.item import Item, ItemOutcome

Handler = Callable[[Item], None]  # it sets the outcome of the change

# What Meta documents beside `messages` (docs/meta.md, section 5).
KNOWN_FIELDS = frozenset((
    'account_alerts', 'account_review_update', 'account_settings_update', 'account_update',
    'automatic_events', 'business_capability_update', 'business_username_updates', 'calls', 'flows',
    'group_lifecycle_update', 'group_participants_update', 'group_participant_update',
    'group_settings_update', 'group_status_update', 'history', 'message_template_components_update',
    'message_template_quality_update', 'message_template_status_update', 'messaging_handovers',
    'partner_solutions', 'payment_configuration_update', 'phone_number_name_update',
    'phone_number_quality_update', 'security', 'smb_app_state_sync', 'smb_message_echoes',
    'standby', 'template_category_update', 'user_id_update', 'user_preferences',
))  # fmt: skip


def _handle_template(item: Item) -> None:
    change = item.change
    at = past_from_epoch(change.time) or item.received_at
    verdict = template_event.on_template_event(item.key, change.waba_id, as_dict(change.value), at)
    if verdict is None:
        missing = 'no id of the WhatsApp Business account, or no name or language of a template'
        item.set_outcome(ItemOutcome.INVALID, missing)
        return
    holds.apply_verdict(verdict)
    item.set_outcome(ItemOutcome.STORED)


def _handle_health(item: Item) -> None:
    change = item.change
    outcome, detail = health_event.store_event(
        item.key, change.waba_id, change.value, time=change.time, received_at=item.received_at
    )
    item.set_outcome(outcome, detail)


# Of a whole WABA: on an account's own path nothing may come but what is about its own WABA.
WABA_HANDLERS: dict[str, Handler] = {
    **dict.fromkeys(template_event.FIELDS, _handle_template),
    **dict.fromkeys(health_event.FIELDS, _handle_health),
}


def handle(item: Item) -> None:
    """Hand one change to its handler, if there is one. The change gets its outcome."""
    if handler := WABA_HANDLERS.get(item.key):
        if item.path and not speaks_for(item.path, item.change.waba_id):
            foreign = "the WhatsApp Business account is not this account's"
            item.set_outcome(ItemOutcome.REFUSED, foreign)
        else:
            handler(item)
    elif item.key in KNOWN_FIELDS:
        item.set_outcome(ItemOutcome.STORED)
    else:
        item.set_outcome(ItemOutcome.IGNORED, 'unknown field, kept in the event')
