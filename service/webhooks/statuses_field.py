"""Statuses of field `messages`: those of messages move them, those of anything else are facts."""

from service.conversations import conversation
from service.conversations.conversation import ProfileNames
from service.graph.error_shapes import errors_in, told_errors
from service.messages import fact
from service.messages.fact import Fact, status_type
from service.messages.message_status import DeliveryStatus
from service.runtime.untrusted import MAX_NAME, as_dict, clean
from service.sending import delivery_status, escalation
from service.webhooks import identity_claims
from service.webhooks.contact_lookup import participant
from service.webhooks.item import Item, ItemOutcome

RECIPIENT_PREFIXES = ('recipient_', 'parent_recipient_')  # of the keys that say whom it went to


def store(items: list[Item]) -> None:
    """Store statuses; each item gets its outcome. In the caller's transaction."""
    read = [_read(item) for item in items]
    statuses = [one for one in read if isinstance(one, DeliveryStatus)]
    outcomes, failures = delivery_status.store(statuses)
    outcomes |= fact.store([one for one in read if isinstance(one, Fact)])
    escalation.apply(failures)
    for item, one in zip(items, read, strict=True):
        # Of two with one key the first has the outcome, the other one comes again.
        item.set_outcome(outcomes.pop(one.key, ItemOutcome.DUPLICATE))
    _update_names([item for item in items if item.outcome != ItemOutcome.DUPLICATE])


def _update_names(items: list[Item]) -> None:
    """Keep the names that statuses show of the people they went to, the last of each."""
    names: dict[str, ProfileNames] = {}
    for item in items:
        profile = identity_claims.profile(item)
        if item.conversation_id and profile:
            names[item.conversation_id] = ProfileNames(
                item.conversation_id, item.timestamp, profile.get('username'), profile.get('name')
            )
    conversation.update_profile_names(list(names.values()))


def _read(item: Item) -> DeliveryStatus | Fact:
    data = item.data
    chatbot_id = item.account.chatbot_id
    if status_type(data):
        return fact.of_status(item, chatbot_id)
    errors = told_errors(data)
    if not isinstance(errors, list):
        errors = errors_in(errors) or None
    return DeliveryStatus(
        chatbot_id=chatbot_id,
        phone_number_id=item.phone_number_id,
        wamid=item.wamid,
        status=clean(data['status'], MAX_NAME) or '',
        participant=participant(data),
        timestamp=item.at,
        opaque=clean(data.get('biz_opaque_callback_data'), 512),
        errors=errors,
        pricing=as_dict(data.get('pricing')) or None,
        recipient={name: data[name] for name in data if name.startswith(RECIPIENT_PREFIXES)},
    )
