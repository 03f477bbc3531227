"""Two conversations that turn out to be one person's become one, in a transaction of their own."""

from service.conversations import contact, opt_out
from service.conversations.contact import ContactEvent
from service.runtime.db import db, execute, fetch

# who is new or has changed, of a chatbot
ONE_AT_A_TIME = 'SELECT pg_advisory_xact_lock(hashtextextended(%s, 2))'
HOLD_ALL = 'SELECT id FROM conversation WHERE id = ANY(%s::uuid[]) ORDER BY id FOR UPDATE'
WITH_BSUID = """
SELECT conversation_id FROM conversation_identity WHERE kind = 'user' AND conversation_id = ANY(%s::uuid[])
"""
# Everything that hangs on the source. Whoever asks its responder now finds the claim gone; who had
# heard of only one half is asked about again. An opt-out of either stands: the person has said it.
MERGE = (
    'UPDATE conversation_identity SET conversation_id = %(target)s WHERE conversation_id = %(source)s',
    'SELECT 1 FROM message WHERE conversation_id = %(source)s ORDER BY id FOR NO KEY UPDATE',
    'UPDATE message SET conversation_id = %(target)s, updated_at = now() WHERE conversation_id = %(source)s',
    'UPDATE contact_event SET conversation_id = %(target)s WHERE conversation_id = %(source)s',
    """
    UPDATE conversation t SET last_inbound_at = greatest(t.last_inbound_at, s.last_inbound_at),
      last_message_at = greatest(t.last_message_at, s.last_message_at),
      wa_id = CASE WHEN s.known_at > t.known_at THEN coalesce(s.wa_id, t.wa_id) ELSE coalesce(t.wa_id, s.wa_id) END,
      user_id = CASE WHEN s.known_at > t.known_at THEN coalesce(s.user_id, t.user_id)
                ELSE coalesce(t.user_id, s.user_id) END,
      parent_user_id = CASE WHEN s.known_at > t.known_at THEN coalesce(s.parent_user_id, t.parent_user_id)
                       ELSE coalesce(t.parent_user_id, s.parent_user_id) END,
      username = CASE WHEN s.known_at > t.known_at THEN coalesce(s.username, t.username)
                 ELSE coalesce(t.username, s.username) END,
      name = CASE WHEN s.known_at > t.known_at THEN coalesce(s.name, t.name) ELSE coalesce(t.name, s.name) END,
      known_at = greatest(t.known_at, s.known_at),
      opted_out_by = CASE WHEN s.opted_out_at < t.opted_out_at OR t.opted_out_at IS NULL THEN s.opted_out_by
                     ELSE t.opted_out_by END,
      opted_out_at = least(t.opted_out_at, s.opted_out_at),
      reply_due_at = CASE WHEN s.reply_due_at IS NULL THEN t.reply_due_at
                     WHEN t.reply_claim IS NOT NULL THEN clock_timestamp()
                     ELSE least(t.reply_due_at, s.reply_due_at) END,
      paused_until = greatest(t.paused_until, s.paused_until), send_after = greatest(t.send_after, s.send_after),
      pair_free_at = greatest(t.pair_free_at, s.pair_free_at), created_at = least(t.created_at, s.created_at),
      updated_at = now()
    FROM conversation s WHERE t.id = %(target)s AND s.id = %(source)s
    """,
    # A phone of before the last BSUID is nobody's by now
    # (service/conversations/identity_resolution.py).
    """
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
    """,
    """
    UPDATE conversation c SET wa_id = NULL WHERE id = %(target)s AND wa_id IS NOT NULL AND NOT EXISTS (
      SELECT 1 FROM conversation_identity i WHERE i.conversation_id = c.id AND i.kind = 'phone' AND i.value = c.wa_id)
    """,
    'UPDATE conversation_merged SET conversation_id = %(target)s WHERE conversation_id = %(source)s',
    'INSERT INTO conversation_merged (id, conversation_id) VALUES (%(source)s, %(target)s)',
    'DELETE FROM conversation WHERE id = %(source)s',
)


class IdentityConflict(Exception):
    """Who is who has changed: undo the transaction, `resolve()`, and do it all again."""

    def resolve(self):
        """What has to be done in between, in a transaction of its own.

        Returns the conversations that took others in: take back what waits for who wants none
        (sending/holds.resolve_conflict does both).
        """
        return []


class MergeNeeded(IdentityConflict):
    """Stored conversations turn out to be one person's.

    `merges`: [(chatbot_id, source, target, certain, why)], in this order. A merge that is not
    `certain`, because a phone alone links the two, is left undone when the source has a BSUID by
    now.
    """

    def __init__(self, merges):
        super().__init__('two conversations are one')
        self.merges = merges

    def resolve(self):
        with db.atomic():
            lock_accounts(merge[0] for merge in self.merges)
            wanted = {id_ for _, source, target, _, _ in self.merges for id_ in (source, target)}
            grown = set()
            there = {row[0] for row in fetch(HOLD_ALL, (sorted(wanted),))}
            for _, source, target, certain, why in self.merges:
                if {source, target} <= there and (certain or not fetch(WITH_BSUID, ([source],))):
                    _merge(source, target, why)
                    there.remove(source)
                    grown.add(target)
            return sorted(grown & there)


def lock_accounts(chatbots):
    """One at a time settles who is new or has changed, in the order that everybody keeps."""
    for chatbot_id in sorted(set(chatbots)):
        execute(ONE_AT_A_TIME, (chatbot_id,))


def _merge(source, target, why):
    for statement in MERGE:
        execute(statement, {'source': source, 'target': target})
    opt_out.recompute([target])
    detail = {'what': 'conversation', 'from': source, 'to': target, 'why': why}
    contact.add_events([ContactEvent(target, 'identity', detail, None)])
