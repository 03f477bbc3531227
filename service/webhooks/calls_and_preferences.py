"""Fields calls and user_preferences: what people do beside writing (docs/meta.md, section 5).

They called, or said in WhatsApp's own menu that they want no marketing, or want it again.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from service.content.person_id import named
from service.conversations import opt_out
from service.conversations.identity_claim import IdentityClaim
from service.conversations.opt_out import Source, Statement
from service.conversations.opt_out_keywords import MarketingChoice
from service.runtime.rows import Uuid, execute_bulk
from service.runtime.timestamps import past_from_epoch
from service.runtime.untrusted import as_dict, clean, identifier, list_of_dicts
from service.sending import holds
from service.webhooks.item import Item, ItemOutcome, JsonObject

CHOICES = {
    'stop': MarketingChoice.OPT_OUT,
    'resume': MarketingChoice.OPT_IN,
    'signup': MarketingChoice.OPT_IN,
}


@dataclass(slots=True)
class Call:
    """A customer has called. `at`: Meta's time or, without one, the time of receipt."""

    identity: IdentityClaim
    at: datetime
    conversation_id: str = ''  # set while the batch is stored; '' for somebody who is not known


@dataclass(slots=True)
class MarketingPreference:
    """A person wants no marketing, or wants it."""

    identity: IdentityClaim
    choice: MarketingChoice
    at: datetime
    detail: tuple[tuple[str, str], ...]  # what else Meta says: (name, value)
    conversation_id: str = ''


CallOrPreference = Call | MarketingPreference


def read(item: Item) -> list[CallOrPreference]:
    """What a change of one of FIELDS holds. The change gets its outcome."""
    parts = list_of_dicts(as_dict(item.change.value).get(item.key))
    found = [FIELDS[item.key](part, item) for part in parts]
    item.set_outcome(ItemOutcome.STORED)
    return [one for one in found if one]


def _call(call: JsonObject, item: Item) -> Call | None:
    ids = named(call.get('from_user_id'), call.get('from'))
    is_customers = call.get('event') == 'connect' and call.get('direction') == 'USER_INITIATED'
    if not (is_customers and ids):
        return None
    # Nobody becomes known by a call: without a conversation there is no window to open.
    identity = IdentityClaim(
        item.account.chatbot_id, **ids, why='call', updates_only=True, lock=True
    )
    return Call(identity, past_from_epoch(call.get('timestamp')) or item.received_at)


def _preference(preference: JsonObject, item: Item) -> MarketingPreference | None:
    ids = named(preference.get('user_id'), preference.get('wa_id'))
    value = clean(preference.get('value'), 64)
    choice = CHOICES.get(value or '')
    if preference.get('category') != 'marketing_messages' or not (choice and ids):
        return None
    detail = {'value': value, 'signup_id': identifier(preference.get('signup_id'))}
    return MarketingPreference(
        IdentityClaim(item.account.chatbot_id, **ids, why='user_preferences'),
        choice,
        past_from_epoch(preference.get('timestamp')) or item.received_at,
        tuple((name, text) for name, text in detail.items() if text),
    )


FIELDS = {'calls': _call, 'user_preferences': _preference}


@dataclass(slots=True)
class OpenedWindow:
    """A call's conversation, and when its 24-hour window opened."""

    id: Uuid
    at: datetime


# A call opens the 24-hour window, as a message does (section 8).
OPEN_WINDOWS = """
UPDATE conversation c
SET last_inbound_at = greatest(c.last_inbound_at, least(n.at, now())), updated_at = now()
FROM (SELECT id, max(at) AS at FROM {rows} GROUP BY id) n
WHERE c.id = n.id
"""


def store(found: Iterable[CallOrPreference]) -> None:
    """Store those whose conversation is known, in the caller's transaction."""
    windows = []
    statements = []
    for one in found:
        if not one.conversation_id:
            continue
        if isinstance(one, Call):
            windows.append(OpenedWindow(one.conversation_id, one.at))
        else:
            statements.append(_statement(one))
    execute_bulk(OPEN_WINDOWS, windows)
    holds.cancel_unwanted(opt_out.record(statements))


def _statement(preference: MarketingPreference) -> Statement:
    return Statement(
        preference.conversation_id,
        preference.choice,
        Source.USER_PREFERENCES,
        preference.at,
        preference.detail,
    )
