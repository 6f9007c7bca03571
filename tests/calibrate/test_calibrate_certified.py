"""Fits against answers that are known: closed forms, true parameters, true coverage, true variances."""

from dataclasses import replace
from math import sqrt
from statistics import fmean, stdev

import numpy as np
import pytest
from calibration_data import LINEAR, measurement, noisy, pass_cases, true_s

from streamtwin.calibrate import choice
from streamtwin.calibrate.fit import fit_all, fit_family
from streamtwin.calibrate.forms import FORMS
from streamtwin.calibrate.jackknife import COVERAGE, Coverage, bounds_s, half_width
from streamtwin.calibrate.least_squares import solve
from streamtwin.calibrate.observed import Observed, observe
from streamtwin.core.errors import CalibrationError

FITTED = [case for case in pass_cases() if not case.held_out]
ROWS = [FORMS["linear"].terms(case.op, case.tag, 0.0) for case in FITTED]
TRUE = np.array([true_s(case, "linear", LINEAR) for case in FITTED])


def closed_form(rows, seconds):
    """Ordinary least squares of relative errors as textbooks have it: values, standard errors."""
    names = list(rows[0])
    design = np.array([[row[name] for name in names] for row in rows]) / seconds[:, None]
    values, squares, rank, _ = np.linalg.lstsq(design, np.ones(len(rows)), rcond=None)
    assert rank == len(names)
    variance = squares[0] / (len(rows) - rank) * np.linalg.inv(design.T @ design)
    return dict(zip(names, values, strict=True)), dict(
        zip(names, np.sqrt(np.diag(variance)), strict=True)
    )


def test_the_solver_is_least_squares_where_no_bound_is_active():
    """Values to nine digits and standard errors to six, on terms of ten orders of magnitude."""
    compared = 0
    for seed in range(20):
        seconds = TRUE * (1 + np.random.default_rng(seed).normal(0, 0.01, len(TRUE)))
        values, errors = closed_form(ROWS, seconds)
        found = solve(ROWS, list(seconds))
        if min(values.values()) <= 0:
            continue
        compared += 1
        assert found.values == pytest.approx(values, rel=1e-9)
        assert found.stderr == pytest.approx(errors, rel=1e-6)
        assert set(found.standing.values()) == {"free"}
    assert compared >= 10


def test_true_parameters_lie_within_their_standard_errors():
    """z = (found - true) / stderr of 200 draws: mean 0, standard deviation 1, within 4 sigma.

    16 - 5 degrees of freedom make the deviation sqrt(d / (d - 2)). A parameter that rests at its
    bound in some draws is left out: what remains of it is not centred.
    """
    scores: dict[str, list[float]] = {name: [] for name in LINEAR}
    for seed in range(200):
        draw = np.random.default_rng(seed)
        found = solve(ROWS, list(TRUE * (1 + draw.normal(0, 0.01, len(TRUE)))))
        for name, error in found.stderr.items():
            if error is not None:
                scores[name].append((found.values[name] - LINEAR[name]) / error)
    always = {name: z for name, z in scores.items() if len(z) == 200}
    assert len(always) >= 5
    degrees = len(ROWS) - len(LINEAR)
    for z in always.values():
        assert abs(fmean(z)) < 4 * sqrt(degrees / (degrees - 2) / 200)
        assert stdev(z) == pytest.approx(sqrt(degrees / (degrees - 2)), rel=0.2)


def test_parameters_that_the_configurations_cannot_tell_apart_say_so():
    """a and b always come together; the solver gives all to one of them, which means nothing."""
    rows = [{"a": 1.0, "b": 2.0, "c": float(n)} for n in range(1, 6)]
    draw = np.random.default_rng(0)
    found = solve(rows, [(3 + 2 * n) * (1 + draw.normal(0, 0.01)) for n in range(1, 6)])
    assert found.standing == {"a": "not identified", "b": "not identified", "c": "free"}
    assert found.values["a"] + 2 * found.values["b"] == pytest.approx(3, rel=0.1)
    assert (found.stderr["a"], found.stderr["b"]) == (None, None)
    assert 0 < found.stderr["c"] < 0.1


def test_a_parameter_that_errors_push_to_its_bound_is_no_unknown_one():
    rows = [{"a": 1.0, "c": float(n)} for n in range(1, 6)]
    found = solve(rows, [2.0 * n - 0.5 for n in range(1, 6)])
    assert found.standing == {"a": "at its bound", "c": "free"}


def test_each_parameter_says_why_it_has_no_standard_error():
    exact = solve([{"a": 1.0}, {"b": 1.0}], [2.0, 3.0])
    assert exact.standing == {"a": "no degree of freedom", "b": "no degree of freedom"}
    bound = solve([{"a": 1.0, "b": -1.0, "c": 0.0}, {"a": 1.1, "b": 2.0, "c": 0.0}], [1.0, 0.5])
    assert bound.standing == {"a": "free", "b": "at its bound", "c": "at its bound"}
    for found in (exact, bound):
        for name, error in found.stderr.items():
            assert (error is not None) == (found.standing[name] == "free")


@pytest.mark.parametrize("wrong", [0.0, -1.0, float("nan"), float("inf")])
def test_a_time_that_is_none_is_refused(wrong):
    with pytest.raises(CalibrationError, match="positive seconds"):
        solve([{"a": 1.0}, {"a": 2.0}], [1.0, wrong])
    (case,) = FITTED[:1]
    bad = replace(measurement(case, [1e-3, 1e-3]), times=(1e-3, wrong, 1e-3))
    with pytest.raises(CalibrationError, match=r"run 0, rank 0: a time of .*positive seconds"):
        fit_all([bad])


def test_too_few_configurations_are_counted():
    with pytest.raises(CalibrationError, match=r"dit: 1 configurations .* rows, needs 3"):
        fit_family(observe(noisy(FITTED[5:6], 0.01)))
    few = fit_family(observe(noisy(FITTED[4:8], 0.01)))
    assert set(few.alternatives) == {"rows"}  # seven parameters cannot follow from four


def test_what_does_not_belong_together_is_refused():
    other = [replace(c, op=replace(c.op, model="wan2.1-1.3b")) for c in FITTED]
    mixed = observe(noisy([*FITTED, *other], 0.01, cost=lambda _: 1.0))
    with pytest.raises(CalibrationError, match=r"dit of tiny, 1 ranks; dit of wan2\.1-1\.3b"):
        fit_family(mixed)
    with pytest.raises(CalibrationError, match="no time after the warm-up"):
        observe([replace(measurement(FITTED[0], [1.0]), times=(1.0,), core_shares=(1.0,))])


def test_a_core_that_was_never_held_is_no_time():
    one = replace(measurement(FITTED[0], [1.0] * 3), core_shares=(1.0, 0.0, 0.0, 0.5))
    (found,) = observe([one])
    assert found.clean == (0.5,)
    with pytest.raises(CalibrationError, match="held a core"):
        observe([replace(one, core_shares=(0.0,) * 4)])


@pytest.fixture
def linear_only(monkeypatch):
    """Trying the other forms costs time, and which wins is another test's question."""
    monkeypatch.setattr(choice, "FORMS", {"linear": FORMS["linear"]})


@pytest.mark.parametrize("of_its_own", [0.0, 0.04], ids=["noise", "each its own error"])
@pytest.mark.usefixtures("linear_only")
def test_intervals_cover_what_was_not_fitted(of_its_own):
    """Of the held-out configurations of many calibrations 85 to 95 % lie inside.

    The second case has errors that stay with a configuration, which repeating does not shrink.
    """
    inside = total = 0
    for seed in range(80):
        draw = np.random.default_rng(seed)
        observed = [
            Observed(case, tuple(seconds * draw.normal(1, 0.02, 4)), ((0, 0),) * 4)
            for case in pass_cases()
            for seconds in [true_s(case, "linear", LINEAR) * draw.normal(1, of_its_own or 1e-9)]
        ]
        coverage = fit_family(observed).coverage
        inside, total = inside + coverage.inside, total + coverage.total
    assert total == 80 * 7
    assert 0.85 <= inside / total <= 0.95


def test_choosing_a_form_keeps_the_coverage_that_is_guaranteed():
    """The errors of the form that fared best are a little lucky; the theorem's 1 - 2 alpha holds."""
    inside = total = 0
    for seed in range(8):
        coverage = fit_family(observe(noisy(pass_cases(), 0.05, seed))).coverage
        inside, total = inside + coverage.inside, total + coverage.total
    assert 1 - 2 * (1 - COVERAGE) <= inside / total < 1


def test_the_bounds_are_the_published_ones():
    """Against the definition, by counting: Barber et al. 2021, equation 1.8, alpha = 0.1."""
    draw = np.random.default_rng(3)
    predicted, errors = draw.normal(10, 0.2, 29), draw.normal(0, 0.05, 29)
    low, high = bounds_s(list(predicted), list(errors), 0.0)
    residual = abs(errors) * predicted
    assert sum(predicted + residual <= high) == 27  # ceil(0.9 * 30)
    assert sum(predicted - residual >= low) == 27
    assert high in predicted + residual


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


def test_few_held_out_points_say_little_about_coverage():
    assert Coverage(7, 7).likely == pytest.approx((0.590, 1.0), abs=1e-3)  # 0.025 ** (1 / 7)
    assert Coverage(0, 0).share is None
    low, high = Coverage(90, 100).likely
    assert (low, high) == pytest.approx((0.8238, 0.9510), abs=1e-4)  # tables of the binomial
    assert Coverage(90, 100).share == COVERAGE
