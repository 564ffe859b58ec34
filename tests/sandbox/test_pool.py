"""The pool's decisions, without a process."""

import random

from sandbox.pool import Pool


def waiting(spare: int, most: int, pids: range) -> Pool:
    pool = Pool(spare, most)
    for pid in pids:
        pool.forked(pid)
    return pool


def test_a_quiet_pool_fills_up_to_spare() -> None:
    pool = Pool(3, 10)
    forks = 0
    while pool.wants():
        forks += 1
        pool.forked(forks)

    assert forks == 3


def test_a_pool_never_has_more_than_most_alive() -> None:
    assert not waiting(8, 4, range(4)).wants()
    assert Pool(8, 4).spare == 4


def test_while_one_runs_it_refills_only_below_half() -> None:
    pool = waiting(4, 10, range(4))

    pool.accepted(0, 20)
    assert not pool.wants()
    pool.accepted(1, 21)
    assert not pool.wants()
    pool.accepted(2, 22)
    assert pool.wants()


def test_it_refills_to_spare_once_nobody_runs() -> None:
    pool = waiting(4, 10, range(4))
    pool.accepted(0, 20)

    assert pool.died(0) == 20
    assert pool.wants()


def test_who_hangs_up_is_killed_and_hears_no_last_words() -> None:
    pool = waiting(1, 2, range(1))
    pool.accepted(0, 20)

    assert pool.hung_up(20) == 0
    assert pool.alive == 1
    assert pool.died(0) is None
    assert pool.alive == 0


def test_a_hang_up_on_a_number_that_is_not_known_kills_nobody() -> None:
    assert waiting(1, 2, range(1)).hung_up(20) is None


def test_a_number_used_again_belongs_to_its_new_owner() -> None:
    pool = waiting(2, 4, range(2))
    pool.accepted(0, 20)
    assert pool.died(0) == 20
    pool.accepted(1, 20)

    assert pool.hung_up(20) == 1


def test_an_acceptance_by_a_stranger_is_refused() -> None:
    pool = waiting(1, 2, range(1))

    assert not pool.accepted(7, 20)
    assert pool.accepted(0, 20)
    assert not pool.accepted(0, 21)
    assert pool.busy == {0: 20}


def test_children_that_never_accept_are_given_up() -> None:
    pool = Pool(1, 2)
    for pid in range(5):
        assert not pool.failing
        pool.forked(pid)
        pool.died(pid)

    assert pool.failing


def test_one_acceptance_forgives_earlier_deaths() -> None:
    pool = Pool(1, 2)
    for pid in range(20):
        pool.forked(pid)
        if pid % 2:
            pool.died(pid)
        else:
            pool.accepted(pid, pid)
            pool.died(pid)

    assert not pool.failing


def test_any_sequence_of_events_keeps_the_books() -> None:
    chance = random.Random(1)
    pool, next_pid = Pool(4, 12, reserve=3), 0
    for _ in range(20_000):
        assert pool.alive - len(pool.lent) <= 12
        assert len(pool.lent) <= 3
        assert pool.lent <= {pool.called} | set(pool.busy) | pool.doomed
        assert set(pool.by_connection.values()) == set(pool.busy)
        assert not pool.idle & set(pool.busy)
        free = next(number for number in range(10, 99) if number not in pool.by_connection)
        match chance.randrange(6):
            case 0 if pool.wants():
                next_pid += 1
                pool.forked(next_pid)
            case 1 if pool.idle:
                assert pool.accepted(min(pool.idle), free)
            case 2 if pool.by_connection:
                pool.hung_up(chance.choice(list(pool.by_connection)))
            case 3 if pool.alive:
                waiting_ones = [*pool.idle, *([pool.called] if pool.called else [])]
                pool.died(chance.choice([*waiting_ones, *pool.busy, *pool.doomed]))
            case 4 if pool.lends():
                next_pid += 1
                pool.forked_to_lend(next_pid)
            case 5 if pool.called:
                assert pool.accepted(pool.called, free)


def test_those_that_are_parked_leave_their_room_to_others() -> None:
    pool = waiting(1, 2, range(2))
    pool.accepted(0, 20)
    pool.accepted(1, 21)
    assert not pool.wants()

    pool.parked = 1
    assert pool.wants()
    pool.forked(2)
    assert not pool.wants()
    pool.accepted(2, 22)
    assert not pool.wants()


def test_who_comes_back_is_not_killed_and_nobody_is_forked_until_there_is_room() -> None:
    pool = waiting(1, 1, range(1))
    pool.accepted(0, 20)
    pool.parked = 1
    pool.forked(1)
    pool.accepted(1, 21)

    pool.parked = 0
    assert not pool.wants()
    pool.died(0)
    assert not pool.wants()
    pool.died(1)
    assert pool.wants()


def test_while_all_that_run_are_parked_it_refills_to_spare() -> None:
    pool = waiting(4, 10, range(4))
    pool.accepted(0, 20)
    assert not pool.wants()

    pool.parked = 1
    assert pool.wants()


def test_one_at_a_time_is_lent_to_who_invokes_beside_all_others() -> None:
    pool = Pool(1, 1, reserve=2)
    pool.forked(1)
    pool.accepted(1, 20)
    for pid, connection in ((2, 21), (3, 22)):
        assert pool.lends()
        pool.forked_to_lend(pid)
        assert not pool.lends()  # until that one has accepted
        assert pool.accepted(pid, connection)
    assert not pool.lends()
    assert not pool.wants()

    assert pool.died(2) == 21
    assert pool.lends()


def test_what_is_lent_takes_no_room_from_the_pool() -> None:
    pool = Pool(1, 1, reserve=1)
    pool.forked_to_lend(1)
    assert pool.wants()
    pool.accepted(1, 20)
    assert pool.wants()
    pool.hung_up(20)
    assert pool.wants()
    assert not pool.lends()  # it is not reaped yet
    assert pool.died(1) is None
    assert pool.lends()
    assert pool.alive == 0


def test_one_that_dies_before_its_caller_came_is_lent_anew_and_counts() -> None:
    pool = Pool(1, 2, reserve=1)
    for pid in range(1, 6):
        assert not pool.failing
        pool.forked_to_lend(pid)
        assert pool.died(pid) is None
        assert pool.lends()

    assert pool.failing


def test_each_that_is_alive_is_counted_once_whatever_callers_say() -> None:
    choices = random.Random(7)
    for _ in range(500):
        pool = Pool(3, 8, 4)
        for pid in range(1, choices.randrange(1, 40)):
            what = choices.randrange(6)
            if what < 2 and pool.wants():
                pool.forked(pid)
            elif what == 2 and pool.lends():
                pool.forked_to_lend(pid)
            elif what == 3 and (waiting_ones := [*pool.idle, *([pool.called] if pool.called else [])]):
                pool.accepted(choices.choice(waiting_ones), 1000 + pid)
            elif what == 4 and pool.by_connection:
                pool.hung_up(choices.choice([*pool.by_connection]))
            elif what == 5 and (alive := [*pool.idle, *pool.busy, *pool.doomed]):
                pool.died(choices.choice(alive))
            pool.parked = choices.randrange(6)
        assert sum(pool.counts()) == pool.alive
        assert min(pool.counts()) >= 0
