"""A host's own pace, played again: work is what passes at the pace of each moment, without end."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from builders import normal
from streamtwin.core.replayed import PaceTrace, Replayed

instants = st.floats(0, 200)
work = st.floats(0, 50)
traces = st.builds(
    PaceTrace, st.floats(0.05, 2), st.lists(st.floats(0.2, 5), min_size=1, max_size=30).map(tuple)
)


@given(traces, instants, instants, work)
def test_work_is_what_passes_at_the_pace_of_each_moment(
    trace: PaceTrace, offset_s: float, began_s: float, work_s: float
) -> None:
    took_s = Replayed(trace, offset_s).takes_s(began_s, work_s)
    begins_s = offset_s + began_s
    first = int(begins_s // trace.step_s)
    last = int((begins_s + took_s) // trace.step_s) + 1
    inside = [step * trace.step_s for step in range(first + 1, last)]
    edges = [begins_s, *(e for e in inside if begins_s < e < begins_s + took_s), begins_s + took_s]
    middles = [(start + end) / 2 for start, end in pairwise(edges)]
    factors = [trace.factors[int(at // trace.step_s) % len(trace.factors)] for at in middles]
    done_s = sum((e - s) / f for (s, e), f in zip(pairwise(edges), factors, strict=True))
    assert done_s == pytest.approx(work_s, rel=1e-6, abs=1e-6)


@given(traces, instants, instants, work, work)
def test_what_begins_later_or_is_more_ends_no_earlier(
    trace: PaceTrace, began_s: float, later_s: float, work_s: float, more_s: float
) -> None:
    pace = Replayed(trace, 0.0)
    ended_s = began_s + pace.takes_s(began_s, work_s)
    begins_s = began_s + later_s
    assert begins_s + pace.takes_s(begins_s, work_s) >= ended_s - 1e-9
    assert began_s + pace.takes_s(began_s, work_s + more_s) >= ended_s - 1e-9
    assert pace.takes_s(began_s, 0.0) == pytest.approx(0.0, abs=1e-9)


@given(st.floats(0.05, 2), st.lists(st.floats(0.2, 5), min_size=1, max_size=30), instants)
def test_a_round_of_a_normal_trace_does_what_its_seconds_are(
    step_s: float, factors: list[float], began_s: float
) -> None:
    trace = normal(step_s, factors)
    took_s = Replayed(trace, 0.0).takes_s(began_s, 3 * trace.length_s)
    assert took_s == pytest.approx(3 * trace.length_s, rel=1e-9)
    ratios = np.array(trace.factors) / np.array(factors)
    assert ratios == pytest.approx(ratios[0])


@given(st.floats(0.05, 2), st.integers(1, 30), instants, instants, work)
def test_a_pace_that_never_changes_changes_nothing(
    step_s: float, steps: int, offset_s: float, began_s: float, work_s: float
) -> None:
    pace = Replayed(normal(step_s, [1.3] * steps), offset_s)
    assert pace.takes_s(began_s, work_s) == pytest.approx(work_s, rel=1e-9, abs=1e-9)
