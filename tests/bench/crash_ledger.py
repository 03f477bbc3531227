"""What was seen from outside while PostgreSQL died, held against what the database knows in the
end: customers' texts, ids that a responder was told, Graph calls.
"""

from collections import Counter, defaultdict
from dataclasses import dataclass

STATUSES = 3  # that Meta tells of each message
# Everything that a responder may have been told of, with its id, as crash_load.Told has it.
KNOWN = """
SELECT direction, content ->> 'body', id::text FROM message
UNION ALL SELECT 'conversation', wa_id, id::text FROM conversation
"""


@dataclass(frozen=True)
class CrashLedger:
    """`findings()`: {what must not be: the cases}; `allowed()`: {what may be: how often}."""

    written: list  # every customer's text; each had its 200
    asks: list  # crash_load.Ask
    calls: list  # crash_load.Call
    rows: list  # fault_ledger.Row: outbound messages
    known: list  # crash_load.Told, of the database

    def findings(self):
        return {
            'lost: answered with 200, not stored': self._not_stored(),
            'lost: never answered': self._not_answered(),
            'lost: told as sent, not at Meta': self._not_sent(),
            'lost: a status': self._without_status(),
            'told wrong': self._told_wrong(),
            'doubled: stored twice': self._stored_twice(),
            'doubled: two answers to one text': twice(row.text for row in self.rows),
            'doubled: Graph calls of one id': twice(call.id for call in self.calls),
            'doubled: a text sent twice to a customer': self._sent_twice(),
            'ids: told, then another one': self._changed(),
            'ids: told, not in the database': self._gone(),
            'ids: webhook-id is not that of the question': self._misnamed(),
        }

    def allowed(self):
        return {
            'asked again, with the same ids': len(self.asks) - len(self._questions()),
            'unknown, not sent again, and said so': len(self._failed()),
        }

    # ---- lost

    def _not_stored(self):
        return sorted(set(self.written) - set(self._stored()))

    def _not_answered(self):
        return sorted(set(self.written) - {row.text for row in self.rows})

    def _not_sent(self):
        called = self._called()
        return [row for row in self.rows if row.status != 'failed' and row.id not in called]

    def _without_status(self):
        called = self._called()
        return [row for row in self.rows if row.id in called and row.told < STATUSES]

    def _told_wrong(self):
        """Failed though Meta has it, or for another reason than a call whose end nobody knows;
        a call of a message that there is not, or of another text; one that nobody asked for.
        """
        called, rows = self._called(), {(row.id, row.text) for row in self.rows}
        written = set(self.written)
        wrong = [row for row in self._failed() if row.id in called or row.last_try != 'unknown']
        wrong += [row for row in self.rows if row.text not in written]
        return wrong + [call for call in self.calls if (call.id, call.text) not in rows]

    # ---- doubled

    def _stored_twice(self):
        return twice(self._stored())

    def _sent_twice(self):
        return twice((call.to, call.text) for call in self.calls)

    # ---- ids

    def _changed(self):
        ids = defaultdict(set)
        for one in self._told():
            ids[one.kind, one.what].add(one.id)
        return [(*whose, sorted(found)) for whose, found in ids.items() if len(found) > 1]

    def _gone(self):
        return sorted(self._told() - set(self.known), key=str)

    def _misnamed(self):
        return [(ask.webhook_id, ask.about) for ask in self.asks if ask.webhook_id != ask.about.id]

    # ---- both books

    def _stored(self):
        return [one.what for one in self.known if one.kind == 'inbound']

    def _called(self):
        return {call.id for call in self.calls}

    def _failed(self):
        return [row for row in self.rows if row.status == 'failed']

    def _told(self):
        return set().union(*(ask.told for ask in self.asks))

    def _questions(self):
        return {ask.about.what for ask in self.asks}


def twice(values):
    return [(value, times) for value, times in Counter(values).items() if times > 1]
