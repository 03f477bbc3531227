"""The recipients of a bulk, and which of them the message may be sent to."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from operator import itemgetter
from typing import Any

from service.content.file_types import LIMITS
from service.content.person_id import read
from service.conversations.identity_claim import IdentityClaim, addressee
from service.runtime.errors import Conflict, Invalid
from service.sending.outbound_message import with_fallback
from service.sending.personalisation import Body, Personalisation, Problems, has_placeholder
from service.sending.recipient import Recipient
from service.sending.send_policy import UNRESTRICTED, Decision

MAX_RECIPIENTS = 10_000
MAX_REPORTED = 1_000  # rejected ones, and dropped ones, that the answer names
TOO_MANY_RECIPIENTS = (
    f'More than {MAX_RECIPIENTS:,} recipients; nothing was stored. Send them in several bulks.'
)
NOBODY_LEFT = 'None of the recipients may get this message now; nothing was stored.'

Conversations = Mapping[IdentityClaim, str]  # the conversation's id of each recipient
FindKnownPhones = Callable[[str, Iterable[object]], set[str]]


def nobody_known(chatbot_id: str, numbers: Iterable[object]) -> set[str]:
    return set()


@dataclass
class RecipientList:
    """The accepted recipients of a bulk; all others are counted, and up to MAX_REPORTED reported.

    `find_known_phones`: which numbers belong to customers (identity_store.known_phones).
    `decisions`: by conversation; most have none and may be sent everything.
    """

    chatbot_id: str
    personalisation: Personalisation
    find_known_phones: FindKnownPhones = nobody_known
    accepted: dict[IdentityClaim, Recipient] = field(default_factory=dict)
    total: int = 0
    rejected: int = 0
    duplicates: int = 0
    dropped: int = 0
    rejected_rows: list[dict[str, Any]] = field(default_factory=list)
    dropped_rows: list[dict[str, Any]] = field(default_factory=list)
    decisions: Mapping[str, Decision] = field(default_factory=dict)

    def add_rows(self, recipients: Iterable[Recipient]) -> None:
        """Accept or reject each one. Raises Invalid when there are too many, or none is good."""
        doubtful: list[tuple[Recipient, Problems]] = []
        for recipient in recipients:
            self.total += 1
            if self.total > MAX_RECIPIENTS:
                raise Invalid(TOO_MANY_RECIPIENTS, {'recipients': [TOO_MANY_RECIPIENTS]})
            problems = self._problems(recipient)
            if 'to' in problems:
                doubtful.append((recipient, problems))
            else:
                self._add(recipient, problems)
        if doubtful:
            self._add_doubtful(doubtful)
        self.rejected_rows = sorted(self.rejected_rows, key=itemgetter('line'))[:MAX_REPORTED]
        if not self.accepted:
            raise Invalid('There is no valid recipient; nothing was stored.', self._all_errors())

    def _add_doubtful(self, doubtful: list[tuple[Recipient, Problems]]) -> None:
        """Numbers that break their country's plan are good if Meta knows a customer under them."""
        numbers = [recipient.address.get('to') for recipient, _ in doubtful]
        known = self.find_known_phones(self.chatbot_id, numbers)
        for recipient, problems in doubtful:
            person = read(recipient.address.get('to'))
            if person and person.value in known:
                problems = self._problems(recipient, is_known=True)
            self._add(recipient, problems)

    def _add(self, recipient: Recipient, problems: Problems) -> None:
        if problems:
            self.rejected += 1
            self.rejected_rows.append({'line': recipient.line, 'errors': problems})
            return
        message = {**self.personalisation.message, **recipient.address}
        claim = addressee(self.chatbot_id, message)
        if claim in self.accepted:
            self.duplicates += 1
        else:
            self.accepted[claim] = recipient

    def _problems(self, recipient: Recipient, is_known: bool = False) -> Problems:
        """Everything that is wrong with a recipient."""
        if recipient.errors:
            return recipient.errors
        recipient_type = self.personalisation.message.get('recipient_type')
        problems = recipient.check_address(recipient_type, is_known)
        return problems | self.personalisation.check(recipient.parameters)

    def _all_errors(self) -> Problems:
        errors: Problems = {}
        for row in self.rejected_rows:
            for name, sentences in row['errors'].items():
                errors[f'line {row["line"]}, {name}'] = sentences
        return errors or {'recipients': ['None given.']}

    def count_once(self, conversations: Conversations) -> None:
        """Keep the first of the recipients that lead to one person, by whichever id."""
        first: dict[str, IdentityClaim] = {}
        for claim in list(self.accepted):
            if first.setdefault(conversations[claim], claim) != claim:
                del self.accepted[claim]
                self.duplicates += 1

    def exclude(self, conversations: Conversations, decisions: Mapping[str, Decision]) -> None:
        """Take out whom the message may not be sent to. Raises Conflict when nobody is left."""
        self.decisions = decisions
        for claim in list(self.accepted):
            denial = decisions.get(conversations[claim], UNRESTRICTED).denial
            if denial:
                self._drop(claim, denial.sentence)
        if not self.accepted:
            raise Conflict(
                NOBODY_LEFT,
                code='nobody_left',
                dropped=self.dropped,
                dropped_rows=self.dropped_rows,
            )

    def _drop(self, claim: IdentityClaim, sentence: str) -> None:
        recipient = self.accepted.pop(claim)
        self.dropped += 1
        if self.dropped <= MAX_REPORTED:
            errors = {next(iter(recipient.address)): [sentence]}
            self.dropped_rows.append({'line': recipient.line, 'errors': errors})

    def messages(self, conversations: Conversations) -> Iterator[tuple[str, Body]]:
        """The conversation and the message of each recipient.

        They are made one by one: a long text to many people is never held at once.
        """
        for claim, recipient in self.accepted.items():
            conversation_id = conversations[claim]
            body = self.personalisation.fill(recipient.parameters)
            if self.decisions.get(conversation_id, UNRESTRICTED).use_fallback:
                body = with_fallback(body)
            yield conversation_id, {**body, **recipient.address}

    def with_other_files(self) -> Iterable[Body]:
        """The message once, or filled for each recipient when a placeholder chooses its file."""
        if not _file_ids_vary(self.personalisation.message):
            return [self.personalisation.message]
        recipients = self.accepted.values()
        return (self.personalisation.fill(recipient.parameters) for recipient in recipients)


def _file_ids_vary(message: object) -> bool:
    """Whether the id of a file has a placeholder in it."""
    waiting = [message]
    while waiting:
        part = waiting.pop()
        if isinstance(part, dict):
            files = [part[kind] for kind in LIMITS if isinstance(part.get(kind), dict)]
            if has_placeholder([file.get('id') for file in files]):
                return True
            waiting.extend(part.values())
        elif isinstance(part, list):
            waiting.extend(part)
    return False
