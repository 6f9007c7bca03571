"""How is every variant predicted before any runs, and then run for real?"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from streamtwin.cli.naming import of_variant
from streamtwin.cli.output import progress
from streamtwin.core.records import Records
from streamtwin.core.scenario import Scenario

if TYPE_CHECKING:
    from streamtwin.calibrate.profile import Profile
    from streamtwin.core.plan import Plan
    from streamtwin.reports.comparison import DeploymentComparison
    from streamtwin.runtime.run import RealRun
    from streamtwin.runtime.video import Clip


@dataclass(slots=True)
class Trial:
    """One deployment: what was predicted before, and the real runs of it."""

    label: str
    plan: "Plan"
    clip: "Clip"
    predicted: Records
    metrics: dict[str, Any]
    measured: list[Records]


def trials_of(
    variants: Mapping[str, Scenario],
    profile: "Profile",
    clips: Mapping[str, "Clip"],
    device: str,
) -> list[Trial]:
    """Lay out all *variants* on *device*, and predict each on what *profile* knows.

    Raises:
        StreamtwinError: one of them does not fit or cannot be predicted; says which.
    """
    from streamtwin.cli.checks import fitted  # noqa: PLC0415
    from streamtwin.cli.predict import plan_of, predict  # noqa: PLC0415
    from streamtwin.runtime.run import motion_trace  # noqa: PLC0415

    plans, trials = [], []
    for label, one in variants.items():
        with of_variant(label, one):
            plans.append(fitted(plan_of(one, profile), device))
    for label, plan in zip(variants, plans, strict=True):
        clip = clips[label]
        with of_variant(label, plan.scenario):
            records, metrics = predict(plan, profile, motion_trace(clip, plan))
        trials.append(Trial(label, plan, clip, records, metrics, []))
    return trials


def run_all(
    trials: Sequence[Trial], folder: Path, repeats: int, pipeline: "Callable[..., RealRun]"
) -> Path:
    """Run every deployment *repeats* times, by turns, so that drift meets all of them alike.

    Returns the first one's video.

    Raises:
        StreamtwinError: a run stopped before its end; says of which variant.
    """
    videos = [folder / f"{index + 1}-{slug(t.label)}.mp4" for index, t in enumerate(trials)]
    with progress("running", repeats * sum(t.plan.scenario.all_chunks for t in trials)) as bar:
        before = 0
        for repeat in range(repeats):
            for trial, video in zip(trials, videos, strict=True):
                text = f"running {trial.label}, {repeat + 1} of {repeats}"
                told = bar.beyond(before, text)
                with of_variant(trial.label, trial.plan.scenario):
                    done = pipeline(trial.plan, trial.clip, video, on_emitted=told)
                trial.measured.append(done.records)
                before += trial.plan.scenario.all_chunks
    return videos[0]


def compared(trial: Trial) -> "DeploymentComparison":
    """How far the real runs of *trial* are from what was predicted.

    Raises:
        StreamtwinError: a run is too short to have figures; says of which variant.
    """
    from streamtwin.reports.comparison import compare_runs  # noqa: PLC0415

    scenario = trial.plan.scenario
    overrides = scenario.variants.get(trial.label, ())
    with of_variant(trial.label, scenario):
        return compare_runs(trial.label, overrides, trial.predicted, trial.measured)


def slug(label: str) -> str:
    """*label* as part of a file name."""
    words = "".join(c.lower() if c.isalnum() else " " for c in label).split()
    return "-".join(words) or "run"
