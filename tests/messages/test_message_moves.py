"""Every statement and every function that moves a message, held against the table of the states."""

from datetime import UTC, datetime
from itertools import product

import pytest

from service.graph.outcome import LOST, Outcome, OutcomeKind
from service.messages.message_status import DeliveryStatus
from service.messages.state_machine import ALLOWED, OUTBOUND, TOLD, HoldReason, Status
from service.sending.send_outcome import next_step
from service.sending.status_change import TargetMessage, apply_status
from service.templates.template import STOPS
from tests.messages.message_moves import GIVEN, Moves, moves_of, starts_of, statements_in
from tests.stack import ROOT

FILES = [*(ROOT / 'service').rglob('*.py'), *(ROOT / 'workers').glob('*.py')]
# The states from which and to which each statement moves messages.
KNOWN_MOVES = {
    'awaited_answer.CANCEL_REFUSED': ('queued held', 'cancelled'),
    **dict.fromkeys(
        ('dispatch.CLAIM', 'dispatch.CLAIM_MESSAGES', 'dispatch.CLAIM_ONE'),
        ('queued', 'sending cancelled'),
    ),
    'dispatch.REQUEUE_MESSAGES': ('sending', 'queued'),
    'holds.APPLY_STOPS': ('queued held', GIVEN),
    'holds.CANCEL_MESSAGES_OF_BATCH': ('scheduled queued held', 'cancelled'),
    'holds.CANCEL_UNWANTED_MESSAGES': ('scheduled queued held', 'cancelled'),
    'holds.HOLD_MESSAGES_OF_ACCOUNT': ('queued', 'held'),
    'holds.HOLD_MESSAGES_OF_BATCH': ('scheduled queued held', 'held'),
    'holds.RELEASE_MESSAGES': ('held', 'queued held'),
    'holds.RELEASE_MESSAGES_OF_ACCOUNT': ('held', 'queued'),
    'holds.RELEASE_MESSAGES_OF_GONE_TEMPLATES': ('held', 'queued held'),
    'holds.RELEASE_MESSAGES_OF_TEMPLATE': ('held', 'queued held'),
    'holds.RESUME_MESSAGES_OF_BATCH': ('held', 'scheduled queued held'),
    'outbox.CANCEL_MESSAGE': ('scheduled queued held', 'cancelled'),
    'outbox.RETRY_MESSAGE': ('failed unknown', 'queued held'),
    'send_outcome.ACCEPT_MESSAGES': ('queued sending unknown held', 'accepted'),
    'send_outcome.RECORD_FAILED_ATTEMPTS': ('sending', GIVEN),
    'status_change.CHANGE_MESSAGES': ('', GIVEN),
    'strays.CANCEL_STRAYS_OF_BATCHES': ('scheduled queued held', 'cancelled'),
    'strays.HOLD_STRAYS_OF_ACCOUNTS': ('queued', 'held'),
    'strays.HOLD_STRAYS_OF_BATCHES': ('scheduled queued', 'held'),
    'strays.RELEASE_STRAYS_OF_TEMPLATES': ('held', 'queued held'),
    'takeover.CANCEL_REPLIES': ('scheduled queued held', 'cancelled'),
    'timers.DECIDE_UNKNOWN': ('unknown', 'queued held failed'),
    'timers.EXPIRE_LEASES': ('sending', 'unknown'),
    'timers.EXPIRE_MESSAGES': ('scheduled queued held', 'expired'),
    'timers.START_SCHEDULED': ('scheduled', 'queued held'),
}
# The states in which each statement lets messages begin.
KNOWN_STARTS = {
    'echo.INSERT_ECHOES': 'sent',
    'message.INSERT_INBOUND_MESSAGES': 'received',
    'outbox.INSERT_AND_RETURN_MESSAGES': GIVEN,
    'outbox.INSERT_MESSAGES': GIVEN,
}
# Which states Python gives to a statement, where the statement itself names its sources. Those of
# CHANGE_MESSAGES depend on the state before, see below.
GIVEN_STATES = {
    'holds.APPLY_STOPS': {stop.status for stop in STOPS.values()},
    'send_outcome.RECORD_FAILED_ATTEMPTS': {'queued', 'unknown', 'held', 'failed', 'expired'},
}
BATCH = '0192a000-0000-7000-8000-000000000000'
CODES = (131016, 131026, 131042, 131047, 131049, 131056, 130429, 132015, 190, 368, None)


def states(words):
    return frozenset(words.split())


def found():
    """{name: statement} of all that concern messages; the same name twice is an error."""
    statements = [one for path in FILES for one in statements_in(path, ROOT)]
    names = [name for name, _ in statements]
    assert len(names) == len(set(names))
    return {'.'.join(name.split('.')[-2:]): statement for name, statement in statements}


def all_moves():
    moves = {name: moves_of(statement) for name, statement in found().items()}
    return {name: move for name, move in moves.items() if move}


def forbidden(moves, given=frozenset()):
    """The moves of a statement that the table does not allow."""
    targets = moves.targets - {GIVEN} | given
    pairs = Moves(moves.sources, targets).pairs()
    return {pair for pair in pairs if pair[1] not in ALLOWED.get(pair[0], ())}


def test_every_statement_that_moves_messages_is_known():
    assert all_moves() == {
        name: Moves(states(sources), states(targets))
        for name, (sources, targets) in KNOWN_MOVES.items()
    }


def test_every_statement_makes_moves_that_are_allowed():
    for name, moves in all_moves().items():
        assert moves.sources or name == 'status_change.CHANGE_MESSAGES'
        assert forbidden(moves, GIVEN_STATES.get(name, frozenset())) == set(), name


def test_every_statement_in_which_messages_begin_is_known():
    starts = {name: starts_of(statement) for name, statement in found().items()}
    starts = {name: one for name, one in starts.items() if one}
    assert starts == {name: states(words) for name, words in KNOWN_STARTS.items()}


MADE_UP = {
    "UPDATE message SET status = 'queued' WHERE id = %s AND status = 'delivered'": True,
    "UPDATE message SET status = 'queued' WHERE id = %s": True,  # from any state
    "UPDATE message SET status = 'gone' WHERE status = 'queued'": True,
    """
    UPDATE message m SET due_at = now(), status = CASE WHEN d.ok THEN 'sending' ELSE 'unknown' END
    FROM (SELECT id, ok FROM b WHERE b.status = 'x') d WHERE m.id = d.id AND m.status IN ('queued')
    """: True,
    """
    WITH moved AS (
      UPDATE message AS m SET status = d.status, updated_at = now() FROM (
        SELECT id, CASE WHEN send_at > now() THEN 'scheduled' ELSE 'sending' END AS status
        FROM message WHERE status = 'held' ORDER BY id) d
      WHERE m.id = d.id RETURNING m.id)
    SELECT * FROM moved
    """: True,
    """
    UPDATE message m SET status = CASE WHEN m.status IN ('queued', 'sent') THEN 'expired'
      ELSE m.status END FROM n WHERE m.id = n.id
    """: True,
    "UPDATE message SET status = 'expired' WHERE status IN ('queued', 'held')": False,
    "UPDATE message m SET status = 'queued' WHERE m.status || '' = 'sending'": False,
    "UPDATE message m SET status = 'queued' WHERE m.status || '' = 'read'": True,
    "UPDATE message SET due_at = now() WHERE status = 'queued'": None,
}


@pytest.mark.parametrize(('statement', 'is_forbidden'), MADE_UP.items())
def test_a_made_up_move_is_read_and_judged(statement, is_forbidden):
    moves = moves_of(statement)
    assert (moves and bool(forbidden(moves))) == is_forbidden


@pytest.mark.parametrize(
    ('statement', 'start'),
    [
        ("INSERT INTO message (id, status, echo) VALUES (%s, 'delivered', true)", 'delivered'),
        ("INSERT INTO message (id, status) SELECT n.*, 'read' FROM n", 'read'),
        ("INSERT INTO message_status (id, status) VALUES (%s, 'read')", ''),
    ],
)
def test_a_made_up_start_is_read(statement, start):
    assert starts_of(statement) == states(start)


def test_a_new_statement_is_found_wherever_it_stands(tmp_path):
    room = tmp_path / 'room.py'
    room.write_text(
        'def move(id_):\n    execute(f"UPDATE message SET status = \'read\' WHERE id = {id_}")\n'
    )
    ((name, statement),) = statements_in(room, tmp_path)
    assert name == 'room.move'
    assert name not in KNOWN_MOVES
    assert ('queued', 'read') in moves_of(statement).pairs()
    assert forbidden(moves_of(statement))


@pytest.mark.parametrize('statement', [
    "UPDATE message SET status = 'held' WHERE status <> 'sent'",
    "UPDATE message SET status = 'held' WHERE status = ANY(%s)",
    "UPDATE message m SET status = 'held' WHERE NOT (m.status = 'sent') OR m.status != 'read'",
])  # fmt: skip
def test_a_source_that_is_not_named_is_not_let_pass(statement):
    assert GIVEN in moves_of(statement).sources
    assert forbidden(moves_of(statement))


def outcomes():
    """An Outcome of each kind that an attempt may have, in each scope."""
    for kind in set(OutcomeKind) - {OutcomeKind.ACCEPTED, OutcomeKind.POSTPONED}:
        for scope in (None, 'pair', 'number', 'waba', 'app', 'bulk', 'template'):
            for code, cause in product(CODES, LOST):
                error = {'code': code, 'title': 'x', 'cause': cause}
                yield Outcome(kind, error=error, scope=scope)


def target(status, **more):
    row = {
        'id': BATCH, 'chatbot_id': 'acme', 'conversation_id': BATCH, 'phone_number_id': '1',
        'wamid': 'wamid.1', 'status': status, 'error': None, 'accepted_at': None, 'attempts': 1,
        'batch_id': None, 'tries': [], 'echo': False, 'has_fallback': False,
    }  # fmt: skip
    return TargetMessage(**row | more)


KINDS = [{}, {'attempts': 4}, {'batch_id': BATCH}, {'has_fallback': True}, {'echo': True}]


@pytest.mark.parametrize('more', KINDS)
def test_an_attempt_leads_to_the_states_that_its_statement_is_given(more):
    given = GIVEN_STATES['send_outcome.RECORD_FAILED_ATTEMPTS']
    for outcome in outcomes():
        for is_away in (False, True):
            step = next_step(target('sending', **more), outcome, is_away)
            assert step.status in given, outcome
            assert (step.status == Status.HELD) == (step.hold_reason in set(HoldReason))


@pytest.mark.parametrize('more', KINDS)
@pytest.mark.parametrize('before', OUTBOUND)
def test_a_status_from_meta_makes_moves_that_are_allowed(before, more):
    for name in (*TOLD, 'failed', 'a_new_name'):
        for code in CODES if name == 'failed' else [None]:
            errors = [{'code': code, 'title': 'x'}] if code else None
            status = DeliveryStatus(
                'acme', '1', 'wamid.1', name, '', datetime.now(UTC), None, errors, None, {}
            )
            message = target(before, **more)
            has_moved, _ = apply_status(message, status)
            assert has_moved or message.status == before
            assert message.status == before or message.status in ALLOWED[before], (name, code)
