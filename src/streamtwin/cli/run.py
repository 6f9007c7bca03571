"""`streamtwin run`: the real pipeline, from video to video."""

from pathlib import Path
from typing import TYPE_CHECKING

from streamtwin.cli.options import (
    DeviceOption,
    InputOption,
    JsonOption,
    OutOption,
    ScenarioArgument,
    SetOption,
)
from streamtwin.cli.options import overrides as given
from streamtwin.cli.output import progress, remark, result_folder, show
from streamtwin.core.plan import Plan
from streamtwin.core.scenario import Scenario

if TYPE_CHECKING:
    from streamtwin.runtime.run import RealRun
    from streamtwin.runtime.video import Clip


def run(
    scenario: ScenarioArgument,
    overrides: SetOption = None,
    video: InputOption = None,
    out: OutOption = None,
    as_json: JsonOption = False,
    device: DeviceOption = "cpu",
) -> None:
    """Run SCENARIO for real, one process a rank, and write the video that it makes."""
    from streamtwin.cli.checks import check_can_run  # noqa: PLC0415
    from streamtwin.cli.predict import read_clip  # noqa: PLC0415
    from streamtwin.cli.save import save_records, save_run  # noqa: PLC0415
    from streamtwin.core.library import find_scenario  # noqa: PLC0415
    from streamtwin.core.metrics import compute_metrics  # noqa: PLC0415
    from streamtwin.reports.tables import metrics_tables  # noqa: PLC0415

    asked = find_scenario(scenario, given(overrides))
    clip = read_clip(asked, video)
    check_can_run(asked, device)
    fed = asked.workload.source_fps
    if fed is not None and abs(fed - clip.fps) > 0.5:
        remark(f"{clip.path}: recorded at {clip.fps:.3g} frames/s, fed at {fed:.3g} frames/s")
    if clip.corrupt:
        remark(f"{clip.path}: {clip.corrupt} corrupt packets or frames were left out")
    plan = plan_to_run(asked, device)
    folder = result_folder(out, asked.name, "run")
    done = run_once(plan, clip, folder / "out.mp4", device)
    save_records(folder, done.records)
    metrics = compute_metrics(done.records)
    page = save_run(folder, done.records, metrics, None)
    show(metrics, metrics_tables(metrics), as_json)
    remark(f"report: {page}")
    for path, frames in done.frames_by_video.items():
        remark(f"video:  {path} ({frames} frames)")


def plan_to_run(scenario: Scenario, device: str) -> Plan:
    """Lay *scenario* out; only a policy that weighs predicted times needs a profile for it."""
    from streamtwin.cli.profiles import latency_of, profile_of  # noqa: PLC0415
    from streamtwin.core.plan import lay_out  # noqa: PLC0415

    return lay_out(
        scenario,
        lambda: latency_of(profile_of(scenario, device=device), scenario),
        itemsize=4 if device == "cpu" else 2,
    )


def run_once(plan: Plan, clip: "Clip", video: Path, device: str) -> "RealRun":
    """Run *plan* once with a progress bar."""
    from streamtwin.calibrate.environment import read_environment  # noqa: PLC0415
    from streamtwin.cli.profiles import device_name  # noqa: PLC0415
    from streamtwin.runtime.run import run_pipeline  # noqa: PLC0415

    here = read_environment(device_name(device))
    where = {"host": f"{here.host}, {here.device}", "date": here.date}
    with progress(f"running on {plan.ranks} rank(s)", plan.scenario.all_chunks) as bar:
        return run_pipeline(plan, clip, video, device=device, environment=where, on_emitted=bar.at)
