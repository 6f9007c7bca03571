"""`streamtwin run`: the real pipeline, from video to video."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from streamtwin.cli.checks import check_hang_timeout
from streamtwin.cli.options import (
    DeviceOption,
    HangOption,
    InputOption,
    JsonOption,
    OutOption,
    ScenarioArgument,
    SetOption,
)
from streamtwin.cli.options import overrides as given
from streamtwin.cli.output import progress, remark, result_folder, show
from streamtwin.cli.predict import remark_on
from streamtwin.cli.seated import find_seat, run_seated
from streamtwin.core.limits import HANG_TIMEOUT_S
from streamtwin.core.plan import Plan
from streamtwin.core.scenario import Scenario

if TYPE_CHECKING:
    from streamtwin.runtime.crew import Crew
    from streamtwin.runtime.run import RealRun
    from streamtwin.runtime.seat import Seat
    from streamtwin.runtime.video import Clip

    Pipeline = Callable[..., RealRun]


def run(
    scenario: ScenarioArgument,
    overrides: SetOption = None,
    video: InputOption = None,
    out: OutOption = None,
    as_json: JsonOption = False,
    device: DeviceOption = "cpu",
    hang_timeout_s: HangOption = HANG_TIMEOUT_S,
) -> None:
    """Run SCENARIO for real, one process a rank, and write the video that it makes.

    It starts the ranks itself. Started by torchrun, each process is one of them.
    """
    from streamtwin.runtime.run import run_pipeline  # noqa: PLC0415

    check_hang_timeout(hang_timeout_s)
    seat = find_seat()
    asked = Asked(scenario, given(overrides), video, out, as_json, device, hang_timeout_s)
    if seat is None:
        run_with(asked, run_pipeline)
        return

    def lead(crew: "Crew") -> None:
        from streamtwin.runtime.crew_run import lead_crew  # noqa: PLC0415

        run_with(asked, partial(lead_crew, crew), crew.seat)

    run_seated(seat, hang_timeout_s, lead)


@dataclass(frozen=True, slots=True)
class Asked:
    """The command line."""

    scenario: str
    overrides: tuple[str, ...]
    video: Path | None
    out: Path | None
    as_json: bool
    device: str
    hang_timeout_s: float


def run_with(asked: Asked, pipeline: "Pipeline", seat: "Seat | None" = None) -> None:
    """Run what was *asked* with *pipeline*, and write and show what came of it."""
    from streamtwin.cli.checks import check_can_run, fitted  # noqa: PLC0415
    from streamtwin.cli.predict import read_clip  # noqa: PLC0415
    from streamtwin.cli.save import save_records, save_run  # noqa: PLC0415
    from streamtwin.cli.seated import check_world  # noqa: PLC0415
    from streamtwin.core.library import find_scenario  # noqa: PLC0415
    from streamtwin.core.metrics import compute_metrics  # noqa: PLC0415
    from streamtwin.reports.tables import metrics_tables  # noqa: PLC0415

    scenario, device = find_scenario(asked.scenario, asked.overrides), asked.device
    if seat is not None:
        check_world(scenario, seat)
    clip = read_clip(scenario, asked.video)
    check_can_run(scenario, device, None if seat is None else seat.local_ranks)
    remark_on(clip, scenario)
    ranks_here = None if seat is None else seat.local_ranks
    plan = fitted(plan_to_run(scenario, device), device, ranks_here)
    folder = result_folder(asked.out, scenario.name, "run")
    done = run_once(plan, clip, folder / "out.mp4", asked, pipeline)
    save_records(folder, done.records)
    metrics = compute_metrics(done.records)
    page = save_run(folder, done.records, metrics, None)
    show(metrics, metrics_tables(metrics), asked.as_json)
    remark(f"report: {page}")
    for path, frames in done.frames_by_video.items():
        remark(f"video:  {path} ({frames} frames)")


def plan_to_run(scenario: Scenario, device: str) -> Plan:
    """Lay *scenario* out; only a policy that weighs predicted times needs a profile for it."""
    from streamtwin.cli.fleet import cards_called  # noqa: PLC0415
    from streamtwin.cli.profiles import device_name, latency_of, profile_of  # noqa: PLC0415
    from streamtwin.core.layout import lay_out  # noqa: PLC0415

    plan = lay_out(
        scenario,
        lambda: latency_of(profile_of(scenario, device=device), scenario),
        itemsize=4 if device == "cpu" else 2,
    )
    return replace(plan, cards=cards_called(device_name(device), plan.ranks))


def run_once(
    plan: Plan, clip: "Clip", video: Path, asked: Asked, pipeline: "Pipeline"
) -> "RealRun":
    """Run *plan* once with a progress bar."""
    from streamtwin.calibrate.environment import read_environment  # noqa: PLC0415
    from streamtwin.cli.profiles import device_name  # noqa: PLC0415
    from streamtwin.cli.save import run_environment  # noqa: PLC0415

    here = read_environment(device_name(asked.device))
    where = run_environment(here)
    with progress(f"running on {plan.ranks} rank(s)", plan.scenario.all_chunks) as bar:
        return pipeline(
            plan,
            clip,
            video,
            device=asked.device,
            environment=where,
            on_emitted=bar.at,
            hang_timeout_s=asked.hang_timeout_s,
        )
