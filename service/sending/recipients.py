"""Pure: one message to many, and which of its rows are good."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from operator import itemgetter

from service.content.file_types import LIMITS
from service.content.person_id import read
from service.conversations.identity_claim import IdentityClaim, addressee
from service.runtime.errors import Conflict, Invalid
from service.sending import send_policy
from service.sending.outbox import Outgoing
from service.sending.personalisation import PLACEHOLDER, Personalisation

MAX_RECIPIENTS, MAX_REPORTED = 10_000, 1_000


@dataclass
class RecipientList:
    """What became of the rows: good ones by recipient, the others counted and, up to MAX_REPORTED,
    reported.
    """

    chatbot_id: str
    personalisation: Personalisation
    known: Callable = lambda chatbot_id, numbers: (
        set()
    )  # known_ids.known_phones, or nobody is known
    accepted: dict = field(default_factory=dict)  # {IdentityClaim: (line, recipient, parameters)}
    total: int = 0
    rejected: int = 0
    duplicates: int = 0
    dropped: int = 0
    rejected_rows: list = field(default_factory=list)
    dropped_rows: list = field(default_factory=list)
    is_marketing: bool = False
    standings: dict = field(
        default_factory=dict
    )  # {conversation id: admission.Standing}, of those who have one

    def add_rows(self, rows):
        """Sort Rows. Raises Invalid at the first that is too many, or when none was good."""
        doubtful = []
        for row in rows:
            self.total += 1
            if self.total > MAX_RECIPIENTS:
                raise Invalid(TOO_MANY, {'recipients': [TOO_MANY]})
            errors = self._errors(row)
            if 'to' in errors:
                doubtful.append((row, errors))
            else:
                self._sort(row, errors)
        self._look_again(doubtful)
        if not self.accepted:
            problems = [
                (row['line'], *error)
                for row in self.rejected_rows
                for error in row['errors'].items()
            ]
            errors = {f'line {line}, {name}': sentences for line, name, sentences in problems}
            raise Invalid(
                'There is no valid recipient; nothing was stored.',
                errors or {'recipients': ['None given.']},
            )

    def _look_again(self, doubtful):
        """Numbers that their country's plan refuses are good when Meta knows a customer under them."""
        known = (
            self.known(self.chatbot_id, [row.recipient.get('to') for row, _ in doubtful])
            if doubtful
            else set()
        )
        for row, errors in doubtful:
            named = read(row.recipient.get('to'))
            self._sort(
                row, self._errors(row, is_known=True) if named and named.value in known else errors
            )
        self.rejected_rows = sorted(self.rejected_rows, key=itemgetter('line'))[:MAX_REPORTED]

    def _sort(self, row, errors):
        if errors:
            self.rejected += 1
            self.rejected_rows.append({'line': row.line, 'errors': errors})
            return
        identity = addressee(self.chatbot_id, {**self.personalisation.message, **row.recipient})
        if identity in self.accepted:
            self.duplicates += 1
        else:
            self.accepted[identity] = row.line, row.recipient, row.parameters

    def _errors(self, row, is_known=False):
        """{field: [sentence]} of everything that is wrong with a row."""
        if row.errors:
            return row.errors
        wrong = row.wrong_address(self.personalisation.message.get('recipient_type'), is_known)
        return wrong | self.personalisation.check(row.parameters)

    def count_once(self, conversations: dict[IdentityClaim, str]) -> None:
        """Of rows that lead to one person, by whichever id, the first counts."""
        first: dict[str, IdentityClaim] = {}
        for identity in list(self.accepted):
            if first.setdefault(conversations[identity], identity) != identity:
                del self.accepted[identity]
                self.duplicates += 1

    def exclude(self, conversations, standings):
        """Take out whom the message may not go to now. Raises Conflict when nobody is left."""
        self.standings = standings
        for identity in [one for one in self.accepted if conversations[one] in standings]:
            _, objection = self._judged(self.personalisation.message, conversations[identity])
            if objection:
                self._exclude(identity, objection)
        if not self.accepted:
            raise Conflict(
                NOBODY_LEFT,
                code='nobody_left',
                dropped=self.dropped,
                dropped_rows=self.dropped_rows,
            )

    def _judged(self, message, conversation):
        return send_policy.judge(message, self.standings.get(conversation), self.is_marketing)

    def _exclude(self, identity, objection):
        line, recipient, _ = self.accepted.pop(identity)
        self.dropped += 1
        if self.dropped <= MAX_REPORTED:
            self.dropped_rows.append(
                {'line': line, 'errors': {next(iter(recipient)): [objection.sentence]}}
            )

    def messages(self, conversations: dict[IdentityClaim, str]) -> Iterator[Outgoing]:
        """The message of each good row, made one by one: a long text to many is never held at once."""
        for identity, (_, recipient, parameters) in self.accepted.items():
            conversation = conversations[identity]
            form, _ = self._judged(self.personalisation.fill(parameters), conversation)
            yield Outgoing(conversation, {**form, **recipient})

    def with_other_files(self):
        """The message, or what it is for each row when a placeholder decides which file it has."""
        if not _file_ids_vary(self.personalisation.message):
            return [self.personalisation.message]
        return (
            self.personalisation.fill(parameters) for _, _, parameters in self.accepted.values()
        )


def _file_ids_vary(message: object) -> bool:
    """Whether the id of a file has a placeholder in it."""
    waiting = [message]
    while waiting:
        part = waiting.pop()
        if isinstance(part, dict):
            ids = [part[kind].get('id') for kind in LIMITS if isinstance(part.get(kind), dict)]
            if any(isinstance(one, str) and PLACEHOLDER.search(one) for one in ids):
                return True
        if isinstance(part, dict | list):
            waiting.extend(part.values() if isinstance(part, dict) else part)
    return False


NOBODY_LEFT = 'None of the recipients may get this message now; nothing was stored.'
TOO_MANY = (
    f'More than {MAX_RECIPIENTS:,} recipients; nothing was stored. Send them in several bulks.'
)
