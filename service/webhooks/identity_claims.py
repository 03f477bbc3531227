"""Pure: what Meta's webhooks and answers say of who somebody is, as IdentityClaims.

Any id may stand in any field.
"""

from collections.abc import Iterable
from datetime import datetime

from service.content.person_id import PersonId, PersonIds, named, read
from service.conversations.identity_claim import IdentityClaim
from service.conversations.opt_out import OPTED_OUT_CODE
from service.graph.error_shapes import code_in, errors_in, told_errors
from service.graph.outcome import Outcome
from service.messages.fact import status_type
from service.runtime.ids import is_id
from service.runtime.timestamps import past_from_epoch
from service.runtime.untrusted import as_dict, as_text, clean, identifier, list_of_dicts
from service.sending.dispatch import ClaimedMessage
from service.webhooks.contact_lookup import participant
from service.webhooks.item import Item, JsonObject

CHANGES = frozenset(('user_changed_number', 'user_changed_user_id', 'customer_changed_number'))
# Statuses that say who has the phone at their time. A message may be read on any later day.
TIMED_STATUSES = frozenset(('sent', 'delivered'))
UPDATE = 'user_id_update'  # a field beside `messages`


def of_item(item: Item) -> IdentityClaim | None:
    """Whom a message is from, or an echo or a status speaks of; None when it says nothing."""
    return READERS[item.kind](item, item.account.chatbot_id)


def _of_message(item: Item, chatbot_id: str) -> IdentityClaim | None:
    data = item.data
    if group := identifier(data.get('group_id')):
        return IdentityClaim(chatbot_id, group=group)
    sender = (data.get('from_user_id'), data.get('from_parent_user_id'), data.get('from'))
    ids = named(*sender, *_contact_ids(item))
    at = past_from_epoch(data.get('timestamp'))
    if data.get('type') == 'system':
        change = _of_system(chatbot_id, as_dict(data.get('system')), at, ids)
        if change:
            return change
    return IdentityClaim(chatbot_id, **ids, at=at) if ids else None


def _contact_ids(item: Item) -> tuple[object, object, object]:
    contact = item.contact
    return contact.get('user_id'), contact.get('parent_user_id'), contact.get('wa_id')


def _of_system(
    chatbot_id: str, system: JsonObject, at: datetime | None, ids: PersonIds
) -> IdentityClaim | None:
    """The change that a system message tells of, None when it tells of another thing.

    `ids`: those of the message itself; they are those of before the change, or the new ones.
    """
    why = clean(system.get('type'), 64) or 'system'
    if why not in CHANGES:
        return None
    new = named(*(system.get(name) for name in ('user_id', 'parent_user_id', 'wa_id', 'new_wa_id')))
    before = (
        read(system.get('previous_user_id')),
        read(system.get('previous_parent_user_id')),
        *map(read, ids.values()),
        read(system.get('customer')),
    )
    other_ids = _other_ids(before, new)
    if not (new and other_ids):
        return None
    return IdentityClaim(chatbot_id, **new, at=at, why=why, other_ids=other_ids, is_change=True)


def _other_ids(before: Iterable[PersonId | None], new: PersonIds) -> tuple[PersonId, ...]:
    """The ids of before a change that are no longer theirs."""
    return tuple(dict.fromkeys(one for one in before if one and one.value not in new.values()))


def _of_echo(item: Item, chatbot_id: str) -> IdentityClaim | None:
    """Whom the business wrote to on its own phone."""
    data = item.data
    if group := identifier(data.get('group_id')):
        return IdentityClaim(chatbot_id, group=group)
    ids = named(data.get('to_user_id'), data.get('to'), *_contact_ids(item))
    at = past_from_epoch(data.get('timestamp'))
    return IdentityClaim(chatbot_id, **ids, at=at, why='echo') if ids else None


def _of_status(item: Item, chatbot_id: str) -> IdentityClaim | None:
    data = item.data
    if data.get('recipient_type') == 'group' or participant(data):
        return None
    ids = named(
        data.get('recipient_user_id'),
        data.get('recipient_parent_user_id'),
        data.get('parent_recipient_user_id'),
        data.get('recipient_id'),
        *_contact_ids(item),
    )
    if not ids:
        return None
    is_of_message = status_type(data) is None
    is_timed = is_of_message and data.get('status') in TIMED_STATUSES
    opaque = as_text(data.get('biz_opaque_callback_data'))
    return IdentityClaim(
        chatbot_id,
        **ids,
        at=past_from_epoch(data.get('timestamp')) if is_timed else None,
        why='status',
        updates_only=True,
        message_id=opaque.lower() if is_id(opaque) else None,
        lock=is_of_message and _opts_out(data),
    )


def _opts_out(status: JsonObject) -> bool:
    """Whether a status opts its person out of marketing (conversations/opt_out.py)."""
    return any(code_in(error) == OPTED_OUT_CODE for error in errors_in(told_errors(status)))


def of_update(item: Item, chatbots: list[str]) -> list[IdentityClaim]:
    """What a change of the field user_id_update says. Meta withdrew the field: it is tolerated."""
    updates = list_of_dicts(as_dict(item.change.value).get(UPDATE))
    claims = [_of_update(chatbot_id, one) for one in updates for chatbot_id in chatbots]
    return [claim for claim in claims if claim]


def _of_update(chatbot_id: str, update: JsonObject) -> IdentityClaim | None:
    user = as_dict(update.get('user_id'))
    parent = as_dict(update.get('parent_user_id'))
    new = named(user.get('current'), parent.get('current'), update.get('wa_id'))
    before = (read(user.get('previous')), read(parent.get('previous')))
    other_ids = _other_ids(before, new)
    if not (new and other_ids):
        return None
    return IdentityClaim(
        chatbot_id,
        **new,
        at=past_from_epoch(update.get('timestamp')),
        why=UPDATE,
        other_ids=other_ids,
        is_change=True,
        updates_only=True,
    )


def of_answer(message: ClaimedMessage, outcome: Outcome, at: datetime) -> IdentityClaim | None:
    """What Meta's answer to a send adds to what was known; None when it says nothing new."""
    if (message.extra or {}).get('recipient_type') == 'group':
        return None
    sent_to = read(message.recipient_to or message.recipient)
    shown = (outcome.wa_id, outcome.user_id)
    claim = IdentityClaim(
        message.chatbot_id,
        phone=outcome.wa_id,
        user=outcome.user_id,
        at=at,
        why='answer',
        other_ids=(sent_to,) if sent_to and sent_to.value not in shown else (),
        updates_only=True,
    )
    return claim if len(claim.keys) > 1 else None


def profile(item: Item) -> dict[str, str]:
    """What a message or a status shows of a person: {column of conversation: value}."""
    shown = as_dict(item.contact.get('profile'))
    names = {'username': clean(shown.get('username'), 255), 'name': clean(shown.get('name'), 255)}
    return {name: value for name, value in names.items() if value}


READERS = {'message': _of_message, 'echo': _of_echo, 'status': _of_status}
