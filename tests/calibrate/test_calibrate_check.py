"""Does a profile still hold? A fresh one does, and a part that became slower does not."""

from dataclasses import replace
from functools import cache

import pytest
from grid_cases import CORE, TINY, TWO_SIZES, Host, on

from streamtwin.calibrate import check as checks
from streamtwin.calibrate import run
from streamtwin.calibrate.check import check, subset
from streamtwin.calibrate.expected import expect
from streamtwin.calibrate.run import Settings, calibrate
from streamtwin.calibrate.samples import group_of
from streamtwin.core.errors import CalibrationError
from streamtwin.core.latency import Provenance
from streamtwin.core.ops import DitPass


@pytest.fixture(autouse=True)
def two_cores(monkeypatch):
    monkeypatch.setattr(run, "usable_cores", lambda: 2)


@cache
def made(grid):
    return calibrate(grid, budget_s=60.0, settings=on(Host(), Settings()))


@pytest.fixture(params=[TINY, TWO_SIZES], ids=["one size", "two sizes"])
def profile(request):
    return made(request.param)


def checked(profile, factor=lambda case: 1.0, budget_s=15.0):
    host = Host(factor, seed=7)
    return check(profile, on(host, Settings()), budget_s), host


def test_a_fresh_profile_holds(profile):
    found, _ = checked(profile)
    assert found.differences == ()
    assert [one for one in found.verdicts if not one.holds] == []
    assert {one.words for one in found.verdicts} == {"holds"}
    assert found.remedy is None
    assert all(one.low <= one.ratio <= one.high for one in found.verdicts)
    assert all(one.ratio == pytest.approx(1.0, abs=0.03) for one in found.verdicts)


def test_every_part_is_checked_with_few_cases(profile):
    stored = {(*group_of(one.case), size_of(one.case.op)) for one in profile.measurements}
    found, host = checked(profile)
    families = {(one.family, one.subject, one.ranks) for one in found.verdicts}
    assert families == {key[:3] for key in stored}
    coded = {(one.family, one.resolution) for one in found.verdicts}
    assert {
        ("encode", size_of(o.case.op)) for o in profile.measurements if size_of(o.case.op)
    } <= coded
    assert len(set(host.timed)) <= 3 * len(found.verdicts)
    assert len(set(host.timed)) < 0.5 * len({one.case for one in profile.measurements})


def size_of(op):
    return f"{op.height}x{op.width}" if hasattr(op, "height") else ""


@pytest.mark.parametrize(
    "slower",
    [
        lambda case: isinstance(case.op, DitPass),
        lambda case: group_of(case)[0] == "decode",
        lambda case: group_of(case)[0] == "hop",
    ],
    ids=["passes", "decoding", "hops"],
)
def test_a_part_that_is_a_fifth_slower_does_not_hold(profile, slower):
    found, _ = checked(profile, lambda case: 1.2 if slower(case) else 1.0)
    families = {one.case: group_of(one.case)[0] for one in profile.measurements}
    expected = {family for case, family in families.items() if slower(case)}
    assert {one.family for one in found.verdicts if not one.holds} == expected
    assert all(not one.holds for one in found.verdicts if one.family in expected)
    assert found.remedy.startswith(
        "streamtwin calibrate --model tiny --vae tiny --resolution 32x48"
    )


def test_blocks_that_became_slower_show_though_short_passes_did_not(profile):
    """The subset has long passes: what a card computes slower is not hidden by what it launches."""
    slow = lambda case: 1.5 if isinstance(case.op, DitPass) and case.op.blocks else 1.0  # noqa: E731
    found, host = checked(profile, slow)
    assert {one.family for one in found.verdicts if not one.holds} == {"dit"}
    blocks = {case.op.blocks for case in host.timed if isinstance(case.op, DitPass)}
    assert max(blocks) == 6


def test_the_remedy_names_what_failed_and_no_more():
    profile = made(TWO_SIZES)
    large = lambda case: 1.3 if size_of(case.op) == "64x64" else 1.0  # noqa: E731
    found, _ = checked(profile, large)
    assert found.remedy == (
        "streamtwin calibrate --model tiny --vae tiny --resolution 64x64 --ranks 1 --ranks 2 --device cpu"
    )


def test_checking_takes_about_its_budget(profile):
    _, host = checked(profile, budget_s=15.0)
    assert host.now_s < 17.0


def test_starts_that_differ_widen_the_interval(monkeypatch):
    """The second of three starts was a third slower: so may this one be."""
    calm = made(TINY)
    shaken = replace(
        calm,
        measurements=tuple(
            replace(one, times=tuple(1.33 * time for time in one.times)) if one.run == 1 else one
            for one in calm.measurements
        ),
    )
    widths = [
        {(v.family, v.ranks): v.high / v.low for v in checked(each)[0].verdicts}
        for each in (calm, shaken)
    ]
    assert all(widths[1][key] > 1.1 * widths[0][key] for key in widths[0])


def test_times_that_scatter_so_much_that_they_say_nothing_are_not_called_good():
    host = Host(spread=0.9, start_s=5.0, seed=7)
    found = check(made(TINY), on(host, Settings()), 1.0)
    assert "cannot tell" in {one.words for one in found.verdicts}


def test_other_software_is_listed_first_and_another_device_refused(monkeypatch):
    profile = made(TINY)
    here = profile.environment
    monkeypatch.setattr(checks, "read_environment", lambda _: replace(here, torch="9.9"))
    found, _ = checked(profile)
    assert found.differences == (f"torch = {here.torch!r} (here '9.9')",)
    monkeypatch.setattr(checks, "read_environment", lambda _: replace(here, device="NVIDIA H100"))
    with pytest.raises(CalibrationError, match=r"is of .*, this is NVIDIA H100"):
        checked(profile)


def test_a_profile_that_was_not_measured_cannot_be_checked():
    profile = made(TINY)
    published = replace(profile, provenance=Provenance("published", "a paper", "2025-11-10"))
    with pytest.raises(CalibrationError, match="is published, not measured"):
        checked(published)


def test_the_subset_is_the_same_every_time(profile):
    expectation = expect(CORE, profile.measurements)
    assert subset(profile, expectation) == subset(profile, expectation)
