"""What does the twin say of a scenario, and how sure is it?"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from streamtwin.cli.fleet import capacities, card_names
from streamtwin.cli.output import progress, remark
from streamtwin.cli.profiles import itemsize_of, latency_of, lazily
from streamtwin.core.entrance import check_room
from streamtwin.core.errors import RunError, ScenarioError
from streamtwin.core.layout import lay_out
from streamtwin.core.library import clip_path
from streamtwin.core.memory import with_room
from streamtwin.core.metrics import compute_metrics
from streamtwin.core.plan import Plan
from streamtwin.core.records import Records
from streamtwin.core.scenario import Scenario
from streamtwin.core.session_room import with_session_room

if TYPE_CHECKING:
    from streamtwin.calibrate.profile import Profile
    from streamtwin.core.motion import Motion
    from streamtwin.runtime.video import Clip
    from streamtwin.sim.engines import Engine


LONG = 2000
"""Chunks from which on simulating them several times is long work."""


def read_clip(scenario: Scenario, path: Path | None) -> "Clip":
    """The input video at the scenario's resolution; the shipped clip when none is given."""
    from streamtwin.runtime.video import read_frames  # noqa: PLC0415

    height, width = scenario.resolution
    return read_frames(path or clip_path(), height, width)


def remark_on(clip: "Clip", scenario: Scenario) -> None:
    """Say what of *clip* the run will not show as it was recorded, and which prompts not at all."""
    fed = scenario.workload.source_fps
    if fed is not None and abs(fed - clip.fps) > 0.5:
        remark(f"{clip.path}: recorded at {clip.fps:.3g} frames/s, fed at {fed:.3g} frames/s")
    if clip.corrupt:
        remark(f"{clip.path}: {clip.corrupt} corrupt packets or frames were left out")
    has, asked = len(clip.frames), scenario.shape.last_frame(scenario.chunks - 1) + 1
    if asked > has:
        remark(
            f"{clip.path}: has {has} frames, the scenario asks for {asked}: "
            "it is played back and forth"
        )
    for session, visit in enumerate(scenario.workload.visits):
        late = [str(chunk) for chunk in visit.prompts if chunk >= scenario.chunks_of(session)]
        if late:
            remark(
                f"workload.visits.{session}.prompts: session {session} ends with chunk "
                f"{scenario.chunks_of(session) - 1}, so what is said from chunk "
                f"{', '.join(late)} on never holds"
            )


def plan_of(scenario: Scenario, profile: "Profile") -> Plan:
    """Lay *scenario* out on what *profile* knows."""
    plan = lay_out(scenario, lazily(profile, scenario), itemsize_of(profile))
    plan = replace(plan, cards=card_names(scenario, profile))
    capacity_bytes = capacities(scenario, profile)
    if capacity_bytes:
        known = with_session_room(replace(plan, capacity_bytes=capacity_bytes), capacity_bytes)
        plan = with_room(known, capacity_bytes)
    check_room(plan)
    return plan


def typical_plan(plan: Plan, profile: "Profile", motion: Sequence["Motion"]) -> Plan:
    """*plan* with such luck as most runs have: see `sim.typical`."""
    from streamtwin.sim.typical import typical  # noqa: PLC0415

    with long_enough(plan):
        return typical(plan, latency_of(profile, plan.scenario), motion)


def predict(
    plan: Plan, profile: "Profile", motion: Sequence["Motion"], engine: "Engine" = "simpy"
) -> tuple[Records, dict[str, Any]]:
    """Simulate *plan*: its records, and its metrics with the intervals that calibration allows."""
    from streamtwin.sim.replicas import simulate_deployment  # noqa: PLC0415
    from streamtwin.sim.replications import figures_of  # noqa: PLC0415
    from streamtwin.sim.uncertainty import DRAWS, calibration_intervals  # noqa: PLC0415

    latency = latency_of(profile, plan.scenario)
    records = simulate_deployment(plan, latency, motion, engine=engine)
    with long_enough(plan):
        metrics = compute_metrics(records)
        with watched(plan, DRAWS) as done:
            told = calibration_intervals(plan, latency, motion, figures_of(metrics), done)
        metrics["intervals"] = told
    return records, metrics


@contextmanager
def watched(plan: Plan, draws: int) -> Iterator[Callable[[], None]]:
    """What to call behind each of *draws* simulations; shows progress where they take long."""
    if plan.scenario.all_chunks < LONG:
        yield lambda: None
        return
    with progress("how sure that is", draws) as bar:
        yield bar.step


@contextmanager
def long_enough(plan: Plan) -> Iterator[None]:
    """Say what helps where a simulated run is too short to have figures."""
    try:
        yield
    except RunError as error:
        raise ScenarioError(f"{plan.scenario.name}: {error}; lengthen workload.chunks") from error
