"""What every form owes: finite answers that follow from their arguments and grow with the work."""

import json
import math
from dataclasses import replace

import pytest
from calibration_data import ENVIRONMENT, all_cases, noisy
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from streamtwin.calibrate.cases import Case
from streamtwin.calibrate.fit import fit_all, fit_family
from streamtwin.calibrate.fit_file import dump_fits
from streamtwin.calibrate.fitted import Fit, Parameter
from streamtwin.calibrate.forms import FORMS, coordinates
from streamtwin.calibrate.observed import observe
from streamtwin.calibrate.profile import make_profile, read_profile, write_profile
from streamtwin.core.errors import CalibrationError
from streamtwin.core.ops import (
    FAMILIES,
    Collective,
    Copy,
    DitPass,
    Hop,
    Migration,
    VaeDecode,
    VaeEncode,
)
from streamtwin.core.row_costs import WINDOW

sides = st.integers(1, 40).map(lambda k: 16 * k)
sizes = st.integers(0, 10**9)
OPS = {
    "dit": st.builds(
        DitPass,
        model=st.sampled_from(["tiny", "wan2.1-1.3b"]),
        blocks=st.integers(0, 40),
        rows=st.integers(1, 6),
        chunk_latents=st.integers(1, 4),
        tokens=st.integers(1, 4000),
        kv_tokens=st.integers(0, 40000),
        embeds=st.booleans(),
        unembeds=st.booleans(),
    ),
    "encode": st.builds(VaeEncode, st.just("tiny"), sides, sides, st.integers(1, 5), st.booleans()),
    "decode": st.builds(VaeDecode, st.just("tiny"), sides, sides, st.integers(1, 5), st.booleans()),
    "hop": st.builds(Hop, sizes),
    "collective": st.builds(
        Collective, st.sampled_from(["all_to_all", "ring_shift"]), st.integers(2, 8), sizes
    ),
    "migration": st.builds(Migration, sizes),
    "copy": st.builds(Copy, st.sampled_from(["to_device", "to_host"]), sizes),
}
GROWS = {
    "dit": {"blocks", "rows", "chunk_latents", "tokens", "kv_tokens"},
    "encode": {"height", "width", "latents"},
    "decode": {"height", "width", "latents"},
}
"""Coordinates along which work grows; elsewhere it is the bytes."""

TAG = "receiver waits, sender idle"
EVERY_FORM = pytest.mark.parametrize(
    ("name", "family"), [(name, family) for name, form in FORMS.items() for family in form.families]
)


def some_fit(name, family, ops, draw):
    """The form with any knobs that it may get from *ops*, and any parameters."""
    knobs = draw(st.sampled_from(FORMS[name].knobs(ops)))
    names = {term for op in ops for term in FORMS[name].terms(op, TAG, *knobs)}
    values = {term: draw(st.floats(0, 1e-3)) for term in sorted(names)}
    return Fit(
        family=family,
        subject="any",
        ranks=1,
        form=name,
        knob=knobs[0],
        shape=knobs[1:],
        parameters=tuple(Parameter(term, value, None) for term, value in values.items()),
        tags=(TAG,),
        ranges={},
        left_out_errors=(),
        held_out_errors=(),
        half_width=0.1,
        alternatives={},
    )


def larger(op, coordinate, more):
    step = 16 * more if coordinate in ("height", "width") else more
    return replace(op, **{coordinate: getattr(op, coordinate) + step})


def test_every_family_has_a_form_and_every_form_a_family():
    assert set(FAMILIES.values()) == {family for form in FORMS.values() for family in form.families}
    assert set(FAMILIES.values()) == set(OPS)


@EVERY_FORM
@settings(deadline=None, max_examples=60)
@given(data=st.data())
def test_more_work_is_never_predicted_to_take_less(name, family, data):
    ops = data.draw(st.lists(OPS[family], min_size=1, max_size=5))
    op, more = ops[0], data.draw(st.integers(1, 5))
    along = data.draw(st.sampled_from(sorted(GROWS.get(family, {"size_bytes"}))))
    other = larger(op, along, more)
    if not FORMS[name].interpolates:
        return  # a table knows no other operation
    if name == "launch_by_tokens" and along == "tokens":
        return  # its fit sees to that: test_calibrate_published
    if name == "one_row_by_tokens" and along == "tokens":
        # it counts arithmetic in windows of the published length: of a longer one it takes a
        # smaller excess for more, the more tokens there are
        assume(op.kv_tokens <= WINDOW * op.tokens)
    fit = some_fit(name, family, [*ops, other], data.draw)
    assert fit.predict_s(other) >= fit.predict_s(op) * (1 - 1e-12)
    if family == "dit":
        bare = replace(op, embeds=False, unembeds=False)
        assert fit.predict_s(op) >= fit.predict_s(bare) * (1 - 1e-12)


@EVERY_FORM
@settings(deadline=None, max_examples=60)
@given(data=st.data())
def test_terms_are_finite_never_negative_and_the_same_again(name, family, data):
    ops = data.draw(st.lists(OPS[family], min_size=1, max_size=5))
    for knobs in FORMS[name].knobs(ops):
        assert len(knobs) == max(1, len(FORMS[name].knob_names))
        for op in ops:
            terms = FORMS[name].terms(op, TAG, *knobs)
            assert all(math.isfinite(amount) and amount >= 0 for amount in terms.values())
            assert any(terms.values())
            assert terms == FORMS[name].terms(replace(op), TAG, *knobs)
    assert FORMS[name].knobs(ops) == FORMS[name].knobs(list(ops))


@pytest.mark.parametrize("name", ["linear", "smooth_roofline", "convolutions"])
@settings(deadline=None, max_examples=60)
@given(data=st.data())
def test_where_every_term_costs_something_more_work_takes_longer(name, data):
    """Not only not less: these forms have no corner behind which work is free."""
    family = FORMS[name].families[0]
    op = data.draw(OPS[family])
    op = replace(op, blocks=1 + op.blocks) if isinstance(op, DitPass) else op
    other = larger(op, data.draw(st.sampled_from(sorted(GROWS[family]))), 1)
    knobs = data.draw(st.sampled_from(FORMS[name].knobs([op, other])))
    terms, grown = (FORMS[name].terms(one, TAG, *knobs) for one in (op, other))
    assert all(grown[term] >= amount for term, amount in terms.items())
    assert any(grown[term] > amount for term, amount in terms.items())


def test_the_smooth_maximum_lies_between_the_maximum_and_the_sum():
    terms = FORMS["smooth_roofline"].terms
    op = DitPass("tiny", 1, 2, 1, 160, 960.0, False, False)
    alone = [terms(op, "", *knobs)["block_flops"] for knobs in ((0.0, 0.0, 2.0), (0.0, 0.0, 8.0))]
    assert alone[0] == alone[1]
    flops = alone[0]
    for exponent in (1.0, 2.0, 4.0, 64.0):
        both = terms(op, "", flops, 0.0, exponent)["block_flops"]
        assert both == pytest.approx(flops * 2 ** (1 / exponent))
    assert terms(op, "", 5 * flops, 0.0, 400.0)["block_flops"] == pytest.approx(5 * flops)


def vae_cases(heights):
    return [
        Case(kind("tiny", height, 2 * height, latents, first), 1)
        for height in heights
        for latents, first in ((1, False), (2, True))
        for kind in (VaeEncode, VaeDecode)
    ]


def vae_cost_s(case):
    """Per pixel and latent, less for the stream's first latent, and a fixed time a call."""
    op = case.op
    return 2e-3 + 3e-7 * op.height * op.width * (op.latents - 0.6 * op.first)


def test_several_resolutions_let_a_vae_be_predicted_at_another():
    fits = fit_all(noisy(vae_cases([64, 96, 128, 192]), 0.002, 1, vae_cost_s))
    assert {fit.form for fit in fits} == {"convolutions"}
    between = Case(VaeDecode("tiny", 160, 320, 1, False), 1)
    decode = next(fit for fit in fits if fit.family == "decode")
    assert decode.predict_s(between.op) == pytest.approx(vae_cost_s(between), rel=0.02)
    assert set(decode.alternatives) == {"table", "convolutions"}


@pytest.mark.parametrize(
    ("heights", "cost", "offered"),
    [
        ([128], vae_cost_s, False),
        ([64, 96, 128, 192], lambda case: 0.1 * (case.op.height % 7 + 1), True),
    ],
    ids=["one resolution", "no law"],
)
def test_a_table_stays_where_no_formula_predicts_what_it_has_not_seen(heights, cost, offered):
    for fit in fit_all(noisy(vae_cases(heights), 0.002, 1, cost)):
        assert fit.form == "table"
        assert ("convolutions" in fit.alternatives) == offered


def test_fits_survive_the_way_through_files(tmp_path):
    measured = noisy([*all_cases(2), *all_cases(1), *vae_cases([64, 96, 128, 192])], 0.02)
    profile = make_profile("bench", ENVIRONMENT, [], measured)
    write_profile(profile, tmp_path / "bench")
    again = read_profile(tmp_path / "bench")
    assert dump_fits(again.fits) == dump_fits(profile.fits)
    assert any(fit.left_out for fit in again.fits)
    for fit, same in zip(profile.fits, again.fits, strict=True):
        assert fit.coverage == same.coverage
        assert fit.spread == same.spread
        for point in fit.points:
            assert same.interval_s(point.op) == fit.interval_s(point.op)
    assert json.loads((tmp_path / "bench" / "fit.json").read_text())[0]["alternatives"]


def test_ranges_have_every_coordinate():
    fit = fit_family(observe(noisy([c for c in all_cases(1) if isinstance(c.op, DitPass)], 0.0)))
    assert set(fit.ranges) == set(coordinates(fit.points[0].op))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda one: one.update(knobs=[1.0, 2.0, 3.0, 4.0]), "knobs, not 4"),
        (lambda one: one["values"].popitem(), "left_out: parameter"),
        (lambda one: one.update(error=float("nan")), "left_out"),
    ],
)
def test_a_left_out_model_that_does_not_fit_its_form_is_refused(tmp_path, change, said):
    write_profile(make_profile("bench", ENVIRONMENT, [], noisy(all_cases(1), 0.02)), tmp_path / "b")
    path = tmp_path / "b" / "fit.json"
    data = json.loads(path.read_text())
    change(next(fit for fit in data if fit["left_out"])["left_out"][0])
    path.write_text(json.dumps(data))
    with pytest.raises(CalibrationError, match=said):
        read_profile(tmp_path / "b")
