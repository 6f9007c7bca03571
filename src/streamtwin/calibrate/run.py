"""How does a grid become a profile? Start after start of its parts, then fit and write."""

import os
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Literal

from streamtwin.calibrate.cases import CalibrationRequest
from streamtwin.calibrate.ceilings import card_name, read_ceilings
from streamtwin.calibrate.environment import Environment, read_environment, usable_cores
from streamtwin.calibrate.expected import Ceilings
from streamtwin.calibrate.grid import Grid, parts_of
from streamtwin.calibrate.harness import Clock
from streamtwin.calibrate.journal import Journal, lock, open_journal, partial_folder
from streamtwin.calibrate.launch import Launch, start_ranks
from streamtwin.calibrate.locate import host_profile_name
from streamtwin.calibrate.measuring import Measuring, Progress
from streamtwin.calibrate.profile import Profile, make_profile, write_profile
from streamtwin.calibrate.programme import left_out_words
from streamtwin.core.errors import CalibrationError, UserError

DEFAULT_BUDGET_S = 42.0
"""Enough for the smallest model on two cores: about ten rounds of all cases, in two starts."""

CARD_BUDGET_S = 420.0
"""Enough for both Wan models on an H100, and a minute less than they may take."""


@dataclass(frozen=True, slots=True)
class Round:
    """A round of starts is over: `more` are expected, and `profile` fits the times so far."""

    profile: Callable[[], Profile]
    more: int


@dataclass(frozen=True, slots=True)
class Settings:
    """How a calibration goes about it; the defaults are the real thing.

    *launch* performs a start, *clock* counts the budget; *ceilings* None: those of the device.
    What a stopped calibration left is gone on with, or thrown away if *fresh*; if that cannot be,
    *stale* says whether it is refused or replaced. *say* hears what is worth knowing. *between* is
    called behind every round of starts: its time does not count, so that other work may be done in
    the same minutes.
    """

    clock: Clock = time.monotonic
    launch: Launch = start_ranks
    ceilings: Ceilings | None = None
    fresh: bool = False
    stale: Literal["refuse", "replace"] = "refuse"
    on_progress: Progress = lambda _share, _text: None
    say: Callable[[str], None] = lambda _text: None
    between: Callable[[Round], None] = lambda _round: None


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
    device = card_name(grid.device)
    environment = read_environment(device)
    ceilings = settings.ceilings or read_ceilings(device)
    name = out.name if out else grid_name(grid)
    if out is None:
        journal = Journal(None, environment.key)
        return _measure(journal, name, environment, grid, ceilings, budget_s, settings)
    folder = partial_folder(out)
    handle = lock(folder)
    try:
        asked_for: dict[str, object] = {"requests": [asdict(one) for one in grid.requests]}
        journal = _journal(folder, asked_for, environment, settings)
        profile = _measure(journal, name, environment, grid, ceilings, budget_s, settings)
        write_profile(profile, out)
        journal.remove()
    finally:
        os.close(handle)
    settings.on_progress(1.0, "fitted")
    return profile


def _measure(
    journal: Journal,
    name: str,
    environment: Environment,
    grid: Grid,
    ceilings: Ceilings,
    budget_s: float,
    settings: Settings,
) -> Profile:
    """Fill *journal* within *budget_s*, and fit what it holds."""
    parts = parts_of(grid)

    def made() -> Profile:
        words = left_out_words(grid, parts, journal.measurements)
        requests = [asdict(request) for request in grid.requests]
        return make_profile(name, environment, requests, journal.measurements, words)

    measuring = Measuring(
        journal, parts, ceilings, budget_s, settings.clock, settings.launch, settings.on_progress
    )
    for more in measuring.rounds():
        settings.between(Round(made, more))
    return made()


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
