"""What a faster service brings, against the closed form and against the critical cycle."""

from statistics import fmean

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from builders import FlatLatency, make_plan
from streamtwin.core.closed_period import period_terms
from streamtwin.core.metrics import compute_metrics
from streamtwin.core.ops import DitPass, Hop
from streamtwin.sim.sensitivity import FACTOR, ScaledLatency, cases, document, sensitivity
from streamtwin.sim.simulate import simulate

seconds = st.floats(0.004, 0.1)


@given(
    st.builds(FlatLatency, encode_s=seconds, block_s=seconds, decode_s=seconds, hop_s=seconds),
    st.integers(1, 5),
)
@settings(max_examples=10, deadline=None)
def test_gains_are_those_of_the_closed_form(latency, gpus):
    plan = make_plan(gpus=gpus, steps=2, chunks=60)
    terms = sorted(period_terms(plan, latency).values(), reverse=True)
    assume(len(terms) < 2 or terms[0] > 1.2 * terms[1])
    base = compute_metrics(simulate(plan, latency))
    for gain in sensitivity(plan, latency):
        # what is left of the transient in the window is less than a per mille
        assert gain.period_s == pytest.approx(gain.closed_period_s, rel=2e-3)
        expected = max(terms) / gain.closed_period_s - 1
        assert gain.fps_change == pytest.approx(expected, abs=4e-3)
        assert gain.fps == pytest.approx(base["fps"] * (1 + gain.fps_change))


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"protocol": "overlap"},
        {"vae_placement": "dedicated"},
        {"decode": "before_send"},
        {"stream_batch": False},
    ],
    ids=str,
)
def test_the_gain_is_the_share_in_the_critical_cycle(changes):
    """As long as the cycle stays critical, cutting a share c of it by a tenth leaves 1 - c / 10."""
    plan = make_plan(**{"gpus": 3, "steps": 2, "chunks": 60, "slowdown": {1: 6.0}, **changes})
    gains = sensitivity(plan, FlatLatency(hop_s=0.012))
    assert max(gain.on_path for gain in gains) > 0.5
    for gain in gains:
        cut = 1 - (1 - FACTOR) * gain.on_path
        assert gain.fps_change == pytest.approx(1 / cut - 1, abs=2e-3)
        assert (gain.fps_elasticity > 0.01) == (gain.on_path > 0.01)


def test_a_tenth_of_everything_is_a_tenth_of_the_time():
    """One rank alone: its services are all there is, so its elasticities are 1."""
    plan = make_plan(gpus=1, steps=2, chunks=40)
    gains = {gain.what: gain for gain in sensitivity(plan, FlatLatency(factors=(0.8, 1.0, 1.2)))}
    assert set(gains) == {"encode", "dit", "decode", "rank 0"}
    assert gains["rank 0"].fps_elasticity == pytest.approx(1.0)
    assert gains["rank 0"].latency_p95_elasticity == pytest.approx(1.0)
    parts = sum(gains[what].on_path for what in ("encode", "dit", "decode"))
    assert parts == pytest.approx(gains["rank 0"].on_path)


def test_scatter_does_not_blur_what_a_service_brings():
    """The same draws: gains scatter less from seed to seed than frame rates do."""
    latency = FlatLatency(factors=(0.7, 1.0, 1.3))
    fps, gained = [], []
    for seed in range(6):
        plan = make_plan(gpus=3, steps=2, chunks=40, seed=seed)
        decode = next(g for g in sensitivity(plan, latency) if g.what == "decode")
        fps.append(decode.fps / (1 + decode.fps_change))
        gained.append(decode.fps - fps[-1])
    assert max(gained) - min(gained) < 0.5 * (max(fps) - min(fps))


def test_only_the_family_named_is_scaled():
    plan = make_plan(gpus=2)
    scaled = ScaledLatency(FlatLatency(), "hop", 0.5)
    assert scaled.predict(Hop(100)).mean_s == 0.5 * FlatLatency().predict(Hop(100)).mean_s
    assert scaled.predict(plan.encode(1)) == FlatLatency().predict(plan.encode(1))
    assert scaled.provenance == FlatLatency().provenance
    wide = DitPass("tiny", 3, 2, 1, 160, 960.0, True, False)
    assert scaled.noise(wide) == ()


def test_every_simulation_is_counted():
    counted = []
    plan = make_plan(gpus=2, chunks=30)
    gains = sensitivity(plan, FlatLatency(), done=lambda: counted.append(1))
    assert len(counted) == len(gains) <= cases(plan)
    told = document(gains)
    assert told["factor"] == FACTOR
    assert [gain["what"] for gain in told["gains"]][-1] == "rank 1"


def test_where_services_scatter_the_critical_path_still_tells_a_small_gain():
    """Averaged over seeds: which round is critical changes from turn to turn.

    A period is a longest path, so convex: a tenth brings no more than its derivative says.
    """
    latency = FlatLatency(encode_s=0.02, block_s=0.01, decode_s=0.012, factors=(0.6, 1.0, 1.4))
    found, told = [], []
    for seed in range(4):
        gains = sensitivity(make_plan(gpus=3, steps=2, chunks=60, seed=seed), latency)
        found += [[gain.fps_elasticity for gain in gains]]
        told += [[gain.on_path for gain in gains]]
    for mean_found, mean_told in zip(
        map(fmean, zip(*found, strict=True)), map(fmean, zip(*told, strict=True)), strict=True
    ):
        assert mean_told - 0.15 < mean_found < mean_told + 0.03
    assert max(map(max, told)) < 0.9
