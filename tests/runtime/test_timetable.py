"""When those who have much to do depart."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.runtime.timetable import COMMIT, EVERY, READ, RECORD, SEND, Departures


@given(st.floats(0, 1e8), st.sampled_from([COMMIT, READ, RECORD, SEND, Departures(0.3, 2)]))
def test_the_next_departure_is_never_further_away_than_the_one_behind_it(moment, line):
    departs = line.after(moment)
    assert moment < departs + 1e-6
    assert departs - moment <= line.every + 1e-6
    places = (departs - line.offset) / line.every
    assert places == pytest.approx(round(places), abs=1e-3)


def test_each_stage_of_a_turn_departs_after_the_one_before():
    offsets = [line.offset for line in (COMMIT, READ, RECORD, SEND)]
    assert all(earlier < later for earlier, later in pairwise(offsets))
    assert offsets[-1] < EVERY
    assert {line.every for line in (READ, RECORD, SEND)} == {EVERY}
    assert EVERY % COMMIT.every == 0


def test_all_processes_depart_at_the_same_times():
    assert [READ.after(moment) for moment in (100.0, 100.003, 100.007)] == [
        pytest.approx(100.008)
    ] * 3
