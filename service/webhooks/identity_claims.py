"""Pure: what Meta's webhooks and answers say of who somebody is, as IdentityClaims.

Any id may stand in any field.
"""

from service.content.person_id import PersonId, named, read
from service.conversations.identity import IdentityClaim
from service.conversations.opt_out import OPTED_OUT_CODE
from service.graph.error_shapes import code_in, errors_in, told_errors
from service.messages.fact import status_type
from service.runtime.ids import is_id
from service.runtime.timestamps import past_from_epoch
from service.runtime.untrusted import as_dict, clean, identifier
from service.webhooks.contact_lookup import participant
from service.webhooks.item import Item

CHANGES = frozenset(('user_changed_number', 'user_changed_user_id', 'customer_changed_number'))
CERTAIN_AT = frozenset(
    ('sent', 'delivered')
)  # statuses that say who has the phone at their time; one is read any day
UPDATE = 'user_id_update'  # a field beside `messages`


def of_item(item: Item) -> IdentityClaim | None:
    """The IdentityClaim of whom a message is from, or a status or a change speaks of; None when it says
    nothing.
    """
    return OF[item.kind](item, item.account.chatbot_id)


def _of_message(item, chatbot_id):
    data, contact = item.data, item.contact
    if group := identifier(data.get('group_id')):
        return IdentityClaim(chatbot_id, group=group)
    ids = named(
        data.get('from_user_id'),
        data.get('from_parent_user_id'),
        data.get('from'),
        contact.get('user_id'),
        contact.get('parent_user_id'),
        contact.get('wa_id'),
    )
    at = past_from_epoch(data.get('timestamp'))
    if data.get('type') == 'system' and (
        change := _change(chatbot_id, as_dict(data.get('system')), at, ids)
    ):
        return change
    return IdentityClaim(chatbot_id, **ids, at=at) if ids else None


def _change(chatbot_id, system, at, ids):
    """The news of a system message; the message's own ids are those before it, or the new ones."""
    new = named(*(system.get(name) for name in ('user_id', 'parent_user_id', 'wa_id', 'new_wa_id')))
    before = [
        read(system.get('previous_user_id')),
        read(system.get('previous_parent_user_id')),
        *(PersonId(kind, value) for kind, value in ids.items()),
        read(system.get('customer')),
    ]
    why = clean(system.get('type'), 64) or 'system'
    return _changed(chatbot_id, new, before, at, why) if why in CHANGES else None


def _changed(chatbot_id, new, before, at, why, updates_only=False):
    also = tuple(
        dict.fromkeys(
            (one.kind, one.value) for one in before if one and one.value != new.get(one.kind)
        )
    )
    if not also or not new:
        return None
    return IdentityClaim(
        chatbot_id, **new, at=at, why=why, other_ids=also, is_change=True, updates_only=updates_only
    )


def _of_echo(item, chatbot_id):
    """Whom the business wrote to on its own phone."""
    data, contact = item.data, item.contact
    if group := identifier(data.get('group_id')):
        return IdentityClaim(chatbot_id, group=group)
    ids = named(
        data.get('to_user_id'),
        data.get('to'),
        contact.get('user_id'),
        contact.get('parent_user_id'),
        contact.get('wa_id'),
    )
    return (
        IdentityClaim(chatbot_id, **ids, at=past_from_epoch(data.get('timestamp')), why='echo')
        if ids
        else None
    )


def _of_status(item, chatbot_id):
    data, contact = item.data, item.contact
    if data.get('recipient_type') == 'group' or participant(data):
        return None
    ids = named(
        data.get('recipient_user_id'),
        data.get('recipient_parent_user_id'),
        data.get('parent_recipient_user_id'),
        data.get('recipient_id'),
        contact.get('user_id'),
        contact.get('parent_user_id'),
        contact.get('wa_id'),
    )
    is_of_message = status_type(data) is None
    at = (
        past_from_epoch(data.get('timestamp'))
        if is_of_message and data.get('status') in CERTAIN_AT
        else None
    )
    opaque = data.get('biz_opaque_callback_data')
    message_id = opaque.lower() if is_id(opaque) else None
    told = {
        'why': 'status',
        'updates_only': True,
        'message_id': message_id,
        'lock': is_of_message and _wants_no_marketing(data),
    }
    return IdentityClaim(chatbot_id, **ids, at=at, **told) if ids else None


def _wants_no_marketing(status):
    """Whether a status opts its person out (service/conversations/opt_out.py)."""
    return any(code_in(error) == OPTED_OUT_CODE for error in errors_in(told_errors(status)))


def of_update(item: Item, chatbots: list[str]) -> list[IdentityClaim]:
    """The Identities of a change of field user_id_update, which Meta withdrew: tolerated."""
    updates = as_dict(item.change.value).get(UPDATE)
    told = [
        _update(chatbot_id, one)
        for one in (updates if isinstance(updates, list) else [])
        if isinstance(one, dict)
        for chatbot_id in chatbots
    ]
    return list(filter(None, told))


def _update(chatbot_id, update):
    user, parent = as_dict(update.get('user_id')), as_dict(update.get('parent_user_id'))
    new = named(user.get('current'), parent.get('current'), update.get('wa_id'))
    before = [read(user.get('previous')), read(parent.get('previous'))]
    return _changed(
        chatbot_id, new, before, past_from_epoch(update.get('timestamp')), UPDATE, updates_only=True
    )


def of_answer(row, outcome, at):
    """What Meta's answer to a send adds to what was known; None when it says nothing new."""
    if (row['extra'] or {}).get('recipient_type') == 'group':
        return None
    sent_to = read(row['recipient_to'] or row['recipient'])
    also = (
        ((sent_to.kind, sent_to.value),)
        if sent_to and sent_to.value not in (outcome.wa_id, outcome.user_id)
        else ()
    )
    told = IdentityClaim(
        row['chatbot_id'],
        phone=outcome.wa_id,
        user=outcome.user_id,
        at=at,
        why='answer',
        other_ids=also,
        updates_only=True,
    )
    return told if len(told.known_by()) > 1 else None


def profile(item):
    """What a message or a status shows of a person: {column of conversation: value}."""
    shown = as_dict(item.contact.get('profile'))
    names = {'username': clean(shown.get('username'), 255), 'name': clean(shown.get('name'), 255)}
    return {name: value for name, value in names.items() if value}


OF = {'message': _of_message, 'echo': _of_echo, 'status': _of_status}
