"""What the two books say in the end: the stand-in's, of what really arrived at Meta, and the
database's.
"""

from collections import Counter, defaultdict
from dataclasses import dataclass

from .fault_traffic import BULK, NUMBERS, SINGLE

# Every move of a message's state is written down by a trigger: what goes back and forth within a
# second, too.
WATCH = """
CREATE TABLE bench_move (id bigint GENERATED ALWAYS AS IDENTITY, message_id uuid, before text,
  after text);
CREATE FUNCTION bench_note_move() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  INSERT INTO bench_move (message_id, before, after) VALUES (NEW.id, OLD.status, NEW.status);
  RETURN NULL;
END $$;
CREATE TRIGGER bench_move AFTER UPDATE OF status ON message FOR EACH ROW
  WHEN (OLD.status IS DISTINCT FROM NEW.status) EXECUTE FUNCTION bench_note_move();
"""
FORWARD = ('accepted', 'sent', 'delivered', 'read')
MESSAGES = """
SELECT id::text, chatbot_id, content ->> 'body' AS text, status, resends,
  tries -> -1 ->> 'outcome' AS last_try,
  (SELECT count(*) FROM message_status s WHERE s.message_id = m.id) AS told,
  (SELECT min(extract(epoch FROM received_at))::float8 FROM message_status s WHERE s.message_id =
    m.id) AS first_told
FROM message m WHERE direction = 'outbound'
"""
INBOUND = "SELECT wamid, content ->> 'body' FROM message WHERE direction = 'inbound'"
UNSETTLED = """
SELECT 'message ' || status, count(*) FROM message
WHERE direction = 'outbound' AND status NOT IN ('read', 'failed') GROUP BY 1
UNION ALL SELECT 'event ' || status, count(*) FROM webhook_event WHERE status <> 'processed' GROUP
  BY 1
UNION ALL SELECT 'reply due', count(*) FROM conversation WHERE reply_due_at IS NOT NULL HAVING
  count(*) > 0
"""


@dataclass(frozen=True, slots=True)
class Row:
    """An outbound message as the gateway knows it in the end."""

    id: str
    chatbot_id: str
    text: str
    status: str
    resends: int
    last_try: str | None
    told: int
    first_told: float | None


class Ledger:
    """Each property is a list of what broke a promise, or a number of what the contract allows."""

    def __init__(self, traffic, sends, rows, inbound, moves, conversations):
        self.traffic, self.rows, self.moves, self.conversations = (
            traffic,
            rows,
            moves,
            conversations,
        )
        self.inbound = inbound
        self.accepted = defaultdict(
            list
        )  # our id → Meta's entries of it, in the order in which they arrived
        for entry in sends:
            if entry['wamid']:
                self.accepted[entry['opaque']].append(entry)
        self.expected = Counter(
            [(number, one) for (number, _, _), texts in traffic.outbound().items() for one in texts]
            + [(NUMBERS[1].chatbot_id, one) for one in traffic.replies()]
        )

    def findings(self):
        """{what must not be: the cases}"""
        return {
            'in: lost': sorted(self._inbound_expected() - set(self.inbound)),
            'in: doubled': [one for one, times in Counter(self.inbound).items() if times > 1],
            'in: conversations too many or too few': self._conversations(),
            'out: lost': self._lost(),
            'out: told wrong': self._told_wrong(),
            'out: doubled': self._doubled(),
            'statuses: lost': [row for row in self.rows if self.accepted[row.id] and row.told < 3],
            'statuses: backwards': [move for move in self.moves if is_backwards(*move[1:])],
            'order: reversed': self._reversed(),
        }

    def allowed(self):
        """{what the contract allows: how often it was}"""
        return {
            'not sent, and said so (failed)': sum(row.status == 'failed' for row in self.rows),
            'resent once, without a sign in the grace (on_unknown: resend)': sum(
                row.resends > 0 for row in self.rows
            ),
            'of these taken twice by Meta': len(self._taken_twice()) - len(self._doubled()),
        }

    def _inbound_expected(self):
        return {(f'wamid.in.{n}', f'in {n}') for n, _, _ in self.traffic.inbound()}

    def _conversations(self):
        people = {(number.chatbot_id, phone) for _, number, phone in self.traffic.inbound()}
        expected = len(people) + len(self.traffic.outbound())
        return (
            []
            if self.conversations == expected
            else [f'{self.conversations} instead of {expected}']
        )

    def _lost(self):
        """No row (or more rows than were asked for); or nowhere at Meta, and no word of it."""
        rows = Counter((row.chatbot_id, row.text) for row in self.rows)
        wrong = [(one, times) for one, times in (self.expected - rows).items()]
        return wrong + [
            row for row in self.rows if not self.accepted[row.id] and row.status != 'failed'
        ]

    def _told_wrong(self):
        """A message that nobody asked for, one that failed although Meta has it, or for no reason
        that it may have.
        """
        rows = Counter((row.chatbot_id, row.text) for row in self.rows)
        failed = [row for row in self.rows if row.status == 'failed']
        return [(one, times) for one, times in (rows - self.expected).items()] + [
            row
            for row in failed
            if self.accepted[row.id] or row.last_try not in ('unknown', 'retry')
        ]

    def _taken_twice(self):
        return [row for row in self.rows if len(self.accepted[row.id]) > 1]

    def _doubled(self):
        """Taken twice by Meta: allowed once, when resending was wished for and no status had told
        of the first.
        """
        return [row for row in self._taken_twice() if not self._may_be_twice(row)]

    def _may_be_twice(self, row):
        first, second, *more = self.accepted[row.id]
        return row.resends == 1 and not more and row.first_told and second['wall'] < row.first_told

    def _reversed(self):
        """Neighbours that arrived the wrong way round; one that was resent comes after those that
        went on.
        """
        rows = {(row.chatbot_id, row.text): row for row in self.rows}
        wrong = []
        for (chatbot_id, _, _), texts in self.traffic.outbound().items():
            found = [rows[chatbot_id, one] for one in texts if (chatbot_id, one) in rows]
            arrived = [
                (self.accepted[row.id][0]['index'], row) for row in found if self._in_order(row)
            ]
            wrong += [
                (a, b)
                for (at, a), (then, b) in zip(arrived, arrived[1:], strict=False)
                if at > then
            ]
        return wrong

    def _in_order(self, row):
        return self.accepted[row.id] and not row.resends


def is_backwards(before, after):
    """From what Meta has told to less; and out of what is final."""
    if before in ('failed', 'read'):
        return True
    return before in FORWARD and (
        after not in FORWARD or FORWARD.index(after) < FORWARD.index(before)
    )


def kinds_of(rows):
    """How many of the outbound messages went which way."""
    return Counter(
        next((kind for kind in (SINGLE, BULK) if row.text.startswith(kind)), 'reply')
        for row in rows
    )
