"""Every policy of every family, present and future, keeps its family's contract."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamtwin.core.policies.admission import ADMISSION, QueueView
from streamtwin.core.policies.batching import BATCHING
from streamtwin.core.policies.dispatch import DISPATCH, WaitingChunk, earliest_deadline, fifo
from streamtwin.core.policies.noise import NOISE
from streamtwin.core.policies.partition import PARTITION, StageCosts, optimal
from streamtwin.core.policies.rope import ROPE, PositionView
from streamtwin.core.policies.session_admission import SESSION_ADMISSION
from streamtwin.core.policies.sink import SINK, SinkView

FAMILIES = {
    "admission": ADMISSION,
    "batching": BATCHING,
    "dispatch": DISPATCH,
    "noise": NOISE,
    "partition": PARTITION,
    "rope": ROPE,
    "session_admission": SESSION_ADMISSION,
    "sink": SINK,
}


@pytest.mark.parametrize(
    ("family", "name"), [(f, name) for f, members in FAMILIES.items() for name in members]
)
def test_every_policy_says_what_it_does(family: str, name: str) -> None:
    assert FAMILIES[family][name].__doc__


@pytest.mark.parametrize("name", ADMISSION)
@given(st.integers(1, 9), st.integers(0, 20))
def test_admission(name: str, bound: int, waiting: int) -> None:
    choice = ADMISSION[name](QueueView(min(waiting, bound), bound))
    assert choice in {"accept", "drop_new", "drop_oldest", "drop_waiting"}
    if min(waiting, bound) < bound:
        assert choice == "accept"


@pytest.mark.parametrize("name", DISPATCH)
@given(st.lists(st.tuples(st.floats(0, 9), st.floats(0, 9)), min_size=1, max_size=6))
def test_dispatch(name: str, times: list[tuple[float, float]]) -> None:
    waiting = [WaitingChunk(0, i, *pair) for i, pair in enumerate(times)]
    before = list(waiting)
    assert DISPATCH[name](waiting) in range(len(waiting))
    assert waiting == before


def test_dispatch_orders() -> None:
    waiting = [WaitingChunk(0, 0, 1.0, 9.0), WaitingChunk(0, 1, 0.5, 8.0), WaitingChunk(0, 2, 2, 8)]
    assert fifo(waiting) == 1
    assert earliest_deadline(waiting) == 1


costs = st.builds(
    StageCosts,
    st.lists(st.floats(0.001, 1), min_size=4, max_size=9).map(tuple),
    st.lists(st.floats(0, 2), min_size=1, max_size=4).map(tuple),
)


def largest(parts: tuple[range, ...], given_costs: StageCosts) -> float:
    return max(
        fixed + sum(given_costs.block_s[i] for i in part)
        for part, fixed in zip(parts, given_costs.fixed_s, strict=True)
    )


@pytest.mark.parametrize("name", PARTITION)
@given(costs)
def test_partitions_cover_the_model_in_order(name: str, given_costs: StageCosts) -> None:
    parts = PARTITION[name](given_costs)
    assert len(parts) == len(given_costs.fixed_s)
    assert [i for part in parts for i in part] == list(range(len(given_costs.block_s)))
    assert all(len(part) >= 1 for part in parts)


@given(costs)
def test_optimal_is_optimal(given_costs: StageCosts) -> None:
    blocks, ranks = len(given_costs.block_s), len(given_costs.fixed_s)
    best = min(
        largest(tuple(range(a, b) for a, b in itertools.pairwise((0, *cuts, blocks))), given_costs)
        for cuts in itertools.combinations(range(1, blocks), ranks - 1)
    )
    assert largest(optimal(given_costs), given_costs) == pytest.approx(best)


@pytest.mark.parametrize("name", ROPE)
@given(st.integers(0, 100_000), st.integers(1, 5), st.integers(0, 90))
def test_rope_positions_are_frames_or_earlier(
    name: str, frame: int, latents: int, more: int
) -> None:
    position = ROPE[name](PositionView(frame, 6, latents, 6 + more))
    assert 0 <= position <= frame
    # positions that are ever taken back stay below the threshold
    assert position == frame or position < 6 + more


cosines = st.lists(st.floats(-1, 1), max_size=5).map(tuple)


@pytest.mark.parametrize("name", SINK)
@given(st.integers(0, 100_000), st.floats(-1, 1), cosines, cosines)
def test_a_sink_refresh_names_a_sink_below_the_threshold(
    name: str, frame: int, threshold: float, frames: tuple[float, ...], prompts: tuple[float, ...]
) -> None:
    chosen = SINK[name](SinkView(frame, 5, threshold, frames, prompts))
    if chosen is not None:
        seen = {"kv_similarity": frames, "prompt": prompts}[name]
        assert seen[chosen] == min(seen) < threshold
