"""What people tell beside messages (section 5): that they called, that they want no marketing, or
want it again.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from service.content.person_id import named
from service.conversations import opt_out
from service.conversations.identity import IdentityClaim
from service.conversations.opt_out import Statement
from service.runtime.db import columns, execute
from service.runtime.timestamps import past
from service.runtime.untrusted import as_dict, clean, identifier
from service.sending import holds
from service.webhooks.payload import Item

WISHES = {'stop': 'opt_out', 'resume': 'opt_in', 'signup': 'opt_in'}
# A call opens the 24-hour window as a message does (section 8).
CALLED = """
UPDATE conversation c SET last_inbound_at = greatest(c.last_inbound_at, least(n.at, now())), updated_at = now()
FROM (SELECT id, max(at) AS at FROM unnest(%s::uuid[], %s::timestamptz[]) AS n (id, at) GROUP BY id) n
WHERE c.id = n.id
"""


@dataclass(slots=True)
class Sign:
    """One of them. `kind`: call, opt_out, opt_in; `at`: Meta's time or, without one, that of
    receipt.
    """

    identity: IdentityClaim
    kind: str
    at: datetime
    detail: tuple = ()
    conversation_id: str | None = (
        None  # found out while its item is processed; None: nobody that is known
    )


def found_in(change: Item) -> list[Sign]:
    """The Signs in a change of one of FIELDS, which gets its outcome."""
    told = as_dict(change.data['value']).get(change.key)
    told = [one for one in told if isinstance(one, dict)] if isinstance(told, list) else []
    read = FIELDS[change.key]
    found = [read(one, change.account.chatbot_id, change.received_at) for one in told]
    change.set_outcome('stored')
    return [sign for sign in found if sign]


def _call(call: dict, chatbot_id: str, received_at: datetime) -> Sign | None:
    """A customer's; who is not known yet has no window that could be known to have closed."""
    at, ids = (
        past(call.get('timestamp')) or received_at,
        named(call.get('from_user_id'), call.get('from')),
    )
    is_theirs = call.get('event') == 'connect' and call.get('direction') == 'USER_INITIATED'
    if not (is_theirs and ids):
        return None
    return Sign(
        IdentityClaim(chatbot_id, **ids, why='call', updates_only=True, lock=True), 'call', at
    )


def _preference(said: dict, chatbot_id: str, received_at: datetime) -> Sign | None:
    ids = named(said.get('user_id'), said.get('wa_id'))
    kind = (
        WISHES.get(clean(said.get('value'), 64))
        if said.get('category') == 'marketing_messages'
        else None
    )
    if not (kind and ids):
        return None
    detail = (('value', said['value']), ('signup_id', identifier(said.get('signup_id'))))
    identity = IdentityClaim(chatbot_id, **ids, why='user_preferences')
    at = past(said.get('timestamp')) or received_at
    return Sign(identity, kind, at, tuple(one for one in detail if one[1]))


FIELDS = {'calls': _call, 'user_preferences': _preference}


def keep(signs: Iterable[Sign]) -> None:
    """Store those whose conversation is known; in the caller's transaction."""
    known = [sign for sign in signs if sign.conversation_id]
    if calls := [(sign.conversation_id, sign.at) for sign in known if sign.kind == 'call']:
        execute(CALLED, columns(calls))
    told = opt_out.record(
        [
            Statement(sign.conversation_id, sign.kind, 'user_preferences', sign.at, sign.detail)
            for sign in known
            if sign.kind != 'call'
        ]
    )
    holds.cancel_unwanted(told)
