"""Fits to data whose true costs are known."""

from dataclasses import replace

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

from streamtwin.calibrate.cases import hop_cases
from streamtwin.calibrate.choice import LUCK, Tried, choose, errors_of, solve_form
from streamtwin.calibrate.fit import fit_all, fit_family
from streamtwin.calibrate.forms import FORMS
from streamtwin.calibrate.least_squares import solve
from streamtwin.calibrate.observed import observe
from streamtwin.core.errors import CalibrationError
from streamtwin.core.ops import Hop


def fitted(form, costs, spread=0.0, seed=0, knobs=(0.0,)):
    cases = [case for case in pass_cases() if not case.held_out]
    observed = observe(noisy(cases, spread, seed, lambda case: true_s(case, form, costs, *knobs)))
    rows = [FORMS[form].terms(one.case.op, one.case.tag, *knobs) for one in observed]
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


BENT = LINEAR | {"block_tokens_beyond": 2e-5}
ROWS = {"pass": 2e-3, "blocks": 5e-4, "block_flops": 1.6e-11}


@pytest.mark.parametrize(
    ("form", "costs", "knobs"),
    [
        ("rows", ROWS, (0.0,)),
        ("linear", LINEAR, (0.0,)),
        ("bent", BENT, (320.0,)),
        ("roofline", ROOFLINE, (461373440.0,)),
        ("smooth_roofline", ROOFLINE, (1.2e9, 0.0, 2.0)),
    ],
)
def test_the_true_form_is_chosen(form, costs, knobs):
    fit = fit_family(
        observe(noisy(pass_cases(), 0.002, 1, lambda c: true_s(c, form, costs, *knobs)))
    )
    assert fit.form == form
    assert fit.knobs == pytest.approx(knobs, rel=0.1)
    assert set(fit.alternatives) == {
        name for name, f in FORMS.items() if "dit" in f.families and not f.sums
    }
    assert fit.alternatives[form] <= (1 + LUCK) * min(fit.alternatives.values())


def test_held_out_points_move_nothing_but_their_errors():
    """The law that makes a held-out error mean something."""
    measured = noisy(all_cases(2), 0.02, 3)
    moved = [
        replace(one, times=tuple(5 * t for t in one.times)) if one.case.held_out else one
        for one in measured
    ]
    for fit, other in zip(fit_all(measured), fit_all(moved), strict=True):
        assert fit.parameters == other.parameters
        assert (fit.form, fit.knobs, fit.alternatives) == (
            other.form,
            other.knobs,
            other.alternatives,
        )
        assert (fit.left_out, fit.half_width) == (other.left_out, other.half_width)
        assert fit.ranges == other.ranges
        assert fit.left_out_errors == other.left_out_errors
    dit, worse = (next(f for f in fit_all(m) if f.family == "dit") for m in (measured, moved))
    assert worse.held_out_error > 0.5 > dit.held_out_error
    assert dit.coverage.inside >= 5
    assert worse.coverage.inside == 0


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


def test_a_form_must_beat_a_simpler_one_by_more_than_luck():
    def tried(name, *errors):
        return Tried(name, errors)

    simple, close, better = tried("linear", 0.10), tried("bent", 0.095), tried("roofline", 0.05)
    assert choose([simple, close]) == simple
    assert choose([simple, close, better]) == better
    assert choose([tried("linear", 1e-14), tried("bent", 1e-16)]).name == "linear"


def test_floor_and_bytes_of_a_smooth_roofline_are_found_together():
    """What matters of three knobs is what they predict: 3 % of the noise-free held-out times."""
    costs, knobs = ROOFLINE, (7e8, 60.0, 3.0)

    def cost(case):
        return true_s(case, "smooth_roofline", costs, *knobs)

    fitted_ones = observe(noisy([c for c in pass_cases() if not c.held_out], 0.002, 2, cost))
    held_out = observe(noisy([c for c in pass_cases() if c.held_out], 0.0, 2, cost))
    found, solution = solve_form("smooth_roofline", fitted_ones)
    errors = errors_of("smooth_roofline", found, solution, held_out)
    assert len(errors) == 7
    assert max(map(abs, errors)) < 0.03
