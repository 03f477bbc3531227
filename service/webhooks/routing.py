"""Where each item of a batch goes: to the module that stores its kind, with what that needs.

Found out before: whose number it came to, whom it speaks of and in which conversation they are.
"""

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from service.accounts import receiving_account
from service.conversations.identity import resolve
from service.conversations.identity_claim import IdentityClaim
from service.graph.error_codes import look_up
from service.graph.outcome import error_from
from service.runtime.untrusted import join_nonempty
from service.sending import rate_limit
from service.webhooks import (
    calls_and_preferences,
    echoes_field,
    field_handlers,
    identity_claims,
    messages_field,
    statuses_field,
)
from service.webhooks.calls_and_preferences import CallOrPreference
from service.webhooks.item import Item, ItemKind, ItemOutcome

log = logging.getLogger(__name__)


@dataclass(slots=True)
class RoutedItems:
    """The usable items of a batch by where they go, each list in the order of arrival."""

    messages: list[Item] = field(default_factory=list)
    statuses: list[Item] = field(default_factory=list)
    people: list[Item] = field(default_factory=list)  # messages and statuses, in their order
    echoes: list[Item] = field(default_factory=list)
    calls_and_preferences: list[CallOrPreference] = field(default_factory=list)
    id_updates: list[IdentityClaim] = field(default_factory=list)
    others: list[Item] = field(default_factory=list)


def find_claims(events: Sequence[list[Item]]) -> list[list[IdentityClaim]]:
    """Of whom the items of each event speak. Nothing is stored."""
    _find_accounts([item for items in events for item in items])
    return [_claims(_route(items)) for items in events]


def _claims(found: RoutedItems) -> list[IdentityClaim]:
    named = (*found.calls_and_preferences, *found.people, *found.echoes)
    return [*(one.identity for one in named if one.identity), *found.id_updates]


def store_items(items: list[Item]) -> None:
    """Store a batch in the caller's transaction; each item gets its outcome."""
    _find_accounts(items)
    found = _route(items)
    _find_conversations(
        [*found.calls_and_preferences, *found.people, *found.echoes], found.id_updates
    )
    messages_field.store(found.messages, found.echoes)
    calls_and_preferences.store(found.calls_and_preferences)
    # After the conversations: what waits for a template is locked here. In the order of WABAs, so
    # that two workers with changes of several never wait for each other.
    for item in sorted(found.others, key=lambda item: item.change.waba_id or ''):
        _store_other(item)
    statuses_field.store(found.statuses)
    receiving_account.fill_in_accounts(found.people)


def _find_accounts(items: list[Item]) -> None:
    numbers = {item.phone_number_id for item in items if item.phone_number_id}
    accounts = receiving_account.of_numbers(numbers)
    for item in items:
        item.receiver = accounts.get(item.phone_number_id)


def _route(items: list[Item]) -> RoutedItems:
    """Sort items; those that cannot be used, or may not come in this way, get their outcome."""
    found = RoutedItems()
    for item in items:
        if item.problem:
            item.set_outcome(ItemOutcome.INVALID, item.problem)
        elif refusal := _refusal(item):
            item.set_outcome(ItemOutcome.REFUSED, refusal)
        elif item.kind in (ItemKind.MESSAGE, ItemKind.STATUS):
            item.identity = identity_claims.of_item(item)
            is_message = item.kind == ItemKind.MESSAGE
            (found.messages if is_message else found.statuses).append(item)
            found.people.append(item)
        else:
            _route_change(item, found)
    return found


def _route_change(item: Item, found: RoutedItems) -> None:
    if item.key == echoes_field.FIELD and item.receiver:
        found.echoes += echoes_field.read(item)
    elif item.key in calls_and_preferences.FIELDS and item.receiver:
        found.calls_and_preferences += calls_and_preferences.read(item)
    elif item.key == identity_claims.UPDATE:
        found.id_updates += identity_claims.of_update(item, _chatbots(item))
        item.set_outcome(ItemOutcome.STORED)
    else:
        found.others.append(item)


def _refusal(item: Item) -> str | None:
    """Why an item may not come in by its path, None when it may."""
    if item.receiver is None:
        return 'no account has this phone_number_id' if item.phone_number_id else None
    if item.receiver.is_served_on(item.path):
        return None
    if item.path:
        return "the number is another account's"
    return 'the account is served on its own path alone'


def _chatbots(item: Item) -> list[str]:
    """The chatbots that a change of a whole WABA concerns, or the one of the number it names."""
    if item.receiver:
        return [item.receiver.chatbot_id]
    return receiving_account.chatbots_of_waba(item.change.waba_id, item.path)


def _find_conversations(
    found: Iterable[Item | CallOrPreference], id_updates: list[IdentityClaim]
) -> None:
    """Set the conversation of each. One SELECT when all people are known."""
    named = [(one, one.identity) for one in found if one.identity]
    claims = [claim for _, claim in named]
    conversations = resolve([*claims, *id_updates], hold=True)  # in the order of arrival
    for one, claim in named:
        one.conversation_id = conversations.get(claim, '')


def _store_other(item: Item) -> None:
    if item.kind == ItemKind.VALUE_ERROR:
        _store_value_error(item)
    else:
        field_handlers.handle(item)


def _store_value_error(item: Item) -> None:
    """Log an error that concerns no message, and send slower where it says so of the number."""
    error = error_from(item.data)
    number = item.phone_number_id
    extra = {'phone_number_id': number or None, 'code': error['code'], 'title': error['title']}
    log.warning('meta reports an error', extra=extra)
    if number and look_up(error['code']).scope == 'number':
        rate_limit.slow_down(rate_limit.scope_keys(number, None, None)[0])
    detail = join_nonempty(': ', error['title'], error['details'])
    item.set_outcome(ItemOutcome.STORED, detail)
