"""Two conversations that turn out to be one person's become one, in a transaction of their own."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field

from service.conversations import contact, opt_out
from service.conversations.contact import ContactEvent
from service.conversations.identity_claim import IdentityClaim
from service.runtime.db import db, execute, fetch
from service.runtime.prepared import fill

# Who is new or has changed is found out by one process at a time for each chatbot.
LOCK_ACCOUNT = 'SELECT pg_advisory_xact_lock(hashtextextended(%s, 2))'
LOCK_CONVERSATIONS = """
SELECT id FROM conversation WHERE id = ANY(%s::uuid[]) ORDER BY id FOR UPDATE
"""
FIND_WITH_BSUID = """
SELECT conversation_id FROM conversation_identity
WHERE kind = 'user' AND conversation_id = ANY(%s::uuid[])
"""

MOVE_IDS = """
UPDATE conversation_identity SET conversation_id = %(target)s WHERE conversation_id = %(source)s
"""
LOCK_MESSAGES = """
SELECT 1 FROM message WHERE conversation_id = %(source)s ORDER BY id FOR NO KEY UPDATE
"""
MOVE_MESSAGES = """
UPDATE message SET conversation_id = %(target)s, updated_at = now()
WHERE conversation_id = %(source)s
"""
MOVE_HISTORY = """
UPDATE contact_event SET conversation_id = %(target)s WHERE conversation_id = %(source)s
"""
# Whoever asks the source's responder now finds the claim gone; a responder that was asked about
# one half is asked again. An opt-out of either stands: the person has said it. So does a pause.
COMBINE_CONVERSATIONS = fill(
    """
UPDATE conversation t SET
  last_inbound_at = greatest(t.last_inbound_at, s.last_inbound_at),
  last_message_at = greatest(t.last_message_at, s.last_message_at),
  wa_id = CASE WHEN s.known_at > t.known_at THEN coalesce(s.wa_id, t.wa_id)
          ELSE coalesce(t.wa_id, s.wa_id) END,
  user_id = CASE WHEN s.known_at > t.known_at THEN coalesce(s.user_id, t.user_id)
            ELSE coalesce(t.user_id, s.user_id) END,
  parent_user_id = CASE WHEN s.known_at > t.known_at
                   THEN coalesce(s.parent_user_id, t.parent_user_id)
                   ELSE coalesce(t.parent_user_id, s.parent_user_id) END,
  username = CASE WHEN s.known_at > t.known_at THEN coalesce(s.username, t.username)
             ELSE coalesce(t.username, s.username) END,
  name = CASE WHEN s.known_at > t.known_at THEN coalesce(s.name, t.name)
         ELSE coalesce(t.name, s.name) END,
  known_at = greatest(t.known_at, s.known_at),
  opted_out_by = CASE WHEN s.opted_out_at < t.opted_out_at OR t.opted_out_at IS NULL
                 THEN s.opted_out_by ELSE t.opted_out_by END,
  opted_out_at = least(t.opted_out_at, s.opted_out_at),
  reply_due_at = CASE WHEN {is_paused} THEN NULL
                 WHEN s.reply_due_at IS NULL THEN t.reply_due_at
                 WHEN t.reply_claim IS NOT NULL THEN clock_timestamp()
                 ELSE least(t.reply_due_at, s.reply_due_at) END,
  paused_by = CASE WHEN s.paused_until > coalesce(t.paused_until, '-infinity')
              THEN s.paused_by ELSE t.paused_by END,
  paused_until = greatest(t.paused_until, s.paused_until),
  assignee = CASE WHEN s.paused_until > coalesce(t.paused_until, '-infinity')
             THEN coalesce(s.assignee, t.assignee) ELSE coalesce(t.assignee, s.assignee) END,
  reply_claim = CASE WHEN {is_paused} THEN NULL ELSE t.reply_claim END,
  reply_lease_until = CASE WHEN {is_paused} THEN NULL ELSE t.reply_lease_until END,
  reply_wanted_at = CASE WHEN {is_paused} THEN NULL
                    ELSE greatest(t.reply_wanted_at, s.reply_wanted_at) END,
  turns = CASE WHEN s.turns_on = t.turns_on THEN least(t.turns + s.turns, 32767)
          WHEN s.turns_on > coalesce(t.turns_on, '-infinity') THEN s.turns ELSE t.turns END,
  turns_on = greatest(t.turns_on, s.turns_on),
  answered_at = greatest(t.answered_at, s.answered_at),
  fell_back_at = greatest(t.fell_back_at, s.fell_back_at),
  quick_since = least(t.quick_since, s.quick_since),
  quick_turns = greatest(t.quick_turns, s.quick_turns),
  last_outbound_at = greatest(t.last_outbound_at, s.last_outbound_at),
  send_after = greatest(t.send_after, s.send_after),
  pair_free_at = greatest(t.pair_free_at, s.pair_free_at),
  created_at = least(t.created_at, s.created_at),
  updated_at = now()
FROM conversation s WHERE t.id = %(target)s AND s.id = %(source)s
""",
    is_paused='greatest(t.paused_until, s.paused_until) > now()',
)
# A phone of the time before the latest BSUID is nobody's by now (identity_assign.py).
END_OLDER_PHONES = """
WITH ended AS (
  DELETE FROM conversation_identity i
  USING (SELECT max(seen_at) AS at FROM conversation_identity
         WHERE conversation_id = %(target)s AND kind = 'replaced') r
  WHERE i.conversation_id = %(target)s AND i.kind = 'phone' AND i.seen_at < r.at
  RETURNING i.chatbot_id, i.value, r.at)
INSERT INTO conversation_identity (chatbot_id, kind, value, conversation_id, seen_at)
SELECT chatbot_id, 'former', value, %(target)s, at FROM ended
ON CONFLICT (chatbot_id, kind, value) DO UPDATE
  SET conversation_id = excluded.conversation_id, seen_at = excluded.seen_at
  WHERE conversation_identity.seen_at < excluded.seen_at
"""
CLEAR_ENDED_PHONE = """
UPDATE conversation c SET wa_id = NULL
WHERE id = %(target)s AND wa_id IS NOT NULL AND NOT EXISTS (
  SELECT 1 FROM conversation_identity i
  WHERE i.conversation_id = c.id AND i.kind = 'phone' AND i.value = c.wa_id)
"""
REDIRECT_EARLIER_MERGES = """
UPDATE conversation_merged SET conversation_id = %(target)s WHERE conversation_id = %(source)s
"""
RECORD_MERGE = """
INSERT INTO conversation_merged (id, conversation_id) VALUES (%(source)s, %(target)s)
"""
DELETE_SOURCE = 'DELETE FROM conversation WHERE id = %(source)s'
MERGE_CONVERSATIONS = (  # all that hangs on the source goes to the target, in this order
    MOVE_IDS,
    LOCK_MESSAGES,
    MOVE_MESSAGES,
    MOVE_HISTORY,
    COMBINE_CONVERSATIONS,
    END_OLDER_PHONES,
    CLEAR_ENDED_PHONE,
    REDIRECT_EARLIER_MERGES,
    RECORD_MERGE,
    DELETE_SOURCE,
)


@dataclass(frozen=True, slots=True)
class Merge:
    """A stored conversation that shall become part of another one.

    One that is not `is_certain`, because only a phone links the two, is not made when the source
    has a BSUID by then.
    """

    chatbot_id: str
    source: str
    target: str
    is_certain: bool
    why: str  # for the history


@dataclass(frozen=True, slots=True)
class MergesOfPerson:
    """What becomes one conversation, in this order, and what was said of that person."""

    merges: list[Merge] = field(default_factory=list)
    claims: list[IdentityClaim] = field(default_factory=list)


class IdentityConflict(Exception):
    """Who is who has changed: undo the transaction, resolve() the conflict, and do it all again.

    `claims`: what was said of the people concerned, as far as there is anything to resolve.
    """

    claims: Sequence[IdentityClaim] = ()

    def by_person(self) -> Sequence['IdentityConflict']:
        """The same in parts, none of which waits for what another one needs."""
        return [self]

    def resolve(self) -> list[str]:
        """Do what is needed in between, in a transaction of its own.

        Returns the conversations that took others in: somebody who wants no marketing may have
        some waiting now (sending/holds.resolve_conflict cancels it).
        """
        return []


class MergeNeeded(IdentityConflict):
    """Stored conversations turn out to be one person's: they are merged in this order."""

    def __init__(self, people: Collection[MergesOfPerson]) -> None:
        super().__init__('two conversations are one')
        self.people = people
        self.merges = [merge for one in people for merge in one.merges]
        self.claims = [claim for one in people for claim in one.claims]

    def by_person(self) -> Sequence[IdentityConflict]:
        return [MergeNeeded([one]) for one in self.people]

    def resolve(self) -> list[str]:
        with db.atomic():
            lock_accounts(merge.chatbot_id for merge in self.merges)
            wanted = {id_ for merge in self.merges for id_ in (merge.source, merge.target)}
            there = {id_ for (id_,) in fetch(LOCK_CONVERSATIONS, (sorted(wanted),))}
            grown = set()
            for merge in self.merges:
                if {merge.source, merge.target} <= there and _still_holds(merge):
                    _make(merge)
                    there.remove(merge.source)
                    grown.add(merge.target)
            return sorted(grown & there)


def lock_accounts(chatbots: Iterable[str]) -> None:
    """Until the transaction ends, only this process resolves new people of these chatbots."""
    for chatbot_id in sorted(set(chatbots)):
        execute(LOCK_ACCOUNT, (chatbot_id,))


def _still_holds(merge: Merge) -> bool:
    return merge.is_certain or not fetch(FIND_WITH_BSUID, ([merge.source],))


def _make(merge: Merge) -> None:
    for statement in MERGE_CONVERSATIONS:
        execute(statement, {'source': merge.source, 'target': merge.target})
    opt_out.recompute([merge.target])
    detail = {'what': 'conversation', 'from': merge.source, 'to': merge.target, 'why': merge.why}
    contact.add_events([ContactEvent(merge.target, 'identity', detail, None)])
