"""Who joins when: the laws of the arrival processes, common random numbers, and trace files."""

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from streamtwin.core.arrivals import Arrivals
from streamtwin.core.draws import (
    dealt_classes,
    drawn_classes,
    idle_phases,
    joins_s,
    lengths,
)
from streamtwin.core.library import find_scenario
from streamtwin.core.luck import stream
from streamtwin.core.roster import redrawn
from streamtwin.core.scenario import Scenario
from streamtwin.core.scenario_file import check_scenario
from streamtwin.core.source import Phases

RATE = 0.8
LONG = {"process": "poisson", "rate_per_s": RATE, "max_sessions": 1000}


def scenario_of(**workload: object) -> Scenario:
    return check_scenario({"workload": {"chunks": 6, **workload}}, "test")


def test_a_fixed_process_comes_like_clockwork() -> None:
    arrivals = Arrivals(process="fixed", rate_per_s=4, until_s=2)
    assert joins_s(arrivals, 0, 0) == tuple(i / 4 for i in range(9))


@pytest.mark.parametrize("seed", range(3))
def test_a_poisson_process_has_exponential_gaps_without_memory(seed: int) -> None:
    """Mean and standard deviation of the gaps are 1 / rate, and neighbours do not know each other."""
    gaps_s = np.diff(joins_s(Arrivals(**LONG), seed, 0))
    assert gaps_s.mean() == pytest.approx(1 / RATE, rel=0.1)
    assert gaps_s.std() == pytest.approx(1 / RATE, rel=0.15)
    assert abs(np.corrcoef(gaps_s[1:], gaps_s[:-1])[0, 1]) < 0.1


@pytest.mark.parametrize("seed", range(3))
def test_counts_of_a_poisson_process_vary_as_much_as_they_are(seed: int) -> None:
    joined = np.array(joins_s(Arrivals(**LONG), seed, 0))
    counts = np.histogram(joined, bins=np.arange(0.0, joined[-1], 5 / RATE))[0]
    assert counts.mean() == pytest.approx(5, rel=0.1)
    assert counts.var() / counts.mean() == pytest.approx(1, abs=0.35)


@pytest.mark.parametrize("size", [2, 5])
def test_bursts_come_together_at_the_same_mean_rate(size: int) -> None:
    """Variance over mean of a batch Poisson process is the size of its batches."""
    arrivals = Arrivals(process="bursts", rate_per_s=RATE, burst_size=size, max_sessions=1000)
    joined = np.array(joins_s(arrivals, 1, 0))
    assert all(len(set(joined[i : i + size])) == 1 for i in range(0, 1000 - size, size))
    assert len(joined) / joined[-1] == pytest.approx(RATE, rel=0.25)
    apart = Arrivals(**{**arrivals.model_dump(), "burst_gap_s": 0.001})
    gaps = [after - before for before, after in pairwise(joins_s(apart, 1, 0))]
    assert sum(gap == pytest.approx(0.001) for gap in gaps) > (size - 1) / size * 900
    assert min(gaps) >= 0


@given(st.integers(0, 99), st.integers(0, 9), st.floats(0.1, 50), st.floats(0.1, 9))
def test_another_rate_scales_what_is_drawn_and_moves_nothing_else(
    seed: int, run: int, rate: float, factor: float
) -> None:
    """Common random numbers: sessions, lengths and classes stay the same, only times shrink."""
    slow, fast = (
        Arrivals(process="poisson", rate_per_s=each, max_sessions=40, lengths="exponential")
        for each in (rate, rate * factor)
    )
    assert joins_s(slow, seed, run) == pytest.approx(
        [factor * at for at in joins_s(fast, seed, run)]
    )
    assert lengths(slow, 40, seed, run) == lengths(fast, 40, seed, run)
    assert lengths(slow, 20, seed, run) == lengths(slow, 40, seed, run)[:20]
    # a long gap says nothing of how long the session stays
    gaps_s = np.diff((0.0, *joins_s(slow, seed, run)))
    assert not np.allclose(gaps_s * rate, lengths(slow, 40, seed, run))


def test_purposes_sessions_and_replications_have_streams_of_their_own() -> None:
    draws = {
        float(stream(seed, run, purpose, session).random())
        for seed in range(3)
        for run in range(3)
        for purpose in ("joins", "jitter", "losses")
        for session in (None, 0, 1)
    }
    assert len(draws) == 3**4


@given(st.lists(st.floats(0.01, 1), min_size=1, max_size=5), st.integers(1, 200))
def test_dealt_classes_have_their_shares_at_any_time(weights: list[float], count: int) -> None:
    shares = [weight / sum(weights) for weight in weights]
    dealt = dealt_classes(shares, count)
    for upto in range(1, count + 1):
        for one, share in enumerate(shares):
            assert abs(dealt[:upto].count(one) - share * upto) < len(shares)


def test_drawn_classes_have_their_shares_in_the_long_run_and_keep_their_numbers() -> None:
    many = drawn_classes([0.2, 0.3, 0.5], 1000, 3, 0)
    assert [many.count(one) / 1000 for one in range(3)] == pytest.approx([0.2, 0.3, 0.5], abs=0.05)
    assert drawn_classes([0.2, 0.3, 0.5], 100, 3, 0) == many[:100]
    # who was of the first class still is if only the second grows at the cost of the third
    other = drawn_classes([0.2, 0.6, 0.2], 1000, 3, 0)
    assert [one == 0 for one in many] == [one == 0 for one in other]


@given(
    st.floats(0.05, 5),
    st.floats(0.05, 5),
    st.sampled_from(["fixed", "exponential"]),
    st.floats(1, 60),
)
def test_idle_phases_are_apart_and_leave_the_frames_their_time(
    active_s: float, idle_s: float, kind: str, video_s: float
) -> None:
    phases = Phases(active_s=active_s, idle_s=idle_s, lengths=kind)
    idle = idle_phases(phases, video_s, 5, 0, 2)
    edges = [0.0, *(edge for phase in idle for edge in phase)]
    assert all(after > before for before, after in pairwise(edges))
    active = [begin - before for before, begin in zip(edges[::2], edges[1::2], strict=False)]
    assert sum(active) < video_s + 1e-9
    cuts = video_s / active_s
    # where frames end with a phase, a rounding error says whether one more begins
    if kind == "fixed" and abs(cuts - round(cuts)) > 1e-9:
        assert len(idle) == int(cuts)


def test_a_scenario_draws_the_same_sessions_whenever_it_is_read_and_others_in_other_runs() -> None:
    asked = {"arrivals": {**LONG, "max_sessions": 9, "lengths": "exponential"}}
    one, same = scenario_of(**asked), scenario_of(**asked)
    assert one == same
    assert one.workload.sessions == len(one.workload.visits) == 9
    # records hold the resolved scenario: read again, it is not drawn again
    assert check_scenario(one.model_dump(mode="json"), "records") == one
    other = redrawn(one, 3)
    assert other.workload.drawn == 3
    assert all(
        a.join_s != b.join_s
        for a, b in zip(one.workload.visits, other.workload.visits, strict=True)
    )
    assert redrawn(other, 0) == one


def test_an_override_of_a_resolved_scenario_draws_its_sessions_anew(tmp_path: Path) -> None:
    """`scenario.yaml` of a result holds the draws; asked for another rate it must not keep them."""
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump(scenario_of(arrivals=LONG).model_dump(mode="json")))
    faster = find_scenario(str(path), (f"workload.arrivals.rate_per_s={2 * RATE}",))
    same = find_scenario(str(path), ("slo.fps=9",))
    joined = [visit.join_s for visit in scenario_of(arrivals=LONG).workload.visits]
    assert [visit.join_s for visit in same.workload.visits] == joined
    assert [2 * visit.join_s for visit in faster.workload.visits] == pytest.approx(joined)


def test_nothing_is_drawn_where_nothing_is_asked_for() -> None:
    plain = scenario_of(sessions=3, visits=[{"join_s": 1}])
    assert redrawn(plain, 5) is plain
    assert plain.workload.drawn is None


def test_lengths_and_rates_of_a_class_give_its_chunks() -> None:
    classes = {
        "slow": {"source_fps": 8, "duration_s": 10, "prompt": "rain"},
        "fast": {"source_fps": 32},
        "counted": {"source_fps": 8, "chunks": 7},
    }
    scenario = scenario_of(sessions=6, source_fps=16, classes=classes)
    visits = scenario.workload.visits
    assert [visit.session_class for visit in visits] == ["slow", "fast", "counted"] * 2
    assert [visit.chunks for visit in visits] == [20, 6, 7] * 2
    assert [scenario.prompt_of(one, 3) for one in range(3)] == ["rain", "", ""]


TRACE = "session,join_s,duration_s,class\n7,0.5,2,call\n3,0.5,1.1,film\n\n9,4,3,call\n"
CLASSES = "classes: {call: {}, film: {source_fps: 8}}"


def written(folder: Path, trace: str, workload: str) -> str:
    (folder / "trace.csv").write_text(trace)
    path = folder / "mine.yaml"
    path.write_text(f"workload:\n  {{source_fps: 16, chunks: 5,\n   {workload}}}\n")
    return str(path)


def test_a_trace_is_read_beside_the_scenario_and_kept_in_it(tmp_path: Path) -> None:
    path = written(tmp_path, TRACE, f"arrivals: {{process: trace, file: trace.csv}}, {CLASSES}")
    scenario = find_scenario(path)
    found = [(v.join_s, v.chunks, v.session_class, v.noise_key) for v in scenario.workload.visits]
    assert found == [(0.5, 8, "call", 7), (0.5, 2, "film", 3), (4.0, 12, "call", 9)]
    (tmp_path / "trace.csv").unlink()
    assert check_scenario(scenario.model_dump(mode="json"), "records") == scenario


def test_a_trace_says_how_long_sessions_are(tmp_path: Path) -> None:
    (tmp_path / "trace.csv").write_text("join_s,session,duration_s\n0,0,2\n")
    path = tmp_path / "mine.yaml"
    path.write_text("workload: {source_fps: 16, arrivals: {process: trace, file: trace.csv}}")
    assert find_scenario(str(path)).chunks == 8
