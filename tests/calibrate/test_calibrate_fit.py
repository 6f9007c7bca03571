"""Fits to data whose true costs are known."""

import random
from dataclasses import replace
from functools import cache

import pytest
from calibration_data import (
    HOPS,
    LINEAR,
    REQUEST,
    ROOFLINE,
    all_cases,
    cost_s,
    noisy,
    pass_cases,
    true_s,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from streamtwin.calibrate.cases import hop_cases
from streamtwin.calibrate.fit import fit_all, fit_family
from streamtwin.calibrate.fitted import Parameter
from streamtwin.calibrate.forms import FORMS
from streamtwin.calibrate.least_squares import COVERAGE, half_width, solve
from streamtwin.calibrate.observed import observe
from streamtwin.core.errors import CalibrationError
from streamtwin.core.ops import DitPass, Hop


def fitted(form, costs, spread=0.0, seed=0, knob=0.0):
    cases = [case for case in pass_cases() if not case.held_out]
    observed = observe(noisy(cases, spread, seed, lambda case: true_s(case, form, costs, knob)))
    rows = [FORMS[form].terms(one.case.op, one.case.tag, knob) for one in observed]
    return solve(rows, [one.typical_s for one in observed])


@pytest.mark.parametrize(("form", "costs"), [("linear", LINEAR), ("roofline", ROOFLINE)])
def test_recovers_parameters_without_noise(form, costs):
    found = fitted(form, costs)
    assert found.values == pytest.approx(costs, rel=1e-6)


@pytest.mark.parametrize(("form", "costs"), [("linear", LINEAR), ("roofline", ROOFLINE)])
def test_recovers_parameters_within_their_standard_errors(form, costs):
    """Over many draws, |found - true| <= 2 stderr about 95 times in 100."""
    inside = total = 0
    for seed in range(40):
        found = fitted(form, costs, spread=0.02, seed=seed)
        for name, true in costs.items():
            if found.stderr[name] is not None:
                inside += abs(found.values[name] - true) <= 2 * found.stderr[name]
                total += 1
    assert total > 150
    assert 0.88 <= inside / total <= 0.99


def test_a_parameter_at_its_bound_has_no_standard_error():
    found = fitted("linear", LINEAR | {"block_pairs": 0.0})
    assert found.values["block_pairs"] == pytest.approx(0.0, abs=1e-12)
    free = solve([{"a": 1.0, "b": -1.0}, {"a": 1.0, "b": -1.0}], [1.0, 1.0])
    assert free.stderr["b"] is None
    assert free.values["b"] == 0.0


@pytest.mark.parametrize(("form", "costs"), [("linear", LINEAR), ("roofline", ROOFLINE)])
def test_the_true_form_is_chosen(form, costs):
    knob = 3e8 if form == "roofline" else 0.0
    fit = fit_family(observe(noisy(pass_cases(), 0.005, 1, lambda c: true_s(c, form, costs, knob))))
    assert fit.form == form
    assert set(fit.alternatives) == {
        name for name, f in FORMS.items() if "dit" in f.families and not f.sums
    }
    assert fit.alternatives[form] == min(fit.alternatives.values())


def test_held_out_points_move_nothing_but_their_errors():
    """The law that makes a held-out error mean something."""
    measured = noisy(all_cases(2), 0.02, 3)
    moved = [
        replace(one, times=tuple(5 * t for t in one.times)) if one.case.held_out else one
        for one in measured
    ]
    for fit, other in zip(fit_all(measured), fit_all(moved), strict=True):
        assert fit.parameters == other.parameters
        assert (fit.form, fit.knob, fit.alternatives) == (
            other.form,
            other.knob,
            other.alternatives,
        )
        assert fit.ranges == other.ranges
        assert fit.left_out_errors == other.left_out_errors
    dit, worse = (next(f for f in fit_all(m) if f.family == "dit") for m in (measured, moved))
    assert worse.held_out_error > 0.5 > dit.held_out_error
    assert worse.half_width > dit.half_width


def test_everything_held_out_is_refused():
    held_out = [case for case in pass_cases() if case.held_out]
    with pytest.raises(CalibrationError, match="held out"):
        fit_family(observe(noisy(held_out, 0.01)))


def test_fits_keep_each_point_beside_its_prediction():
    measured = noisy(all_cases(2), 0.02, 4)
    points = [point for fit in fit_all(measured) for point in fit.points]
    assert len(points) == len(observe(measured))
    true = {(case.op, case.tag): cost_s(case) for case in all_cases(2)}
    for point in points:
        expected_s = true[point.op, point.tag]
        assert point.measured_s == pytest.approx(expected_s, rel=0.05)
        assert point.predicted_s == pytest.approx(expected_s, rel=0.10)
        assert point.stable
        assert point.ratios


def test_hop_costs_are_recovered_in_each_situation():
    fit = fit_family(observe(noisy(hop_cases(REQUEST, 2), 0.0)))
    assert {p.name: p.value for p in fit.parameters} == pytest.approx(HOPS, rel=1e-6)
    mean_s = sum(v for name, v in HOPS.items() if name != "bytes") / 4 + HOPS["bytes"] * 10**6
    assert fit.predict_s(Hop(10**6)) == pytest.approx(mean_s)


@cache
def fits_to_nonsense(family):
    """Every form of *family*, fitted to times that have nothing to do with it."""
    draw = random.Random(7)
    cases = [c for c in all_cases(2) if isinstance(c.op, Hop if family == "hop" else DitPass)]
    times = {case: draw.uniform(1e-4, 1e-1) for case in cases}
    fits = []
    for name in [name for name, form in FORMS.items() if family in form.families]:
        for seed in range(3):
            observed = observe(noisy(cases, 0.3, seed, times.get))
            best = fit_family(observed)
            form = FORMS[name]
            ops = [one.case.op for one in observed]
            knob = form.knobs(ops)[-1] / (1 + seed)
            rows = [form.terms(one.case.op, one.case.tag, knob) for one in observed]
            values = solve(rows, [one.typical_s for one in observed]).values
            parameters = tuple(Parameter(key, value, None) for key, value in values.items())
            fits.append(replace(best, form=name, knob=knob, parameters=parameters))
    return fits


passes = st.builds(
    DitPass,
    model=st.just("tiny"),
    blocks=st.integers(0, 8),
    rows=st.integers(1, 6),
    chunk_latents=st.integers(1, 3),
    tokens=st.integers(1, 400),
    kv_tokens=st.floats(0, 4000),
    embeds=st.booleans(),
    unembeds=st.booleans(),
)


@settings(deadline=None)
@given(
    passes,
    st.sampled_from(["blocks", "rows", "chunk_latents", "tokens", "kv_tokens"]),
    st.integers(1, 4),
)
def test_more_work_is_never_predicted_to_take_less(op, coordinate, more):
    larger = replace(op, **{coordinate: getattr(op, coordinate) + more})
    for fit in fits_to_nonsense("dit"):
        assert fit.predict_s(larger) >= fit.predict_s(op) * (1 - 1e-12)


@settings(deadline=None)
@given(passes)
def test_an_end_of_the_model_never_takes_less_than_none(op):
    for fit in fits_to_nonsense("dit"):
        bare = fit.predict_s(replace(op, embeds=False, unembeds=False))
        assert fit.predict_s(op) >= bare * (1 - 1e-12)


@settings(deadline=None)
@given(st.integers(512, 10**7), st.integers(1, 10**7))
def test_more_bytes_are_never_predicted_to_take_less(size, more):
    for fit in fits_to_nonsense("hop"):
        assert fit.predict_s(Hop(size + more)) >= fit.predict_s(Hop(size)) * (1 - 1e-12)


def test_the_interval_covers_new_configurations():
    """Of configurations that no fit has seen, about 90 % lie inside; each has an error of its own.

    A configuration's error is not noise: repeating does not shrink it. So the truth is the form
    times a factor that stays with the configuration.
    """
    inside = total = 0
    widths = []
    for seed in range(12):
        draw = random.Random(seed)
        factors = {case: 1 + draw.gauss(0, 0.04) for case in pass_cases()}
        fit = fit_family(
            observe(noisy(pass_cases(), 0.01, seed, lambda c, f=factors: cost_s(c) * f[c]))
        )
        widths.append(fit.half_width)
        for case in pass_cases():
            op = replace(case.op, blocks=min(6, case.op.blocks + 1))
            true = true_s(replace(case, op=op), "linear", LINEAR) * (1 + draw.gauss(0, 0.04))
            inside += abs(true / fit.predict_s(op) - 1) <= fit.half_width
            total += 1
    assert inside / total >= COVERAGE - 0.02
    assert 1.64 * 0.04 < sorted(widths)[6] < 3.6 * 0.04  # as wide as errors of 4 % need, not more


@pytest.mark.parametrize(
    ("errors", "width"),
    [
        ([0.1 * k for k in range(1, 20)], 1.8),  # ceil(0.9 * 20) = the 18th of 19
        ([-0.3, 0.1], 0.45),  # too few: the largest, enlarged by 3 / 2
        ([], 1.0),
    ],
)
def test_the_width_is_the_conformal_quantile(errors, width):
    assert half_width(errors) == pytest.approx(width)
