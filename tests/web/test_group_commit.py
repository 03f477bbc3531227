"""Webhooks that are committed together: whom the thread waits for, and whom it does not."""

import time
from dataclasses import dataclass, field

import pytest

from service.runtime import timetable
from service.runtime.timetable import Departures
from service.web import fast_webhook
from service.web.fast_webhook import GroupCommit, Webhook
from tests.stack import wait_until


class Socket:
    def send(self, data):
        return len(data)


@dataclass
class Caller:
    raw: Socket = field(default_factory=Socket)
    keeps: bool = False


@pytest.fixture
def commits(monkeypatch):
    """(when, how many webhooks) of each commit, without PostgreSQL."""
    made = []

    def store(webhooks):
        made.append((time.monotonic(), len(webhooks)))
        return b'HTTP/1.1 200 OK', b'OK'

    monkeypatch.setattr(fast_webhook, '_store', store)
    return made


def comes(group, count=1):
    """So many webhooks come at the same moment, each on a connection of its own."""
    for _ in range(count):
        group.add(Caller(), Webhook('', b'{}', b'', 2, True, 'id'))
    group.start()


def counts(commits):
    return [count for _, count in commits]


def test_what_comes_soon_after_a_commit_goes_together_at_the_next_departure(commits, monkeypatch):
    monkeypatch.setattr(timetable, 'COMMIT', Departures(0, 2))
    group = GroupCommit(lambda callers: None, lambda: 100)
    wait_until(lambda: time.monotonic() % 2 < 0.2)
    comes(group)
    wait_until(lambda: commits)
    for _ in range(5):
        comes(group)
        time.sleep(0.01)
    wait_until(lambda: sum(counts(commits)) == 6)
    assert counts(commits) == [1, 5]
    assert commits[1][0] >= timetable.COMMIT.after(commits[0][0])


def test_the_first_after_a_rest_waits_for_nobody(commits, monkeypatch):
    monkeypatch.setattr(timetable, 'COMMIT', Departures(0, 2))
    group = GroupCommit(lambda callers: None, lambda: 100)
    for number in range(2):
        time.sleep(2 * number)
        wait_until(lambda: time.monotonic() % 2 < 0.2)
        departs = timetable.COMMIT.after(time.monotonic())
        comes(group)
        wait_until(lambda number=number: len(commits) > number)
        assert commits[number][0] < departs


@pytest.mark.parametrize(
    ('waiting', 'connected'), [(fast_webhook.ENOUGH_WAIT, 100), (3, 3), (1, 1)]
)
def test_when_enough_wait_or_all_who_are_connected_the_commit_comes_at_once(
    commits, monkeypatch, waiting, connected
):
    monkeypatch.setattr(timetable, 'COMMIT', Departures(0, 60))
    group = GroupCommit(lambda callers: None, lambda: connected)
    for number in range(4):
        comes(group, waiting)
        wait_until(lambda number=number: len(commits) > number)
    assert counts(commits) == [waiting] * 4


def test_callers_are_given_back_once_their_webhook_is_committed(commits):
    back = []
    group = GroupCommit(back.extend, lambda: 100)
    comes(group, 3)
    wait_until(lambda: len(back) == 3)
    assert all(caller.keeps for caller in back)
