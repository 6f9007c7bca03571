"""What a profile answers, and what it refuses."""

import random
from dataclasses import replace
from statistics import fmean, stdev

import pytest
from calibration_data import ENVIRONMENT, all_cases, cost_s, noisy

from streamtwin.calibrate.cases import HOP_TAGS, Case
from streamtwin.calibrate.profile import make_profile
from streamtwin.core.errors import CalibrationError
from streamtwin.core.ops import DitPass, Hop, VaeDecode, VaeEncode

STEADY = DitPass("tiny", 3, 2, 1, 160, 960.0, True, False)
ENCODE = VaeEncode("tiny", 160, 256, 1, False)
DECODE = VaeDecode("tiny", 160, 256, 2, True)
HOP = Hop(410112)


@pytest.fixture(scope="module")
def profile():
    return make_profile("bench", ENVIRONMENT, [], noisy(all_cases(1) + all_cases(2), 0.02))


@pytest.fixture
def model(profile):
    return profile.latency_model(2)


@pytest.mark.parametrize("op", [STEADY, ENCODE, DECODE], ids=lambda op: type(op).__name__)
def test_predicts_what_the_host_takes(model, op):
    found = model.predict(op)
    assert found.mean_s == pytest.approx(cost_s(Case(op, 2)), rel=0.05)
    assert found.low_s < found.mean_s < found.high_s
    assert found.provenance.kind == "measured"
    assert str(found.provenance) == "measured: bench on cpu of the bench, 2026-01-02"


def test_a_hop_is_the_mean_over_its_situations(model, profile):
    (fit,) = (fit for fit in profile.fits if fit.family == "hop")
    assert model.predict(HOP).mean_s == pytest.approx(
        fmean(fit.predict_s(HOP, tag) for tag in fit.tags)
    )


OUTSIDE = [
    (replace(STEADY, rows=5), "rows = 5", "1..4"),
    (replace(STEADY, blocks=7), "blocks = 7", "0..6"),
    (replace(STEADY, chunk_latents=3, rows=1), "chunk_latents = 3", "1..2"),
    (replace(STEADY, tokens=161), "tokens = 161", "160..160"),
    (replace(STEADY, kv_tokens=961.0), "kv_tokens = 961", "320..960"),
    (replace(STEADY, kv_tokens=160.0), "kv_tokens = 160", "320..960"),
    (replace(STEADY, chunk_latents=2, rows=4), "query_tokens = 1280", "160..640"),
    (replace(ENCODE, height=320), "height = 320", "160..160"),
    (replace(DECODE, latents=4), "latents = 4", "1..2"),
    (Hop(10**8), "size_bytes = 1e+08", "3200..1.31091e+07"),
    (Hop(512), "size_bytes = 512", "3200.."),
]


@pytest.mark.parametrize(("op", "value", "span"), OUTSIDE)
def test_outside_the_range_it_refuses_and_says_where(model, op, value, span):
    with pytest.raises(CalibrationError) as caught:
        model.predict(op)
    assert value in str(caught.value)
    assert span in str(caught.value)


@pytest.mark.parametrize("op", [op for op, _, _ in OUTSIDE if isinstance(op, DitPass | Hop)])
def test_extrapolation_is_marked_and_wider(profile, op):
    found = profile.latency_model(2, extrapolate=True).predict(op)
    inside = profile.latency_model(2).predict(STEADY if isinstance(op, DitPass) else HOP)
    assert found.provenance.extrapolated
    assert "extrapolated" in str(found.provenance)
    assert found.high_s / found.mean_s > inside.high_s / inside.mean_s


def test_farther_out_is_less_sure(profile):
    model = profile.latency_model(2, extrapolate=True)
    widths = [
        model.predict(op).high_s / model.predict(op).mean_s
        for op in (STEADY, replace(STEADY, blocks=9), replace(STEADY, blocks=60))
    ]
    assert widths[0] < widths[1] < widths[2]


OUTWARD = [
    ("blocks", (7, 9, 30)),
    ("rows", (5, 8, 40)),
    ("chunk_latents", (3, 5, 9)),
    ("tokens", (161, 320, 1600)),
    ("kv_tokens", (961.0, 2000.0, 9000.0)),
    ("kv_tokens", (319.0, 200.0, 0.0)),
]


@pytest.mark.parametrize(("name", "values"), OUTWARD)
def test_the_farther_out_the_wider_along_every_coordinate(profile, name, values):
    model = profile.latency_model(2, extrapolate=True)
    found = [model.predict(replace(STEADY, **{name: value})) for value in values]
    widths = [one.high_s / one.mean_s for one in found]
    inside = [p.op for fit in profile.fits for p in fit.points if isinstance(p.op, DitPass)]
    widest = max(model.predict(op).high_s / model.predict(op).mean_s for op in inside)
    assert widest < widths[0] < widths[1] < widths[2]
    assert all(one.provenance.extrapolated for one in found)


def test_more_ranks_than_measured_are_less_sure_the_more_they_are(profile):
    found = [profile.latency_model(ranks, extrapolate=True).predict(STEADY) for ranks in (2, 4, 8)]
    assert found[0].high_s < found[1].high_s < found[2].high_s
    assert [one.provenance.extrapolated for one in found] == [False, True, True]


def test_every_interval_holds_its_prediction(profile):
    for fit in profile.fits:
        for point in fit.points:
            low_s, high_s = fit.interval_s(point.op, point.tag)
            assert 0 <= low_s < point.predicted_s < high_s


def test_several_runs_tell_what_runs_differ_by():
    draw = random.Random(0)
    factors = [draw.gauss(1, 0.04) for _ in range(4)]
    measured = [
        replace(one, run=run, times=tuple(t * factors[run] for t in one.times))
        for run in range(4)
        for one in noisy(all_cases(2), 0.01, run)
    ]
    several = make_profile("b", ENVIRONMENT, [], measured).latency_model(2)
    single = make_profile("b", ENVIRONMENT, [], noisy(all_cases(2), 0.01)).latency_model(2)
    seen = stdev(factors)
    assert several.between(STEADY) == pytest.approx(seen, rel=0.1)
    assert single.between(STEADY) == 0.0
    assert max(several.noise(STEADY)) < 1.06  # the scatter of repetitions, not that of runs
    widths = [one.predict(STEADY).high_s / one.predict(STEADY).mean_s for one in (several, single)]
    assert widths[0] > 1 + 1.6 * seen > widths[1]


def test_inside_the_range_extrapolation_changes_nothing(profile, model):
    for op in (STEADY, ENCODE, HOP):
        assert profile.latency_model(2, extrapolate=True).predict(op) == model.predict(op)


@pytest.mark.parametrize("extrapolate", [False, True])
@pytest.mark.parametrize(
    "op", [replace(STEADY, model="wan2.1-1.3b"), replace(ENCODE, vae="wan2.1")]
)
def test_another_model_is_always_refused(profile, op, extrapolate):
    with pytest.raises(CalibrationError, match=r"wan2\.1.* was not measured; tiny was"):
        profile.latency_model(2, extrapolate).predict(op)


def test_a_table_does_not_extrapolate(profile):
    with pytest.raises(CalibrationError, match="nothing was measured at"):
        profile.latency_model(2, extrapolate=True).predict(replace(ENCODE, latents=3))


def test_two_coordinates_that_were_never_seen_together_are_refused(model):
    with pytest.raises(CalibrationError, match="nothing was measured at"):
        model.predict(replace(ENCODE, latents=2))


def test_hops_need_two_ranks(profile):
    with pytest.raises(CalibrationError, match="no hop was measured with 1 ranks"):
        profile.latency_model(1).predict(HOP)


def test_other_ranks_are_refused_or_marked(profile):
    with pytest.raises(CalibrationError, match=r"ranks = 4 was not measured; 1, 2 was"):
        profile.latency_model(4)
    found = profile.latency_model(4, extrapolate=True).predict(STEADY)
    near = profile.latency_model(2).predict(STEADY)
    assert found.mean_s == near.mean_s
    assert found.provenance.extrapolated
    assert found.high_s > near.high_s


def test_ranks_are_fitted_apart():
    def cost(case):
        return cost_s(case) * case.ranks

    profile = make_profile("b", ENVIRONMENT, [], noisy(all_cases(1) + all_cases(2), 0.0, cost=cost))
    alone, both = (profile.latency_model(ranks).predict(STEADY).mean_s for ranks in (1, 2))
    assert both == pytest.approx(2 * alone)


def test_an_answer_is_kept(model):
    assert model.predict(STEADY) is model.predict(replace(STEADY))
    assert model.noise(STEADY) is model.noise(replace(STEADY))


@pytest.fixture(scope="module")
def busy():
    """The profile of a host that takes the core away for a while during every third time."""
    measured = [
        replace(
            one,
            times=tuple(t * (5 if i % 3 == 2 else 1) for i, t in enumerate(one.times)),
            core_shares=tuple(0.2 if i % 3 == 2 else 1.0 for i in range(len(one.times))),
        )
        for one in noisy(all_cases(2), 0.2, seed=5)
    ]
    return make_profile("busy", ENVIRONMENT, [], measured).latency_model(2)


EVERY_FAMILY = pytest.mark.parametrize(
    "op", [STEADY, ENCODE, DECODE, HOP], ids=lambda op: type(op).__name__
)


@EVERY_FAMILY
@pytest.mark.parametrize("host", ["model", "busy"])
def test_noise_has_the_mean_one(op, host, request):
    """What is drawn around a prediction must have its mean."""
    sample = request.getfixturevalue(host).noise(op)
    assert fmean(sample) == pytest.approx(1.0, abs=1e-9)
    assert min(sample) > 0
    assert len(set(sample)) > 5


@EVERY_FAMILY
def test_what_other_processes_took_is_neither_predicted_nor_drawn(busy, op):
    tags = HOP_TAGS if isinstance(op, Hop) else ("",)
    expected_s = fmean(cost_s(Case(op, 2, tag)) for tag in tags)
    assert busy.predict(op).mean_s == pytest.approx(expected_s, rel=0.2)
    slowest_s = max(cost_s(Case(op, 2, tag)) for tag in tags)
    assert max(busy.noise(op)) < 2 * slowest_s / expected_s


def test_noise_of_a_hop_spans_its_situations(model):
    """On the invented host the slowest situation takes several times the fastest."""
    assert max(model.noise(HOP)) / min(model.noise(HOP)) > 2


def test_noise_comes_from_passes_that_take_about_as_long():
    def measured(spread_of):
        return [
            one
            for seed, case in enumerate(all_cases(1))
            for one in noisy([case], spread_of(case), seed)
        ]

    wild_when_short = measured(lambda case: 0.3 if cost_s(case) < 5e-3 else 0.001)
    model = make_profile("b", ENVIRONMENT, [], wild_when_short).latency_model(1)
    assert max(model.noise(replace(STEADY, blocks=6, rows=4))) < 1.01
    assert max(model.noise(replace(STEADY, blocks=0, rows=1))) > 1.1
