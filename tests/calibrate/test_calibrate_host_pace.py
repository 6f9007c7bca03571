"""How a host's pace changed while it was measured: found where it did, and nowhere else."""

import csv
import random
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from calibration_data import ENVIRONMENT, all_cases, cost_s
from test_calibrate_harness import Replay

from streamtwin.calibrate.beside import BESIDE
from streamtwin.calibrate.cases import Case
from streamtwin.calibrate.harness import Measurement, measure
from streamtwin.calibrate.observed import inflation, observe, pace_while
from streamtwin.calibrate.profile import make_profile, read_profile, write_profile
from streamtwin.core.errors import CalibrationError
from streamtwin.core.ops import COMPUTED
from streamtwin.core.replayed import PaceTrace

CASES = [case for case in all_cases() if isinstance(case.op, COMPUTED)]
EPISODES = [1.0] * 7 + [1.5] * 3
"""How slow the host is, so many steps of two seconds each, over and over."""
STEP_S = 2.0


def measured(
    paces: list[float], scatter: float, seed: int = 0, rounds: int = 40, began_s: float = 100.0
) -> list[Measurement]:
    """All cases in shuffled rounds on two ranks at once, whose host goes at *paces*."""
    found = []
    for rank in (0, 1):
        draw, now_s = random.Random(10 * seed + rank), began_s
        taken: dict[Case, list[tuple[float, float]]] = {case: [] for case in CASES}
        for _ in range(rounds):
            for case in draw.sample(CASES, len(CASES)):
                pace = paces[int((now_s - began_s) / STEP_S) % len(paces)]
                seconds = cost_s(case) * pace * (1 + draw.gauss(0, scatter))
                taken[case].append((now_s, seconds))
                now_s += seconds
        for case, both in taken.items():
            began, times = zip(*both, strict=True)
            shares = (1.0,) * len(times)
            two = replace(case, ranks=2)
            found.append(Measurement(two, rank, times, shares, 1, began_s=began))
    return found


def trace_of(measurements: list[Measurement]) -> PaceTrace | None:
    pace = pace_while(measurements, 2)
    return None if pace is None else pace.traces[0]


@pytest.mark.parametrize("scatter", [0.02, 0.2])
def test_times_that_scatter_by_themselves_show_no_pace(scatter: float) -> None:
    paced = [trace_of(measured([1.0], scatter, seed)) is not None for seed in range(20)]
    assert sum(paced) <= 3  # by chance one of forty exceeds two standard errors


def test_slow_moments_are_found_as_long_and_as_slow_as_they_were() -> None:
    trace = trace_of(measured(EPISODES, 0.05))
    assert trace is not None
    factors = np.array(trace.factors)
    slow = factors > factors.mean()
    assert slow.mean() == pytest.approx(0.3, abs=0.05)
    ratio = np.median(factors[slow]) / np.median(factors[~slow])
    # what neighbours share is a little less than all
    assert 1.3 < ratio <= 1.55
    runs = np.count_nonzero(np.diff(slow.astype(int))) / 2
    assert slow.sum() * trace.step_s / runs == pytest.approx(3 * STEP_S, rel=0.3)


def test_what_the_pace_explains_is_no_scatter_and_nothing_is_lost() -> None:
    measurements = measured(EPISODES, 0.05)
    pace = pace_while(measurements, 2)
    assert pace is not None
    plain = observe([replace(one, began_s=()) for one in measurements])
    rest = observe(measurements)
    both = [x for one in plain for x in one.ratios]
    own = [x for one in rest for x in one.ratios]
    assert np.std(own) < 0.5 * np.std(both)
    for before, after in zip(plain, rest, strict=True):
        again = [ratio * slow for ratio, slow in zip(after.ratios, after.paces, strict=True)]
        assert again == pytest.approx(before.ratios)
        assert after.typical_s == before.typical_s


def test_few_times_in_many_starts_show_as_much_as_many_in_one() -> None:
    """What times are compared with is their own mean: of three it lies nearer to them."""
    long = [1.0] * 2 + [1.4] * 2
    few = [
        replace(one, run=run)
        for run in range(14)
        for one in measured(long, 0.05, seed=run, rounds=4, began_s=100.0 + 97.0 * run)
    ]
    spreads = [np.log(trace.factors).std() for m in (few, measured(long, 0.05, rounds=42))
               if (trace := trace_of(m)) is not None]  # fmt: skip
    assert len(spreads) == 2
    assert spreads[0] == pytest.approx(spreads[1], rel=0.1)


def test_what_others_took_lengthens_the_mean_and_leaves_typical_times() -> None:
    """Fits rest on undisturbed times, so these have mean 1, and disturbed moments come on top."""
    taken = []
    for one in measured([1.0] * 7 + [1.8] * 3, 0.02):
        slow = [int((b - 100.0) / STEP_S) % 10 >= 7 for b in one.began_s]
        shares = tuple(0.55 if own else 1.0 for own in slow)
        taken.append(replace(one, core_shares=shares))
    trace = trace_of(taken)
    assert trace is not None
    factors = np.array(trace.factors)
    assert np.median(factors) == pytest.approx(1.0, abs=0.03)
    assert len(factors) / np.sum(1 / factors) > 1.05


def test_what_is_timed_beside_has_no_part_in_it() -> None:
    one = measured(EPISODES, 0.05)
    beside = [
        replace(
            m, case=replace(m.case, tag=next(iter(BESIDE))), times=tuple(9 * t for t in m.times)
        )
        for m in one
    ]
    assert trace_of(one + beside) == trace_of(one)


def test_ranks_are_slow_at_the_same_steps() -> None:
    pace = pace_while(measured(EPISODES, 0.05), 2)
    assert pace is not None
    first, second = (np.array(pace.traces[rank].factors) for rank in (0, 1))
    assert len(first) == len(second)
    assert np.corrcoef(first, second)[0, 1] > 0.7


def test_a_round_of_starts_on_another_day_costs_no_memory() -> None:
    near = measured(EPISODES, 0.05)
    far = [replace(one, run=1) for one in measured(EPISODES, 0.05, began_s=9e8)]
    pace = pace_while(near + far, 2)
    assert pace is not None
    assert len(pace.traces[0].factors) < 5000


def test_two_rounds_of_starts_are_two_stretches_whatever_their_clocks_say() -> None:
    once = measured(EPISODES, 0.05)
    twice = once + [replace(one, run=1) for one in measured(EPISODES[::-1], 0.05, seed=1)]
    first, both = trace_of(once), trace_of(twice)
    assert first is not None
    assert both is not None
    assert len(both.factors) == pytest.approx(2 * len(first.factors), rel=0.1)


def test_few_times_and_times_without_an_instant_tell_nothing() -> None:
    assert trace_of(measured(EPISODES, 0.05, rounds=2)) is None
    known = measured(EPISODES, 0.05)
    assert trace_of([replace(one, began_s=()) for one in known]) is None
    # nor do those of one rank tell what another's pace was
    assert trace_of([replace(m, began_s=()) if m.rank else m for m in known]) is None
    assert pace_while([], 1) is None


def test_the_mean_of_noise_is_one_beside_a_pace() -> None:
    profile = make_profile("paced", ENVIRONMENT, [], measured(EPISODES, 0.05))
    latency = profile.latency_model(2)
    assert latency.host(0).trace is not None
    assert latency.host(1).trace != latency.host(0).trace
    assert latency.host(2).trace == latency.host(0).trace  # more ranks than were measured share
    for case in CASES:
        assert np.mean(latency.noise(case.op)) == pytest.approx(1.0, rel=1e-12)
    assert inflation(1) == 1.0


def test_the_harness_notes_when_each_time_began() -> None:
    replay = Replay({CASES[0]: [1.0, 2.0], CASES[1]: [5.0]})
    first, second = measure(list(replay.script), replay, replay.clock, 60.0)
    both = sorted(
        (began_s, began_s + seconds)
        for one in (first, second)
        for began_s, seconds in zip(one.began_s, one.times, strict=True)
    )
    assert both[0][0] == 100.0
    assert all(before[1] <= after[0] for before, after in pairwise(both))
    assert both[-1][1] == replay.clock()


@pytest.fixture
def folder(tmp_path):
    path = tmp_path / "paced"
    write_profile(make_profile("paced", ENVIRONMENT, [], measured(EPISODES, 0.05)), path)
    return path


def rows_of(folder) -> list[list[str]]:
    return list(csv.reader((folder / "samples.csv").read_text().splitlines()))


def keep(folder, rows: list[list[str]]) -> None:
    with (folder / "samples.csv").open("w", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows(rows)


def test_a_file_keeps_the_instants(folder) -> None:
    again = read_profile(folder)
    assert again.measurements == tuple(measured(EPISODES, 0.05))
    assert again.latency_model(2).host(0).trace == trace_of(measured(EPISODES, 0.05))


@pytest.mark.parametrize(
    ("line", "value", "complaint"),
    [
        (5, "", "all times of a case tell when they began, or none"),
        (5, "-1", "not a finite number of at least 0"),
        (5, "nan", "not a finite number"),
        (5, "1.0", "when the time before ended"),
        (5, "1e10", "give 0 to 1000000000"),
    ],
)
def test_a_damaged_instant_is_named(folder, line: int, value: str, complaint: str) -> None:
    rows = rows_of(folder)
    rows[line - 1][rows[0].index("began_s")] = value
    keep(folder, rows)
    with pytest.raises(CalibrationError, match=f"line {line}: began_s.*{complaint}"):
        read_profile(folder)
