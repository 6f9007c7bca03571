"""How does a grid become a profile? Start after start of its parts, then fit and write."""

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import accumulate
from pathlib import Path
from typing import Literal

from streamtwin.calibrate.cases import CalibrationRequest
from streamtwin.calibrate.ceilings import card_name, read_ceilings
from streamtwin.calibrate.design import choose
from streamtwin.calibrate.environment import Environment, read_environment, usable_cores
from streamtwin.calibrate.expected import Ceilings, Expectation, expect
from streamtwin.calibrate.grid import Grid, Part, parts_of
from streamtwin.calibrate.harness import Clock, Measurement
from streamtwin.calibrate.journal import Journal, lock, open_journal, partial_folder
from streamtwin.calibrate.launch import Launch, start_ranks
from streamtwin.calibrate.locate import host_profile_name
from streamtwin.calibrate.profile import Profile, make_profile, write_profile
from streamtwin.calibrate.programme import left_out_words
from streamtwin.calibrate.schedule import (
    MAX_STARTS,
    Start,
    allotment_s,
    least_s,
    starts_within,
    sweep_of,
)
from streamtwin.core.errors import CalibrationError, UserError

Progress = Callable[[float, str], None]

DEFAULT_BUDGET_S = 42.0
"""Enough for the smallest model on two cores: about ten rounds of all cases, in two starts."""

CARD_BUDGET_S = 420.0
"""Enough for both Wan models on an H100, and a minute less than they may take."""


@dataclass(frozen=True, slots=True)
class Settings:
    """How a calibration goes about it; the defaults are the real thing.

    *launch* performs a start, *clock* counts the budget; *ceilings* None: those of the device.
    What a stopped calibration left is gone on with, or thrown away if *fresh*; if that cannot be,
    *stale* says whether it is refused or replaced. *say* hears what is worth knowing.
    """

    clock: Clock = time.monotonic
    launch: Launch = start_ranks
    ceilings: Ceilings | None = None
    fresh: bool = False
    stale: Literal["refuse", "replace"] = "refuse"
    on_progress: Progress = lambda _share, _text: None
    say: Callable[[str], None] = lambda _text: None


def default_budget_s(grid: Grid) -> float:
    """Seconds for *grid* when nobody says: for each shape of passes, up to a card's most."""
    sizes = len(
        {
            (one.model, one.resolution, one.window, one.sink, one.chunk_latents)
            for one in grid.requests
        }
    )
    most_s = CARD_BUDGET_S if grid.device != "cpu" else float("inf")
    return min(DEFAULT_BUDGET_S * max(1, sizes) * (1 if grid.device == "cpu" else 3), most_s)


def calibrate(
    asked: CalibrationRequest | Grid,
    *,
    out: Path | None = None,
    budget_s: float = DEFAULT_BUDGET_S,
    settings: Settings = Settings(),
) -> Profile:
    """Measure what *asked* names on this host, fit it, and write it to *out* unless None.

    *budget_s* is the time of measuring by the settings' clock, process starts included, and that
    of a stopped calibration that is gone on with; it is exceeded only where the minimum (see
    `design`) takes longer. On a host with one core only ranks = 1 is measured.

    Raises:
        UserError: a name is unknown, the budget is not positive, or *out* is in use.
        CalibrationError: a stopped calibration is there that cannot be gone on with.
        RunError: a rank process failed; what was measured is kept for the next call.
    """
    if not budget_s > 0:
        raise UserError(f"budget_s = {budget_s}: give a positive number of seconds")
    grid = fitting(asked if isinstance(asked, Grid) else Grid((asked,)))
    parts = parts_of(grid)
    device = card_name(grid.device)
    environment = read_environment(device)
    ceilings = settings.ceilings or read_ceilings(device)
    requests = [asdict(request) for request in grid.requests]
    name = out.name if out else grid_name(grid)
    if out is None:
        journal = Journal(None, environment.key)
        _measure(journal, parts, ceilings, budget_s, settings)
        words = left_out_words(grid, parts, journal.measurements)
        return make_profile(name, environment, requests, journal.measurements, words)
    folder = partial_folder(out)
    handle = lock(folder)
    try:
        journal = _journal(folder, {"requests": requests}, environment, settings)
        _measure(journal, parts, ceilings, budget_s, settings)
        words = left_out_words(grid, parts, journal.measurements)
        profile = make_profile(name, environment, requests, journal.measurements, words)
        write_profile(profile, out)
        journal.remove()
    finally:
        os.close(handle)
    settings.on_progress(1.0, "fitted")
    return profile


def _journal(
    folder: Path, asked: dict[str, object], environment: Environment, settings: Settings
) -> Journal:
    """The journal in *folder*, opened as *settings* want it; says what is gone on with."""
    try:
        journal = open_journal(folder, asked, environment, fresh=settings.fresh)
    except CalibrationError as error:
        if settings.stale == "refuse":
            raise
        settings.say(f"{error}\ncalibrating anew")
        return open_journal(folder, asked, environment, fresh=True)
    for remark in journal.remarks:
        settings.say(remark)
    if journal.starts:
        done = sum(start.done for start in journal.starts)
        settings.say(
            f"going on with a calibration that stopped after {journal.spent_s:.0f} s: "
            f"{done} starts done, {len(journal.measurements)} series of times kept"
        )
    return journal


def grid_name(grid: Grid) -> str:
    """Name of this host's own profile of *grid*: that of its first request, and how many more."""
    first = grid.requests[0]
    name = host_profile_name(first.model, first.vae, first.resolution, first.device)
    more = len(grid.requests) - 1
    return f"{name}-and-{more}-more" if more else name


def fitting(grid: Grid) -> Grid:
    """The grid without numbers of ranks that cannot compute at once on this host."""
    if usable_cores() > 1:
        return grid
    return replace(grid, requests=tuple(replace(r, ranks=(1,)) for r in grid.requests))


def _measure(
    journal: Journal,
    parts: Sequence[Part],
    ceilings: Ceilings,
    budget_s: float,
    settings: Settings,
) -> None:
    """Fill *journal* within *budget_s*: all parts once, then again as often as there is time."""
    began_s, before_s = settings.clock(), journal.spent_s

    def left_s() -> float:
        return budget_s - before_s - (settings.clock() - began_s)

    def run(start: Start, later: Sequence[Start], expectation: Expectation) -> None:
        share_s = allotment_s(left_s(), start, later, expectation)
        _run(start, share_s, (budget_s - left_s(), budget_s), journal, settings)

    for number, part in enumerate(parts):
        expectation = expect(ceilings, journal.measurements)
        choice = choose(parts, expectation, budget_s)
        sweep = sweep_of(parts, choice)
        again = sweep * (starts_within(budget_s, sweep, expectation) - 1)
        cases = journal.missing(0, part.label, choice.of(part))
        if cases and not journal.is_done(0, part.label):
            following = [start for start in sweep if start.part in parts[number + 1 :]]
            run(Start(part, cases), [*following, *again], expectation)
    _measure_again(journal, parts, ceilings, left_s, run)


def _measure_again(
    journal: Journal,
    parts: Sequence[Part],
    ceilings: Ceilings,
    left_s: Callable[[], float],
    run: Callable[[Start, Sequence[Start], Expectation], None],
) -> None:
    """Start what was measured again, part by part, as long as the fewest times still fit."""
    expectation = expect(ceilings, journal.measurements)
    measured = {one.case for one in journal.measurements}
    again = [
        Start(part, cases, number)
        for number in range(1, MAX_STARTS)
        for part in parts
        if (cases := tuple(case for case in part.cases if case in measured))
    ]
    for place, start in enumerate(again):
        sweep, label = start.sweep, start.part.label
        cases = journal.missing(sweep, label, start.cases)
        begun = len(cases) < len(start.cases)
        needed_s = least_s(replace(start, cases=cases), expectation)
        if cases and not journal.is_done(sweep, label) and (begun or left_s() >= needed_s):
            later = _affordable(again[place + 1 :], left_s() - needed_s, expectation)
            run(replace(start, cases=cases), later, expectation)


def _affordable(starts: Sequence[Start], left_s: float, expectation: Expectation) -> list[Start]:
    """The first of *starts* that fit *left_s* together."""
    costs = accumulate(least_s(start, expectation) for start in starts)
    return [start for start, total_s in zip(starts, costs, strict=True) if total_s <= left_s]


def _run(
    start: Start,
    budget_s: float,
    spent: tuple[float, float],
    journal: Journal,
    settings: Settings,
) -> None:
    """Perform one start and keep its times as they come."""
    began_s = settings.clock()
    run = journal.begin(start.sweep, start.part.label)
    text = start.part.label + (f", start {run + 1}" if run else "")
    done_s, all_s = spent

    def hear(said: float | list[Measurement]) -> None:
        if isinstance(said, list):
            journal.take(said, settings.clock() - began_s)
        else:
            settings.on_progress(min(1.0, (done_s + said * budget_s) / all_s), text)

    hear(0.0)
    for measured in settings.launch(start, budget_s, hear):
        journal.take(measured, settings.clock() - began_s)
    journal.end()
