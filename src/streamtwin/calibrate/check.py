"""Does a profile still hold on this machine? Measure a little of it again and compare.

A part is one fit at one size: a model, VAE or link at a resolution and a number of ranks. Of each,
three cases of the planner's minimum are timed again in a start of their own. The ratio of now to then
has an interval from the scatter of the times and from how far starts differ among each other.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from streamtwin.calibrate.accelerator import card_count
from streamtwin.calibrate.beside import BESIDE
from streamtwin.calibrate.cases import CalibrationRequest, Case
from streamtwin.calibrate.ceilings import card_name, read_ceilings
from streamtwin.calibrate.compare import Verdict, compare
from streamtwin.calibrate.design import choose
from streamtwin.calibrate.environment import Environment, read_environment
from streamtwin.calibrate.expected import Expectation, expect
from streamtwin.calibrate.grid import Grid, parts_of, resolution_text
from streamtwin.calibrate.journal import Journal
from streamtwin.calibrate.profile import Profile
from streamtwin.calibrate.run import Settings
from streamtwin.calibrate.samples import group_of
from streamtwin.calibrate.schedule import Start, allotment_s
from streamtwin.core.errors import CalibrationError

CHECK_S = 15.0
"""Seconds that checking takes on a CPU; on a card each start takes as long, see `expected`."""


@dataclass(frozen=True, slots=True)
class Check:
    """What differs between there and here, a verdict a part, and how to mend what does not hold."""

    differences: tuple[str, ...]
    verdicts: tuple[Verdict, ...]
    remedy: str | None


def check(profile: Profile, settings: Settings = Settings(), budget_s: float = CHECK_S) -> Check:  # noqa: B008
    """Measure a little of *profile* again, within about *budget_s* seconds.

    Raises:
        CalibrationError: it was not measured, or on another device.
        RunError: a rank process failed.
    """
    device = card_name(profile.device) if profile.device != "cpu" else None
    here = read_environment(device)
    check_device_of(profile, here)
    ceilings = settings.ceilings or read_ceilings(device)
    expectation = expect(ceilings, profile.measurements)
    starts = subset(profile, expectation)
    journal = Journal(None, here.key)
    began_s = settings.clock()
    for place, start in enumerate(starts):
        left_s = budget_s - (settings.clock() - began_s)
        share_s = allotment_s(left_s, start, starts[place + 1 :], expectation)
        settings.on_progress(place / len(starts), start.part.label)
        journal.begin(0, start.part.label)
        for measured in settings.launch(start, share_s, lambda _said: None):
            journal.take(measured, settings.clock() - began_s)
        journal.end()
    settings.on_progress(1.0, "checked")
    verdicts = compare(profile.measurements, journal.measurements, starts)
    return Check(
        tuple(profile.environment.differences(here)), verdicts, _remedy(profile, starts, verdicts)
    )


def check_measured(profile: Profile) -> None:
    """Refuse a profile without times to compare with.

    Raises:
        CalibrationError: says of which kind it is, and what to do.
    """
    if profile.provenance.kind != "measured" or not profile.measurements:
        raise CalibrationError(
            f"profile {profile.name} is {profile.provenance.kind}, not measured: it has no times "
            "to compare with; `streamtwin calibrate` measures this machine"
        )


def check_device_of(profile: Profile, here: Environment) -> None:
    """Refuse a profile of another device: it can tell nothing about this one.

    Raises:
        CalibrationError: names both devices, and what to do.
    """
    check_measured(profile)
    there = profile.environment
    if there.device != here.device:
        raise CalibrationError(
            f"profile {profile.name} is of {there.device}, this is {here.device}: it says nothing "
            "about this machine; `streamtwin calibrate` measures it"
        )


def subset(profile: Profile, expectation: Expectation) -> list[Start]:
    """For each start, of the minimum of each of its fits, cases spread over their durations."""
    stored = {one.case for one in profile.measurements}
    starts = []
    for part in parts_of(Grid(requests_of(profile), cards=card_count(profile.device))):
        fitted = [case for case in part.cases if case in stored and case.tag not in BESIDE]
        known = replace(part, cases=tuple(fitted))
        if not known.cases:
            continue
        choice = choose([known], expectation, float("inf"))
        needed = choice.chosen[: choice.minimum]
        cases = tuple(
            case
            for group in dict.fromkeys(map(group_of, needed))
            for case in _spread([c for c in needed if group_of(c) == group], expectation)
        )
        starts.append(Start(part, cases))
    return starts


def _spread(cases: Sequence[Case], expectation: Expectation) -> list[Case]:
    """The shortest, the longest and one between: floors and rates both show."""
    ordered = sorted(cases, key=expectation.case_s)
    last = len(ordered) - 1
    return [ordered[place] for place in sorted({0, (last + 1) // 2, last})]


def requests_of(profile: Profile) -> tuple[CalibrationRequest, ...]:
    """The requests that *profile* answers, as they were made."""

    def thawed(value: Any) -> Any:  # noqa: ANN401 - a value of a file
        return tuple(value) if isinstance(value, list) else value

    try:
        return tuple(
            CalibrationRequest(**{name: thawed(value) for name, value in request.items()})
            for request in profile.requests
        )
    except TypeError as error:
        raise CalibrationError(f"profile {profile.name}: requests: {error}") from error


def _remedy(profile: Profile, starts: Sequence[Start], verdicts: Sequence[Verdict]) -> str | None:
    """The cheapest command that measures anew what does not hold, at all of its ranks."""
    failed = {verdict.part for verdict in verdicts if not verdict.holds}
    parts = [start.part for start in starts if start.part.label in failed]
    if not parts:
        return None
    options: dict[str, Sequence[str | int]] = {
        "model": [part.request.model for part in parts],
        "vae": [part.request.vae for part in parts],
        "resolution": [resolution_text(part.request.resolution) for part in parts],
        "ranks": sorted(profile.ranks),
        "device": [profile.device],
    }
    words = [f"--{name} {v}" for name, values in options.items() for v in dict.fromkeys(values)]
    return f"streamtwin calibrate {' '.join(words)}"
