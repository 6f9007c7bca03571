"""Work on a card or a link that is slow for a while."""

from itertools import pairwise
from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamtwin.core.pace import Pace, Slow

instants = st.floats(0, 100)
slows = st.lists(
    st.builds(
        lambda start, length, factor: Slow(start, start + length, factor),
        instants,
        st.floats(0.01, 50),
        st.floats(1, 20),
    ),
    max_size=4,
)


@given(slows, instants, st.floats(0, 50))
def test_work_is_what_passes_at_the_pace_of_each_moment(
    slow: list, began_s: float, work_s: float
) -> None:
    took_s = Pace(slow).takes_s(began_s, work_s)
    edges = sorted(
        {e for one in slow for e in (one.from_s, one.until_s)} | {began_s, began_s + took_s}
    )
    done_s = 0.0
    for start, end in pairwise(edges):
        if began_s <= start and end <= began_s + took_s:
            factor = 1.0
            for one in slow:
                factor *= one.factor if one.from_s <= start < one.until_s else 1.0
            done_s += (end - start) / factor
    assert done_s == pytest.approx(work_s, abs=1e-9)


@given(slows, instants, st.floats(0, 50))
def test_slower_is_never_earlier_and_outside_nothing_changes(
    slow: list, began_s: float, work_s: float
) -> None:
    took_s = Pace(slow).takes_s(began_s, work_s)
    assert took_s >= work_s * (1 - 1e-12)
    more = Pace([*slow, Slow(0.0, inf, 2.0)]).takes_s(began_s, work_s)
    assert more >= took_s
    assert Pace([]).takes_s(began_s, work_s) == work_s
    last_s = max((one.until_s for one in slow), default=0.0)
    assert Pace(slow).takes_s(last_s + 1, work_s) == work_s


@given(slows, instants, st.floats(0, 20), st.floats(0, 20))
def test_work_that_begins_later_ends_later(
    slow: list, began_s: float, later_s: float, work_s: float
) -> None:
    pace = Pace(slow)
    first = began_s + pace.takes_s(began_s, work_s)
    assert began_s + later_s + pace.takes_s(began_s + later_s, work_s) >= first - 1e-9


def test_half_of_it_in_a_slow_time() -> None:
    pace = Pace([Slow(10.0, 20.0, 2.0), Slow(12.0, inf, 3.0)])
    assert pace.takes_s(9.0, 2.0) == pytest.approx(1.0 + 2.0)
    # 1 s before, 2 s for one second of work, then six times as slow until 20 s, three times from there on
    assert pace.takes_s(9.0, 2.0 + 8.0 / 6 + 1.0) == pytest.approx(1.0 + 2.0 + 8.0 + 3.0)


@given(slows, slows, instants, st.floats(0, 20))
def test_together_they_are_as_slow_as_the_slowest(
    one: list, other: list, began_s: float, work_s: float
) -> None:
    together = Pace(one, other).takes_s(began_s, work_s)
    for alone in (Pace(one), Pace(other)):
        assert together >= alone.takes_s(began_s, work_s) * (1 - 1e-12)
    assert together <= Pace([*one, *other]).takes_s(began_s, work_s) * (1 + 1e-12)
