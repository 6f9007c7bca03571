"""How much of what runs differ by is the host's own: found from starts that share it, or do not."""

from statistics import fmean

import numpy as np
import pytest
from calibration_data import all_cases, cost_s, measurement

from streamtwin.calibrate.harness import Measurement
from streamtwin.calibrate.host_state import PRIOR_SHARE, common_share, host_states
from streamtwin.calibrate.observed import observe
from streamtwin.calibrate.variance import PRIOR_DEGREES
from streamtwin.core.latency import HostState
from streamtwin.core.ops import COMPUTED, Hop, family_of

CASES = [case for case in all_cases() if isinstance(case.op, COMPUTED)]


def starts(share: float, seed: int, runs: int = 12, spread: float = 0.05) -> list[Measurement]:
    """*runs* starts of two ranks whose slowness has *share* of its variance in common."""
    draw = np.random.default_rng(seed)
    found = []
    for run in range(runs):
        common = draw.normal()
        own = {
            (family, rank): np.sqrt(share) * common + np.sqrt(1 - share) * draw.normal()
            for family in ("dit", "encode", "decode")
            for rank in (0, 1)
        }
        for case in CASES:
            for rank in (0, 1):
                factor = np.exp(spread * own[family_of(case.op), rank])
                times = cost_s(case) * factor * draw.normal(1, 0.01, 5)
                found.append(measurement(case, list(times), rank, run))
    return found


@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
def test_what_all_families_and_ranks_have_in_common_is_found(share: float) -> None:
    found = [common_share(observe(starts(share, seed))) for seed in range(12)]
    weight = 11 / (11 + PRIOR_DEGREES)
    # negative covariances are cut off, which lifts the mean where nothing is shared
    assert fmean(found) == pytest.approx(weight * share + (1 - weight) * PRIOR_SHARE, abs=0.08)


def test_runs_that_were_not_compared_tell_nothing() -> None:
    assert common_share(observe(starts(1.0, 0, runs=1))) == 0.0
    assert common_share([]) == 0.0
    assert host_states([], 1, "cpu") == (HostState(),)


def test_few_runs_leave_what_is_taken_for_granted() -> None:
    few = [common_share(observe(starts(0.0, seed, runs=2))) for seed in range(6)]
    assert fmean(few) == pytest.approx(PRIOR_SHARE * PRIOR_DEGREES / (PRIOR_DEGREES + 1), abs=0.15)


def test_transfers_have_no_part_in_it() -> None:
    computed = starts(1.0, 0)
    draw = np.random.default_rng(1)
    hops = [
        measurement(case, list(cost_s(case) * draw.normal(1, 0.2) * np.ones(5)), 0, run)
        for case in all_cases(2)
        if isinstance(case.op, Hop)
        for run in range(12)
    ]
    assert common_share(observe(computed + hops)) == common_share(observe(computed))


def test_cards_have_the_state_of_one_that_computed_alone() -> None:
    """Between several cards only transfers are timed: what they compute is known from one."""
    alone = [one for one in starts(1.0, 0) if one.rank == 0]
    hops = [
        measurement(case, [cost_s(case)] * 5, 0, 0)
        for case in all_cases(2)
        if isinstance(case.op, Hop)
    ]
    (state,) = host_states(alone + hops, 2, "cuda")
    assert state == host_states(alone, 1, "cuda")[0]
    assert state.common > 0.9
    assert not state.of_all
    assert host_states(alone, 1, "cpu")[0].of_all
