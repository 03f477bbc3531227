"""The states of a message, held against the database's constraints and against what is written into
the rows.
"""

import re

import pytest

from service.messages.state_machine import (
    ALLOWED,
    ARRIVED,
    OUTBOUND,
    RANK,
    TOLD,
    UNDELIVERED,
    WAITING,
    HoldReason,
    Status,
    moves_up,
)  # fmt: skip
from service.templates.template import STOPS
from tests.people import sql

CHECKS = """
SELECT pg_get_constraintdef(oid) FROM pg_constraint WHERE conrelid = 'message'::regclass AND
  contype = 'c'
"""


def named_by(column):
    """The words that the CHECK of one column of `message` lists."""
    lists = [
        text for (text,) in sql(CHECKS) if re.match(rf'CHECK \(\({column} = ANY \(ARRAY\[', text)
    ]
    assert len(lists) == 1
    return set(re.findall(r"'(\w+)'::text", lists[0]))


@pytest.mark.parametrize(
    ('column', 'enumeration'), [('status', Status), ('hold_reason', HoldReason)]
)
def test_the_database_allows_these_words_and_no_other(database, column, enumeration):
    assert named_by(column) == {str(word) for word in enumeration}


def test_every_state_says_where_it_leads():
    assert set(ALLOWED) == set(Status)
    assert all(
        after in OUTBOUND and after != before
        for before, next_ones in ALLOWED.items()
        for after in next_ones
    )


def test_every_state_of_what_is_sent_can_be_reached():
    reached, new = set(), {Status.SCHEDULED}
    while new:
        reached |= new
        new = set().union(*(ALLOWED[status] for status in new)) - reached
    assert reached == set(OUTBOUND)


def test_meta_moves_a_message_up_and_never_from_arrived_to_failed():
    for before in OUTBOUND:
        for after in (Status.ACCEPTED, *TOLD, Status.FAILED):
            forward = RANK[after] > RANK[before] and not (
                after == Status.FAILED and before in ARRIVED
            )
            assert moves_up(before, after) == forward, (before, after)


def test_what_waits_may_leave_and_what_has_arrived_stays():
    for status in WAITING:
        assert Status.ACCEPTED in ALLOWED[status]
    for status in UNDELIVERED:
        assert {Status.QUEUED, Status.FAILED} <= ALLOWED[status]
    for status in ARRIVED:
        assert not ALLOWED[status] & {*WAITING, Status.FAILED, Status.CANCELLED}


def test_a_stopped_template_moves_its_messages_as_the_table_allows():
    for stop in STOPS.values():
        assert stop.status in ALLOWED[Status.QUEUED]
        assert (stop.status == Status.HELD) == (stop.hold_reason in set(HoldReason))
