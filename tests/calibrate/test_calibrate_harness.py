"""The harness on a replayed clock: nothing is measured here."""

from collections import Counter, defaultdict
from itertools import chain, count

import pytest

from streamtwin.calibrate.cases import Case
from streamtwin.calibrate.harness import (
    ENOUGH_TIMES,
    MIN_TIMES,
    UNSTABLE,
    WARMUPS,
    Measurement,
    measure,
)
from streamtwin.calibrate.observed import observe
from streamtwin.core.ops import DitPass, Hop

STEADY, NOISY, LONG = (Case(Hop(size), 2, "") for size in (1, 2, 3))
LEAST = WARMUPS + MIN_TIMES


class Replay:
    """A runner and its clock; each case takes the times that it is given, over and over."""

    def __init__(self, script, held=None):
        self.script, self.held = script, held or {}
        self.turns = defaultdict(count)
        self.now_s, self.core_s = 100.0, 0.0
        self.order = []

    def clock(self):
        return self.now_s

    def core_clock(self):
        return self.core_s

    def time_s(self, case, clock):
        assert clock == self.clock
        turn = next(self.turns[case])
        seconds = self.script[case][turn % len(self.script[case])]
        shares = self.held.get(case, [1.0])
        self.order.append(case)
        self.now_s += seconds
        self.core_s += seconds * shares[turn % len(shares)]
        return seconds


@pytest.fixture
def replay():
    return Replay({STEADY: [1.0], NOISY: [1.0, 3.0], LONG: [5.0, 5.01]})


def run(replay, budget_s, **options):
    return measure(list(replay.script), replay, replay.clock, budget_s, **options)


def test_a_steady_case_stops_early_and_a_noisy_one_goes_on(replay):
    steady, noisy, _ = run(replay, 100.0)
    assert len(steady.times) == WARMUPS + ENOUGH_TIMES
    assert len(noisy.times) > 3 * len(steady.times)


def test_nothing_is_measured_once_all_are_settled():
    replay = Replay({STEADY: [1.0], LONG: [5.0]})
    run(replay, 1e9)
    assert replay.now_s - 100.0 == (WARMUPS + ENOUGH_TIMES) * 6.0


def test_the_budget_ends_it(replay):
    run(replay, 60.0)
    assert 60.0 <= replay.now_s - 100.0 <= 60.0 + 5.01


def test_every_case_gets_its_least_times_whatever_the_budget(replay):
    assert {len(one.times) for one in run(replay, 0.0)} == {LEAST}


def test_rounds_are_interleaved(replay):
    run(replay, 0.0)
    rounds = [replay.order[i : i + 3] for i in range(0, len(replay.order), 3)]
    assert all(set(each) == {STEADY, NOISY, LONG} for each in rounds)


def test_rounds_are_shuffled_by_the_seed_alone():
    def order(seed):
        replay = Replay({Case(Hop(size), 2): [1.0, 3.0] for size in range(8)})
        run(replay, 200.0, seed=seed)
        return replay.order

    assert order(1) == order(1)
    assert order(1) != order(2)
    assert len({tuple(order(1)[i : i + 8]) for i in range(0, 32, 8)}) > 1


def test_all_raw_times_are_kept_in_order(replay):
    _, noisy, _ = run(replay, 30.0, rank=3)
    assert noisy.rank == 3
    assert noisy.case == NOISY
    assert noisy.times == tuple([1.0, 3.0] * 10)[: len(noisy.times)]
    assert Counter(replay.order)[NOISY] == len(noisy.times)


def test_an_unstable_case_is_marked_and_kept(replay):
    steady, noisy, _ = run(replay, 60.0)
    assert steady.stable
    assert noisy.rel_iqr > UNSTABLE
    assert not noisy.stable


def test_the_warm_up_never_counts():
    one = Measurement(STEADY, 0, (9.0, 1.0, 2.0, 3.0), (1.0,) * 4)
    assert one.steady == one.clean == (1.0, 2.0, 3.0)
    assert observe([one])[0].typical_s == pytest.approx(2.0)


def test_times_without_the_core_are_told_apart():
    replay = Replay({STEADY: [1.0, 1.0, 2.0]}, {STEADY: [1.0, 1.0, 0.5]})
    (one,) = run(replay, 1e9, core_clock=replay.core_clock)
    assert one.core_shares[:3] == (1.0, 1.0, 0.5)
    assert set(one.clean) == {1.0}
    assert len(one.clean) == ENOUGH_TIMES
    assert 2.0 in one.steady


def test_on_a_host_that_is_always_busy_the_held_part_of_each_time_counts():
    times, shares = (9.0, 4.0, 2.0, 1.0, 1.0), (0.1, 0.25, 0.5, 1.0, 1.0)
    assert Measurement(STEADY, 0, times, shares).clean == (1.0, 1.0, 1.0, 1.0)


def test_ranks_are_pooled_before_disturbed_times_are_left_out():
    quiet = Measurement(STEADY, 0, (9.0, 1.0, 1.0, 1.0, 1.0), (1.0,) * 5)
    busy = Measurement(STEADY, 1, (9.0, 2.0, 2.5, 3.0), (0.5,) * 4)
    (both,) = observe([quiet, busy])
    assert both.clean == quiet.steady
    assert both.ratios == (1.0,) * 4


KERNEL = Case(DitPass("tiny", 1, 1, 1, 96, 576.0, True, True), 1)


def observed(case, *times):
    (one,) = observe([Measurement(case, 0, (9.0, *times), (1.0,) * (1 + len(times)))])
    return one


def test_the_expected_time_is_the_mean_and_not_the_median():
    assert observed(KERNEL, 1.0, 1.0, 1.0, 2.0, 2.0).typical_s == pytest.approx(1.4)


def test_one_time_far_out_counts_as_one_at_the_fence():
    times = [1.0, 1.1, 1.2, 1.3, 1.4, 1.5, 1.6, 1.7]
    near, far, farther = (observed(KERNEL, *times, late).typical_s for late in (2.5, 9.0, 90.0))
    assert near < far == farther < 1.1 * near


def test_a_hop_out_of_two_heaps_is_their_plain_mean():
    heaps = [1.0] * 9 + [11.0]
    assert observed(STEADY, *heaps).typical_s == pytest.approx(2.0)
    assert observed(KERNEL, *heaps).typical_s == pytest.approx(1.0)


def test_progress_rises_to_one(replay):
    heard = []
    run(replay, 60.0, progress=heard.append)
    assert heard == sorted(heard)
    assert heard[-1] == 1.0
    assert all(0 <= share <= 1 for share in chain(heard))
