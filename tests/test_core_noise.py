"""The noise controllers: legal rates whatever the motion, and less noise where it moves."""

from dataclasses import asdict
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from builders import FlatLatency, make_plan
from streamtwin.core.conditioning import Conditioning
from streamtwin.core.library import clip_path
from streamtwin.core.motion import Motion, chunk_motion
from streamtwin.core.noise_controller import NoiseController
from streamtwin.core.noise_state import NoiseState
from streamtwin.core.policies.noise import (
    NOISE,
    MotionView,
    entry_timestep,
    motion_aware,
    motion_window,
)
from streamtwin.runtime.run import motion_trace, run_pipeline
from streamtwin.runtime.video import Clip, read_frames
from streamtwin.sim.simulate import simulate

REFERENCE = NoiseController()
amounts = st.floats(0, 2)
"""Root mean square difference of two frames in [-1, 1]."""
motions = st.lists(amounts, min_size=1, max_size=9).map(tuple)


@st.composite
def conditionings(draw: st.DrawFn) -> Conditioning:
    """Every legal set of parameters of every noise policy."""
    base = draw(st.floats(0.2, 1))
    controller = NoiseController(
        k=draw(st.integers(1, 20)),
        sigma=draw(st.floats(1e-300, 1e300)),
        s_min=draw(st.floats(0.1, base)),
        s_max=draw(st.floats(base, 1)),
        lam=draw(st.floats(1e-9, 1)),
    )
    name = draw(st.sampled_from(list(NOISE)))
    return Conditioning(noise=name, noise_rate=base, noise_controller=controller)


def view(motion: float, rate: float = 0.8, **changes: float) -> MotionView:
    given_ = REFERENCE.model_dump(exclude={"k"}) | changes
    return MotionView(motion, rate, base=0.8, window_motion=motion, **given_)


def rates_of(conditioning: Conditioning, stream: list[Motion]) -> list[float]:
    state = NoiseState(conditioning)
    return [state.next_rate(motion, first=not i)[1] for i, motion in enumerate(stream)]


@given(conditionings(), st.lists(motions, min_size=1, max_size=12))
def test_every_chunk_gets_a_legal_rate_and_timestep(
    conditioning: Conditioning, stream: list[Motion]
) -> None:
    for rate in rates_of(conditioning, stream):
        assert 0 <= rate <= 1
        assert 0 <= entry_timestep(rate) <= 1000
        if conditioning.noise == "motion_window":
            given_ = conditioning.noise_controller
            assert given_.s_min <= rate <= given_.s_max


@pytest.mark.parametrize("rate", [0.2, 0.3, 0.55, 0.6, 0.7, 0.8, 0.9])
@pytest.mark.parametrize("lam", [0.3, 0.7, 0.9])
def test_rounding_leaves_no_range(rate: float, lam: float) -> None:
    """In a range of one rate, the weighted sum of twice that rate is often its neighbour."""
    seen = view(0.1, rate=rate, s_min=rate, s_max=rate, lam=lam)
    assert motion_window(seen) == rate


@given(conditionings(), st.lists(st.tuples(motions, amounts), min_size=1, max_size=8))
def test_more_motion_never_means_more_noise(
    conditioning: Conditioning, stream: list[tuple[Motion, float]]
) -> None:
    less = rates_of(conditioning, [motion for motion, _ in stream])
    more = rates_of(conditioning, [tuple(m + by for m in motion) for motion, by in stream])
    assert all(b <= a for a, b in zip(less, more, strict=True))


@given(amounts, st.floats(0.7, 0.8))
def test_the_reference_formula_is_a_special_case(motion: float, rate: float) -> None:
    """s <- 0.9 (0.8 - 0.1 min(d / 0.2, 1)) + 0.1 s."""
    seen = view(motion, rate)
    expected = 0.9 * (0.8 - 0.1 * min(motion / 0.2, 1)) + 0.1 * rate
    assert motion_window(seen) == pytest.approx(expected, abs=1e-12)
    assert motion_aware(seen) == pytest.approx(expected, abs=1e-12)


@given(st.lists(st.tuples(*[amounts] * 4), min_size=1, max_size=9))
def test_with_a_window_of_one_chunk_both_policies_agree(stream: list[Motion]) -> None:
    aware, window = (
        rates_of(Conditioning(noise=name), stream) for name in ("motion_aware", "motion_window")
    )
    assert aware == pytest.approx(window, abs=1e-12)


def test_each_parameter_does_what_it_says() -> None:
    assert motion_window(view(0.0)) == pytest.approx(0.8)
    assert motion_window(view(9.0, rate=0.7)) == pytest.approx(0.7)
    assert motion_window(view(0.1, lam=1)) == pytest.approx(0.75)
    assert motion_window(view(0.1, lam=1, sigma=0.4)) == pytest.approx(0.775)
    assert motion_window(view(0.1, lam=1, s_min=0.2)) == pytest.approx(0.5)
    assert motion_window(view(0.1, lam=1, s_max=0.9)) == pytest.approx(0.8)
    assert motion_window(view(0.1, lam=0.25)) == pytest.approx(0.25 * 0.75 + 0.75 * 0.8)


@pytest.mark.parametrize("k", [1, 2, 4, 6, 11, 100])
@given(stream=st.lists(motions, min_size=1, max_size=9))
def test_the_window_spans_chunks(k: int, stream: list[Motion]) -> None:
    state = NoiseState(Conditioning(noise_controller=NoiseController(k=k)))
    frames: list[float] = []
    for motion in stream:
        frames += motion
        seen, _ = state.next_rate(motion, first=False)
        assert (seen.motion, seen.window_motion) == (max(motion), max(frames[-k:]))


def test_a_burst_is_remembered_for_k_frames() -> None:
    """One fast chunk of four frames among still ones keeps noise low while it is in the window."""
    stream = [(0.0,) * 4, (0.5,) * 4, *[(0.0,) * 4] * 4]
    lam = {"lam": 1.0}
    short, long = (
        rates_of(
            Conditioning.model_validate(
                {"noise": "motion_window", "noise_controller": {"k": k, **lam}}
            ),
            stream,
        )
        for k in (4, 12)
    )
    assert short == pytest.approx([0.8, 0.7, 0.8, 0.8, 0.8, 0.8])
    assert long == pytest.approx([0.8, 0.7, 0.7, 0.7, 0.8, 0.8])


@given(st.lists(motions, min_size=2, max_size=6), st.lists(motions, min_size=2, max_size=6))
def test_sessions_remember_nothing_of_each_other(a: list[Motion], b: list[Motion]) -> None:
    controller = NoiseController(k=12, sigma=2)
    conditioning = Conditioning(noise="motion_window", noise_controller=controller)
    alone = rates_of(conditioning, a)
    one, other, beside = NoiseState(conditioning), NoiseState(conditioning), []
    for i, motion in enumerate(a):
        other.next_rate(b[i % len(b)], first=not i)
        beside.append(one.next_rate(motion, first=not i)[1])
    assert beside == alone


def test_motion_is_measured_frame_by_frame() -> None:
    frames = np.random.default_rng(0).integers(0, 256, (5, 6, 8, 3), dtype=np.uint8)
    pixels = frames / 127.5 - 1
    steps = [float(np.sqrt(((b - a) ** 2).mean())) for a, b in pairwise(pixels)]
    assert chunk_motion(frames) == pytest.approx((0.0, *steps), rel=1e-5)
    assert chunk_motion(frames[:1]) == (0.0,)


# On the shipped clip, whose sections of ten chunks are slow, fast, slow, fast.


@pytest.fixture(scope="module")
def clip() -> Clip:
    return read_frames(clip_path(), 128, 192)


def decided(clip: Clip, noise: str, **controller: Any) -> list[float]:
    """Noise rates of a simulated run over the whole clip; its decisions follow from their views."""
    plan = make_plan(chunks=40, conditioning={"noise": noise, "noise_controller": controller})
    records = simulate(plan, FlatLatency(), motion_trace(clip, plan))
    made = sorted((d for d in records.decisions if d.family == "noise"), key=lambda d: d.chunk)
    for decision in made[1:]:
        assert NOISE[noise](MotionView(**decision.saw)) == decision.chose
    assert [d.chunk for d in made] == list(range(40))
    return [float(d.chose) for d in made]


@pytest.mark.parametrize(
    ("noise", "controller", "lag"),
    [
        ("motion_aware", {}, 1),
        ("motion_window", {}, 1),
        ("motion_window", {"k": 8}, 2),
        ("motion_window", {"s_min": 0.5, "lam": 0.5}, 4),
    ],
)
def test_slow_and_fast_parts_get_different_noise(
    clip: Clip, noise: str, controller: dict[str, Any], lag: int
) -> None:
    """The parts lie apart by over 0.7 of the range; *lag* chunks after a change are left out."""
    sections = np.array(decided(clip, noise, **controller)).reshape(4, 10)[:, lag:]
    slow, fast = sections[[0, 2]], sections[[1, 3]]
    scope = 0.8 - controller.get("s_min", 0.7)
    assert slow.min() - fast.max() > 0.7 * scope
    assert abs(entry_timestep(slow.min()) - entry_timestep(fast.max())) >= 700 * scope


def test_without_a_controller_noise_stays(clip: Clip) -> None:
    assert set(decided(clip, "fixed")) == {0.8}


@pytest.mark.parametrize("noise", NOISE)
def test_a_simulation_without_a_clip_shows_a_still_picture(noise: str) -> None:
    plan = make_plan(chunks=9, conditioning={"noise": noise})
    made = [d for d in simulate(plan, FlatLatency()).decisions if d.family == "noise"]
    assert [d.chose for d in made] == pytest.approx([0.8] * 9)


def test_the_real_pipeline_decides_as_the_simulated_one(tmp_path: Any) -> None:
    clip = read_frames(clip_path(), 32, 48)
    given_ = {"noise": "motion_window", "noise_controller": {"k": 9, "sigma": 0.05, "lam": 0.5}}
    plan = make_plan(resolution=[32, 48], chunks=14, conditioning=given_)
    real = run_pipeline(plan, clip, tmp_path / "out.mp4").records
    virtual = simulate(plan, FlatLatency(), motion_trace(clip, plan))
    saw, would_see = (
        [(d.chunk, dict(d.saw), d.chose) for d in records.decisions if d.family == "noise"]
        for records in (real, virtual)
    )
    assert saw == would_see
    assert any(seen["window_motion"] > seen["motion"] for _, seen, _ in saw)
    named = set(asdict(view(0.0)))
    assert [set(seen) for _, seen, _ in saw[:2]] == [{*named, "first"}, named]
