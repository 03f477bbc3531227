"""The journal: what is shown and told of people by the claims, and the rows that say so."""

from service.conversations import contact, identity_store
from service.conversations.contact import ContactEvent
from service.conversations.conversation import ShownIds
from service.conversations.identity_claim import (
    GROUP,
    PARENT,
    PHONE,
    USER,
    IdentityClaim,
    Key,
    in_order,
)
from service.conversations.identity_resolution import Description, IdChange, Resolution
from service.conversations.identity_store import IdentityOwner, NewConversation

NAMES = {PHONE: 'phone', USER: 'user_id', PARENT: 'parent_user_id'}  # in the history


class IdentityJournal:
    def __init__(self, resolution: Resolution) -> None:
        self.resolution = resolution

    def note_gain(self, claim: IdentityClaim, key: Key, conversation_id: str) -> None:
        """A key is theirs now: of a new person that is no news, nor is another name of a person."""
        is_new_person = conversation_id in self.resolution.created and not claim.is_change
        if is_new_person or key in claim.other_keys():
            return
        before = self.resolution.ids_before.get(conversation_id, {}).get(key.kind)
        self._note(claim, key, conversation_id, before if before != key.value else None, key.value)

    def note_loss(self, claim: IdentityClaim, key: Key, loser: str) -> None:
        """A key is no longer theirs."""
        self._note(claim, key, loser, key.value, None)
        shown = self.resolution.shown.get(loser)
        if shown and shown.ids.get(key.kind) == key.value:
            del shown.ids[key.kind]

    def _note(
        self,
        claim: IdentityClaim,
        key: Key,
        conversation_id: str,
        before: str | None,
        after: str | None,
    ) -> None:
        what = NAMES.get(key.kind)
        if what is None or claim.why == 'send':
            return
        change = IdChange(conversation_id, what, claim.why, claim.at)
        event = (conversation_id, what, claim.why, claim.at)
        change = self.resolution.events.setdefault(event, change)
        change.before = change.before or before
        change.after = after or change.after

    def describe(self, claim: IdentityClaim, conversation_id: str) -> None:
        """Show the ids of a claim, if they are the latest by Meta's time or the only ones."""
        shown = self.resolution.shown.setdefault(conversation_id, Description())
        is_news = claim.at is not None and (shown.at is None or claim.at >= shown.at)
        for key in claim.keys:
            if (is_news or key.kind not in shown.ids) and self._is_shown(
                claim, key, conversation_id
            ):
                shown.ids[key.kind] = key.value
        if is_news:
            shown.at = claim.at

    def _is_shown(self, claim: IdentityClaim, key: Key, conversation_id: str) -> bool:
        is_superseded = key.kind == USER and key.previous_owner in self.resolution.owners
        if is_superseded or key in claim.other_keys():
            return False
        return self.resolution.owner(key) == conversation_id

    def write(self) -> None:
        """Store all that was decided, in the caller's transaction, which holds the rows."""
        resolution = self.resolution
        changed = sorted(resolution.touched & resolution.shown.keys())
        identity_store.write(
            created=[self._new_conversation(id_) for id_ in resolution.created],
            moved=[self._moved_key(key) for key in in_order(resolution.moved)],
            freed=in_order(resolution.freed),
            shown=[self._shown_ids(id_) for id_ in changed],
        )
        contact.add_events([self._event(change) for change in resolution.events.values()])

    def _new_conversation(self, conversation_id: str) -> NewConversation:
        shown = self.resolution.shown.get(conversation_id, Description())
        return NewConversation(
            id=conversation_id,
            chatbot_id=self.resolution.created[conversation_id],
            wa_id=shown.ids.get(PHONE),
            user_id=shown.ids.get(USER),
            parent_user_id=shown.ids.get(PARENT),
            group_id=shown.ids.get(GROUP),
            known_at=shown.at,
        )

    def _shown_ids(self, conversation_id: str) -> ShownIds:
        shown = self.resolution.shown[conversation_id]
        return ShownIds(
            id=conversation_id,
            known_at=shown.at,
            wa_id=shown.ids.get(PHONE),
            user_id=shown.ids.get(USER),
            parent_user_id=shown.ids.get(PARENT),
        )

    def _moved_key(self, key: Key) -> IdentityOwner:
        owner = self.resolution.moved[key]
        owner_id = self.resolution.current(owner.conversation_id)
        return IdentityOwner.of(key, owner_id, owner.seen_at)

    def _event(self, change: IdChange) -> ContactEvent:
        detail = {
            'what': change.what,
            'from': change.before,
            'to': change.after,
            'why': change.why,
        }
        conversation_id = self.resolution.current(change.conversation_id)
        return ContactEvent(conversation_id, 'identity', detail, change.at)
