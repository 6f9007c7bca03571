"""Which cases are chosen: laws of the choice, and that a card's whole grid fits its time."""

from dataclasses import replace

import numpy as np
import pytest
from grid_cases import CARD, CORE, TINY, TWO_SIZES
from hypothesis import given, settings
from hypothesis import strategies as st

from streamtwin.calibrate.cases import CalibrationRequest
from streamtwin.calibrate.design import choose, first_terms
from streamtwin.calibrate.expected import LEAST_TIMES, Expectation, expect
from streamtwin.calibrate.forms import coordinates
from streamtwin.calibrate.grid import Grid, make_grid, parts_of
from streamtwin.calibrate.harness import Measurement
from streamtwin.calibrate.programme import programme_of
from streamtwin.calibrate.run import CARD_BUDGET_S, DEFAULT_BUDGET_S, default_budget_s
from streamtwin.calibrate.samples import group_of
from streamtwin.calibrate.schedule import MAX_STARTS, allotment_s, least_s, starts_within, sweep_of
from streamtwin.core.errors import UserError
from streamtwin.core.ops import DitPass

H100_BYTES = 80e9
WAN_SIZES = [(480, 832), (512, 512), (720, 1280)]
WAN = make_grid(
    ["wan2.1-1.3b", "wan2.1-14b"],
    ["wan2.1", "taehv"],
    WAN_SIZES,
    lambda _: H100_BYTES,
    device="cuda",
)
GRIDS = [(TINY, CORE), (TWO_SIZES, CORE), (WAN, CARD)]
PLANNED = [(parts_of(grid), expect(ceilings)) for grid, ceilings in GRIDS]
BUDGETS = st.floats(0.1, 900.0)


@pytest.fixture(params=PLANNED, ids=["tiny", "two sizes", "wan"])
def planned(request):
    return request.param


def information(cases, everything):
    """Rank of the terms of *cases* among those of *everything* that is fitted with them."""
    names = sorted({name for case in everything for name in first_terms(case, everything)})
    rows = [[first_terms(case, everything).get(name, 0.0) for name in names] for case in cases]
    design = np.array(rows)
    return np.linalg.matrix_rank(design / np.maximum(np.abs(design).max(axis=0), 1e-30))


def fitted_groups(parts):
    groups = {}
    for case in (case for part in parts for case in part.cases if not case.held_out):
        groups.setdefault(group_of(case), []).append(case)
    return groups


@settings(deadline=None, max_examples=40)
@given(which=st.sampled_from(PLANNED), budget_s=BUDGETS)
def test_the_budget_is_kept_unless_the_minimum_takes_longer(which, budget_s):
    choice = choose(*which, budget_s)
    assert choice.expected_s <= max(budget_s, choice.minimum_s)
    if choice.minimum_s > budget_s:
        assert len(choice.chosen) == choice.minimum


def test_the_expected_seconds_are_those_of_the_starts(planned):
    parts, expectation = planned
    for budget_s in (1.0, 200.0, 900.0):
        choice = choose(parts, expectation, budget_s)
        total_s = sum(least_s(start, expectation) for start in sweep_of(parts, choice))
        assert choice.expected_s == pytest.approx(total_s)


def test_the_minimum_identifies_every_parameter_and_spans_every_range(planned):
    parts, expectation = planned
    chosen = set(choose(parts, expectation, 1e-3).chosen)
    for group, cases in fitted_groups(parts).items():
        own = [case for case in cases if case in chosen]
        assert information(own, cases) == information(cases, cases), group
        for name in coordinates(cases[0].op):
            every = {coordinates(case.op)[name] for case in cases}
            some = {coordinates(case.op)[name] for case in own}
            assert {min(every), max(every)} <= some, (group, name)


def test_the_minimum_is_far_from_all(planned):
    parts, expectation = planned
    choice = choose(parts, expectation, 1e-3)
    assert choice.minimum < 0.75 * sum(len(part.cases) for part in parts)


@settings(deadline=None, max_examples=40)
@given(which=st.sampled_from(PLANNED), budgets=st.tuples(BUDGETS, BUDGETS))
def test_a_larger_budget_keeps_all_that_a_smaller_one_chose(which, budgets):
    small, large = (choose(*which, budget_s) for budget_s in sorted(budgets))
    assert large.chosen[: len(small.chosen)] == small.chosen
    assert not set(large.chosen) & set(large.left_out)
    assert len(large.chosen) + len(large.left_out) == len(small.chosen) + len(small.left_out)


def test_the_choice_is_the_same_every_time(planned):
    parts, expectation = planned
    assert choose(parts, expectation, 12.0) == choose(parts, expectation, 12.0)


def test_a_case_more_adds_less_a_second_the_later_it_comes():
    """What comes first after the minimum reduces the determinant's logarithm most a second."""
    (part,) = parts_of(Grid((CalibrationRequest(ranks=(1,)),)))
    expectation = expect(CORE)
    choice = choose([part], expectation, 1e9)
    fitted = [case for case in choice.chosen if not case.held_out and group_of(case)[0] == "dit"]
    minimum = [case for case in choice.chosen[: choice.minimum] if group_of(case)[0] == "dit"]
    names = sorted({name for case in fitted for name in first_terms(case, fitted)})
    rows = np.array(
        [
            [first_terms(c, fitted).get(n, 0.0) / expectation.case_s(c) for n in names]
            for c in fitted
        ]
    )
    rows /= np.linalg.norm(rows, axis=0)
    sizes = [
        np.linalg.slogdet(1e-3 * np.eye(len(names)) + rows[:k].T @ rows[:k])[1]
        for k in range(len(minimum), len(rows) + 1)
    ]
    gains = np.diff(sizes) / [expectation.least_s(case) for case in fitted[len(minimum) :]]
    assert list(gains) == sorted(gains, reverse=True)


@pytest.mark.parametrize("budget_s", [0.0, -1.0, float("nan")])
def test_a_budget_is_positive(budget_s):
    with pytest.raises(UserError, match="budget_s"):
        choose(parts_of(TINY), expect(CORE), budget_s)


def test_the_whole_grid_of_a_card_is_expected_to_take_less_than_eight_minutes():
    """Every case of both Wan models, in two starts, on an H100 by the catalogue's figures."""
    assert default_budget_s(WAN) == CARD_BUDGET_S < 8 * 60
    programme = programme_of(WAN, expect(CARD), CARD_BUDGET_S)
    assert programme.expected_s <= CARD_BUDGET_S
    assert programme.starts >= 2
    assert all(line.chosen == line.cases for line in programme.lines)
    assert programme.left_out == WAN.skipped
    passes = {(line.model, line.resolution) for line in programme.lines if line.operation == "dit"}
    assert passes == {
        ("wan2.1-1.3b", "480x832"),
        ("wan2.1-1.3b", "512x512"),
        ("wan2.1-1.3b", "720x1280"),
        ("wan2.1-14b", "480x832"),
        ("wan2.1-14b", "512x512"),
    }
    coded = {(line.vae, line.resolution, line.operation) for line in programme.lines}
    assert coded >= {
        (vae, size, operation)
        for vae in ("wan2.1", "taehv")
        for size in ("480x832", "512x512", "720x1280")
        for operation in ("encode", "decode")
    }


def test_what_a_card_does_not_hold_is_skipped_and_named():
    assert [words.split(":")[0] for words in WAN.skipped] == [
        "wan2.1-14b with wan2.1 at 720x1280",
        "wan2.1-14b with taehv at 720x1280",
    ]
    assert "GB of cuda are free" in WAN.skipped[0]
    with pytest.raises(UserError, match=r"nothing is left to calibrate: tiny with tiny at 64x64"):
        make_grid(["tiny"], ["tiny"], [(64, 64)], lambda _: 1e3)


def test_the_smallest_model_is_measured_whole_in_two_starts():
    programme = programme_of(Grid((CalibrationRequest(),)), expect(CORE), DEFAULT_BUDGET_S)
    assert programme.left_out == ()
    assert programme.starts == 2
    assert programme.expected_s <= DEFAULT_BUDGET_S < 60.0


def test_each_operation_is_timed_once_whatever_shares_it():
    cases = [case for part in parts_of(WAN) for case in part.cases]
    assert len({(case.op, case.ranks, case.tag) for case in cases}) == len(cases)
    labels = [part.label for part in parts_of(TWO_SIZES)]
    assert len(set(labels)) == len(labels)


def test_a_grid_of_other_chunks_and_windows_tells_its_parts_apart_and_has_time_for_each():
    usual = CalibrationRequest(ranks=(1,))
    grid = Grid((usual, replace(usual, chunk_latents=2), replace(usual, window=9)))
    parts = parts_of(grid)
    assert len({part.label for part in parts}) == len(parts)
    passes = [case.op for part in parts for case in part.cases if isinstance(case.op, DitPass)]
    assert {op.chunk_latents for op in passes} >= {1, 2}
    alone = [case.op for part in parts_of(Grid((usual,))) for case in part.cases]
    widest = max(op.kv_tokens for op in alone if isinstance(op, DitPass))
    assert max(op.kv_tokens for op in passes if op.chunk_latents == 1) > widest
    assert default_budget_s(grid) == 3 * default_budget_s(Grid((usual,)))


def test_requests_of_one_grid_share_their_device_and_ranks():
    with pytest.raises(UserError, match="ranks: one calibration has one"):
        Grid((CalibrationRequest(), CalibrationRequest(ranks=(1,))))


def test_times_that_were_seen_replace_the_guess_and_correct_their_family():
    (part,) = parts_of(Grid((CalibrationRequest(ranks=(1,)),)))
    first, other = [case for case in part.cases if group_of(case)[0] == "dit"][4:6]
    guessed = expect(CORE)
    slow_s = 3 * guessed.case_s(first)
    seen = expect(CORE, [Measurement(first, 0, (9.0,) + (slow_s,) * 3, (1.0,) * 4)])
    assert seen.case_s(first) == slow_s
    assert seen.case_s(other) == pytest.approx(3 * guessed.case_s(other))
    encode = next(case for case in part.cases if group_of(case)[0] == "encode")
    assert seen.case_s(encode) == guessed.case_s(encode)


def test_time_that_is_left_goes_where_it_helps_and_nothing_is_given_twice():
    parts = parts_of(TINY)
    calm = expect(CORE)
    sweep = sweep_of(parts, choose(parts, calm, 100.0))
    shares = [allotment_s(100.0, one, [s for s in sweep if s is not one], calm) for one in sweep]
    assert sum(shares) == pytest.approx(100.0)
    noisy = Expectation(CORE, scatter={"hop": 3.0})
    place, hops = next((i, one) for i, one in enumerate(sweep) if one.part.kind == "hops")
    others = [one for one in sweep if one is not hops]
    assert allotment_s(100.0, hops, others, noisy) > shares[place]
    assert allotment_s(0.1, hops, others, calm) == least_s(hops, calm)


def test_starts_come_before_repetitions_but_never_for_the_budget():
    parts = parts_of(TINY)
    sweep = sweep_of(parts, choose(parts, expect(CORE), 100.0))
    once_s = sum(least_s(start, expect(CORE)) for start in sweep)
    counts = [starts_within(share * once_s, sweep, expect(CORE)) for share in (0.2, 1.5, 2.1, 99.0)]
    assert counts == [1, 1, 2, MAX_STARTS]
    assert LEAST_TIMES == 4
