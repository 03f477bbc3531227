"""Account webhooks (docs/meta.md, section 5): the latest event of each field is the health."""

import hashlib
import json
import logging
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

from service.accounts.account import Account
from service.accounts.health_text import HealthEvent, facts, summary
from service.graph import outage
from service.runtime.db import fetch_dicts
from service.runtime.ids import new_id
from service.runtime.prepared import fill
from service.runtime.rows import Json, Uuid, execute_bulk, fetch_bulk
from service.runtime.timestamps import past_from_epoch
from service.runtime.untrusted import as_dict, clean, identifier, only_digits

log = logging.getLogger(__name__)

FIELDS = (
    'account_alerts',
    'account_review_update',
    'account_settings_update',
    'account_update',
    'business_capability_update',
    'business_username_updates',
    'flows',
    'partner_solutions',
    'payment_configuration_update',
    'phone_number_name_update',
    'phone_number_quality_update',
    'security',
)
# Where a value says in one word what happened. An alert is told by its type: each type has a state
# of its own.
EVENT_KEYS = ('event', 'decision', 'alert_type', 'status', 'solution_status', 'type')

INSERT_EVENT = """
INSERT INTO account_event ({columns}) SELECT {columns} FROM {rows}
ON CONFLICT (waba_id, digest) DO NOTHING
"""
# Of the whole WABA and of this number; while that is not known, of every number of the WABA.
CONCERNING = """waba_id = {waba_id}
  AND (phone_number_id IS NULL OR phone_number_id = {number_id})
  AND (display_phone_number IS NULL OR {display}::text IS NULL
    OR display_phone_number = {display})"""
FIND_LATEST_EVENTS = fill(
    """
SELECT n.chatbot_id, e.id, e.field, e.event, e.value, e.at FROM {rows} CROSS JOIN LATERAL (
  SELECT DISTINCT ON (field, event) id, field, event, value, at FROM account_event
  WHERE {concerning} ORDER BY field, event, at DESC, id DESC) e
""",
    concerning=fill(CONCERNING, waba_id='n.waba_id', number_id='n.number_id', display='n.display'),
)
LIST_EVENTS = fill(
    """
SELECT id, field, event, value, at, received_at FROM account_event
WHERE {concerning} AND (%(field)s::text IS NULL OR field = %(field)s)
  AND (%(cursor)s::uuid IS NULL
    OR (at, id) < (SELECT at, id FROM account_event WHERE id = %(cursor)s AND {concerning}))
ORDER BY at DESC, id DESC LIMIT %(limit)s
""",
    concerning=fill(
        CONCERNING, waba_id='%(waba_id)s', number_id='%(number_id)s', display='%(display)s'
    ),
)


@dataclass(frozen=True, slots=True)
class Concerned:
    """An account, by what Meta calls it."""

    chatbot_id: str
    waba_id: str | None
    number_id: str
    display: str | None


@dataclass(frozen=True, slots=True)
class AccountEvent:
    """A row of account_event. `at`: Meta's time; `digest`: of what Meta said, the time included."""

    id: Uuid
    waba_id: str
    phone_number_id: str | None
    display_phone_number: str | None
    field: str
    event: str | None
    value: Json
    at: datetime
    digest: bytes


def store_event(
    field: str, waba_id: str | None, value: object, *, time: object, received_at: datetime
) -> tuple[str, str | None]:
    """Keep one change of a webhook; return its outcome and detail.

    What comes again, also in another POST, is kept once. `value`, `time`: as Meta sent them.
    """
    if not waba_id:
        return 'invalid', 'no id of the WhatsApp Business account'
    if not isinstance(value, dict):
        return 'invalid', 'value is not an object'
    number = named_number(value)
    event = AccountEvent(
        id=new_id(),
        waba_id=waba_id,
        phone_number_id=number.id,
        display_phone_number=number.display,
        field=field,
        event=_event(value),
        value=value,
        at=past_from_epoch(time) or received_at,
        digest=_digest(field, time, value),
    )
    if not execute_bulk(INSERT_EVENT, [event]):
        return 'duplicate', None
    line = {'waba_id': waba_id, 'field': field, 'event': event.event}
    log.info('meta tells of an account', extra=line)
    return 'stored', event.event


def _event(value: dict[str, Any]) -> str | None:
    alert = as_dict(value.get('alert_info'))  # one page of Meta's nests it
    words = (clean(value.get(key) or alert.get(key), 64) for key in EVENT_KEYS)
    return next(filter(None, words), None)


@dataclass(frozen=True, slots=True)
class NamedNumber:
    """The number that a change is about: its id or its digits; both None when it is a WABA's."""

    id: str | None
    display: str | None

    def may_be(self, phone_number_id: str, display: str | None) -> bool:
        """Whether it may be an account's number, whose digits may not be known yet."""
        if self.id and self.id != phone_number_id:
            return False
        return not (self.display and display) or self.display == only_digits(display)


def named_number(value: dict[str, Any]) -> NamedNumber:
    digits = value.get('display_phone_number') or value.get('phone_number')
    return NamedNumber(identifier(_number_id(value)), only_digits(digits))


def _number_id(value: dict[str, Any]) -> object:
    """The number's id, when the value is about one number and names it so."""
    if value.get('entity_type') == 'PHONE_NUMBER':
        return value.get('entity_id')
    return as_dict(value.get('phone_number_settings')).get('phone_number_id')


def _digest(field: str, time: object, value: dict[str, Any]) -> bytes:
    said = json.dumps([field, time, value], sort_keys=True)
    return hashlib.sha256(said.encode()).digest()


def _concerned(account: Account) -> Concerned:
    """Whom an event must concern, for the statements above."""
    return Concerned(
        account.chatbot_id, account.waba_id, account.phone_number_id, account.display_phone_number
    )


def health_of(accounts: Sequence[Account]) -> list[dict[str, Any]]:
    """The health of accounts for their JSON, in one query.

    `health` has the latest event of each field, by Meta's time; `health_facts` what holds now.
    """
    found = defaultdict(list)
    for chatbot_id, *event in fetch_bulk(FIND_LATEST_EVENTS, list(map(_concerned, accounts))):
        found[chatbot_id].append(HealthEvent(*event))
    return [_health(found[account.chatbot_id]) for account in accounts]


def _health(found: list[HealthEvent]) -> dict[str, Any]:
    events = sorted(found, key=lambda event: (event.at, event.id))
    latest = {event.field: _serialize(event) for event in events}
    return {
        'health': dict(sorted(latest.items())),
        'health_facts': facts(events, datetime.now(UTC)),
    }


def serialize_accounts(accounts: Sequence[Account]) -> list[dict[str, Any]]:
    """Accounts with their health, as callers see them."""
    away = outage.current()
    return [
        account.to_dict(away) | health
        for account, health in zip(accounts, health_of(accounts), strict=True)
    ]


def _serialize(event: HealthEvent) -> dict[str, Any]:
    return {
        'event': event.event,
        'at': event.at,
        'value': event.value,
        'summary': summary(event.field, event.value),
    }


FIND_EVENT = """
SELECT id, field, event, value, at, received_at FROM account_event WHERE id = %s
"""


def find_event(event_id: str) -> dict[str, Any] | None:
    """One of what Meta told, as serialize_event() shows it; None when it is not kept any more."""
    rows = fetch_dicts(FIND_EVENT, (event_id,))
    return serialize_event(rows[0]) if rows else None


def list_events(
    account: Account, field: str | None, cursor: str | None, limit: int
) -> list[dict[str, Any]]:
    """What Meta told of an account, the newest first by Meta's time, as rows."""
    page = {'field': field, 'cursor': cursor, 'limit': limit}
    return fetch_dicts(LIST_EVENTS, asdict(_concerned(account)) | page)


def serialize_event(row: dict[str, Any]) -> dict[str, Any]:
    """A row of list_events as callers see it."""
    return {
        'id': row['id'],
        'field': row['field'],
        'event': row['event'],
        'at': row['at'],
        'value': row['value'],
        'summary': summary(row['field'], row['value']),
        'received_at': row['received_at'],
    }
