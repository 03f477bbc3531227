"""What repeats what was said, when it is too old: events, and the bodies of Meta's webhooks.

Several accounts may share a webhook. Its body goes when the shortest rule of those in it applies;
one that names no account's number goes by the shortest rule of all. Its digest stays, by which a
redelivery is known.
"""

import hashlib
from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from service.events.event_retention import deleting
from service.privacy.rules import PORTION, Progress, Rule, first_kept, forget_progress
from service.runtime.db import db, execute, fetch
from service.runtime.rows import fetch_as
from service.webhooks.payload import NotAnEvent, changes, parse

DELETE_EVENTS = deleting("""
  SELECT id FROM event WHERE chatbot_id = %(chatbot_id)s AND id < %(first_kept)s
  ORDER BY id LIMIT %(limit)s""")


def delete_events(rule: Rule) -> int:
    """Delete some events of an account with their deliveries; returns how many events."""
    if rule.told_days is None:
        return 0
    with db.atomic():
        return execute(DELETE_EVENTS, rule.older(rule.told_days))


FIND_OWNERS = 'SELECT chatbot_id, phone_number_id, waba_id FROM whatsapp_cloud_account'


@dataclass(slots=True)
class Owners:
    """Whose the numbers and WABAs are that webhooks name."""

    by_number: dict[str, str]
    by_waba: dict[str, set[str]]

    @classmethod
    def find(cls) -> 'Owners':
        by_number = {}
        by_waba = defaultdict(set)
        for chatbot_id, number, waba_id in fetch(FIND_OWNERS):
            by_number[number] = chatbot_id
            if waba_id:
                by_waba[waba_id].add(chatbot_id)
        return cls(by_number, by_waba)

    def of_body(self, body: bytes) -> set[str]:
        """The chatbots that a webhook concerns; none where it cannot be read or names nobody's."""
        try:
            event = parse(body)
        except NotAnEvent:
            return set()
        owners: set[str] = set()
        for number, waba_id, _ in changes(event):
            if not number:
                owners |= self.by_waba.get(waba_id or '', set())
            elif owner := self.by_number.get(number):
                owners.add(owner)
        return owners


MAX_BYTES = 8_000_000  # of bodies that are looked at in one transaction
# Those that are empty, or wait for a worker, come without their body.
FIND_BODIES = """
SELECT id, path, is_waiting, CASE WHEN is_full THEN body END AS body FROM (
  SELECT id, path, is_waiting, is_full, body,
    sum(CASE WHEN is_full THEN size ELSE 0 END) OVER (ORDER BY id) - size AS before
  FROM (
    SELECT id, path, body, size, status = 'received' AS is_waiting,
      octet_length(body) > 0 AND status <> 'received' AS is_full
    FROM webhook_event WHERE id > %(last_id)s AND id < %(first_kept)s
    ORDER BY id LIMIT %(limit)s) e) e
WHERE before < %(max_bytes)s ORDER BY id
"""
LOCK_BODIES = """
SELECT id FROM webhook_event WHERE id = ANY(%(ids)s::uuid[]) ORDER BY id FOR NO KEY UPDATE
"""
# The fifth part of a status's key is a member of a group.
EMPTY_BODIES = r"""
UPDATE webhook_event SET body = '', redacted_at = now(), unserved = false,
  items = CASE WHEN items::text ~ '"s\|[^|"]*\|[^|"]*\|[^|"]*\|[^|"]' THEN NULL ELSE items END
WHERE id = ANY(%(ids)s::uuid[])
"""
# What was relayed of them cannot be made again.
DELETE_RELAYS = deleting("""
  SELECT id FROM event
  WHERE type = 'relay' AND data ->> 'webhook_event_id' = ANY(%(ids)s::text[])""")


@dataclass(frozen=True, slots=True)
class OldBody:
    """A webhook; its body is None when there is nothing to empty, or not yet."""

    id: str
    path: str
    is_waiting: bool
    body: memoryview | None


@dataclass(frozen=True, slots=True)
class BodyRule:
    """Whose webhooks lose their bodies after so many days, each with no longer rule."""

    days: int
    chatbot_ids: frozenset[str]
    is_shortest: bool

    @property
    def owner(self) -> str:
        """Of its progress: it begins anew when the accounts are others."""
        names = '\n'.join(sorted(self.chatbot_ids))
        return f'{self.days} {hashlib.sha256(names.encode()).hexdigest()}'


def body_rules(rules: Collection[Rule]) -> list[BodyRule]:
    """A rule for each number of days, the shortest first."""
    told = {rule.chatbot_id: rule.told_days for rule in rules if rule.told_days}
    shortest = min(told.values(), default=None)
    found = []
    for days in sorted(set(told.values())):
        chatbots = frozenset(id_ for id_, its_days in told.items() if its_days <= days)
        found.append(BodyRule(days, chatbots, days == shortest))
    forget_progress('webhooks', [rule.owner for rule in found])
    return found


def empty_bodies(rule: BodyRule, owners: Owners) -> int:
    """Empty some bodies of webhooks; returns how many were looked at."""
    progress = Progress('webhooks', rule.owner)
    with db.atomic():
        last_id = progress.lock()
        if last_id is None:
            return 0
        wanted = {'last_id': last_id, 'first_kept': first_kept(rule.days)}
        limits = {'limit': PORTION, 'max_bytes': MAX_BYTES}
        found = _until_waiting(fetch_as(OldBody, FIND_BODIES, wanted | limits))
        if not found:
            return 0
        ids = [one.id for one in found if one.body and _falls_under(rule, one, owners)]
        empty(ids)
        progress.move(found[-1].id)
        return len(found)


def _until_waiting(found: Iterable[OldBody]) -> list[OldBody]:
    """Those before the first one that waits for a worker: what is behind it comes later."""
    done = []
    for one in found:
        if one.is_waiting:
            break
        done.append(one)
    return done


def _falls_under(rule: BodyRule, event: OldBody, owners: Owners) -> bool:
    concerned = owners.of_body(bytes(event.body or b''))
    concerned |= {event.path} if event.path else set()
    return bool(concerned & rule.chatbot_ids) or (not concerned and rule.is_shortest)


def empty(ids: Sequence[str]) -> None:
    """Empty bodies of webhooks, and forget what was relayed of them."""
    if ids:
        execute(LOCK_BODIES, {'ids': list(ids)})
        execute(EMPTY_BODIES, {'ids': list(ids)})
        execute(DELETE_RELAYS, {'ids': list(ids)})
