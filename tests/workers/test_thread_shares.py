"""Threads among accounts: whoever drips, others are asked; and who is alone may use many."""

import time
from dataclasses import dataclass, field

import pytest

from workers.thread_shares import RESERVED, RESERVED_FOR_PROVEN, SLOW_SECONDS, ThreadShares

SIZE = 64


@dataclass
class Ask:
    """One that holds a thread, as far as the shares look at it."""

    owner: str
    claimed_at: float = field(default_factory=time.monotonic)


def fill(shares, accounts):
    """Each account takes all it may, step by step, until nobody gets more.

    What is in flight then.
    """
    in_flight = []
    while True:
        open_to, others = shares.open_to(in_flight)
        room, taken = max(1, (SIZE - len(in_flight)) // 4), []
        for account in accounts:
            taken += [account] * min(open_to.get(account, others), room - len(taken))
        if not taken or len(in_flight) == SIZE:
            return in_flight
        in_flight += [Ask(account) for account in taken]


def count(in_flight, account):
    return sum(ask.owner == account for ask in in_flight)


@pytest.mark.parametrize('accounts', [4, 12, 100])
def test_accounts_that_nobody_knows_yet_leave_threads_to_each_other_and_to_the_proven(accounts):
    shares, names = ThreadShares(SIZE), [f'new{n}' for n in range(accounts)]
    shares.ended('quick', 0.5)
    in_flight = fill(shares, names)
    assert max(count(in_flight, name) for name in names) <= 8
    assert SIZE - len(in_flight) >= RESERVED_FOR_PROVEN
    assert shares.open_to(in_flight)[0]['quick'] >= 1
    assert (shares.open_to(in_flight)[1] >= 1) == (accounts < 20)


@pytest.mark.parametrize('accounts', [1, 4, 10, 40, 100])
def test_however_many_drip_somebody_new_is_asked(accounts):
    shares, names = ThreadShares(SIZE), [f'slow{n}' for n in range(accounts)]
    for name in names:
        shares.ended(name, 30)
    in_flight = fill(shares, names)
    assert all(count(in_flight, name) >= 1 for name in names) or accounts > 4
    assert SIZE - len(in_flight) > RESERVED // 2  # a claim of several may take a few of the last
    assert shares.open_to(in_flight)[1] >= 1


def test_one_account_alone_may_use_many_threads_fewer_when_it_is_slow():
    shares = ThreadShares(SIZE)
    shares.ended('quick', 0.5)
    shares.ended('slow', 30)
    assert SIZE // 3 < count(fill(shares, ['quick']), 'quick') <= SIZE * 0.6
    assert SIZE // 8 < count(fill(shares, ['slow']), 'slow') <= SIZE // 4


def test_what_is_under_way_for_long_counts_as_slow_before_it_ends():
    shares = ThreadShares(SIZE)
    shares.ended('a', 0.1)
    in_flight = [Ask('a', time.monotonic() - 100) for _ in range(10)]
    assert shares.open_to(in_flight)[0]['a'] == 0


def test_the_last_threads_are_for_the_quick():
    shares = ThreadShares(SIZE)
    shares.ended('slow', SLOW_SECONDS + 1)
    shares.ended('quick', SLOW_SECONDS - 1)
    in_flight = [Ask(f'x{n}') for n in range(SIZE - RESERVED)]
    open_to, others = shares.open_to(in_flight)
    assert (open_to['slow'], open_to['quick'] > 0, others > 0) == (0, True, True)


def test_who_becomes_quick_again_gets_more():
    shares = ThreadShares(SIZE)
    shares.ended('a', 300)
    before = shares.open_to([])[0]['a']
    for _ in range(10):
        shares.ended('a', 0.2)
    assert shares.open_to([])[0]['a'] > 10 * before
