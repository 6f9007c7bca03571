"""How is every variant predicted, and run for real?"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from streamtwin.cli.naming import of_variant
from streamtwin.cli.output import progress
from streamtwin.core.records import Records
from streamtwin.core.scenario import Scenario

if TYPE_CHECKING:
    from streamtwin.calibrate.profile import Profile
    from streamtwin.calibrate.run import Round
    from streamtwin.cli.profiles import Between, Told
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


class Trials:
    """Deployments that are predicted, and run *repeats* times each, by turns."""

    def __init__(
        self,
        variants: Mapping[str, Scenario],
        clips: Mapping[str, "Clip"],
        device: str,
        folder: Path,
        repeats: int,
        pipeline: "Callable[..., RealRun]",
    ) -> None:
        self.variants, self.clips, self.device, self.pipeline = variants, clips, device, pipeline
        self.videos = {
            label: folder / f"{number}-{slug(label)}.mp4"
            for number, label in enumerate(variants, 1)
        }
        self.plans: dict[str, Plan] = {}
        self.measured: dict[str, list[Records]] = {label: [] for label in variants}
        self._turns = [(repeat, label) for repeat in range(repeats) for label in variants]
        self._next, self._repeats, self._rounds = 0, repeats, 0

    @property
    def over(self) -> bool:
        """Whether all runs are done."""
        return self._next == len(self._turns)

    def lay_out(self, profile: "Profile") -> None:
        """Lay out every deployment on what *profile* knows.

        Raises:
            StreamtwinError: one of them does not fit; says which.
        """
        from streamtwin.cli.checks import fitted  # noqa: PLC0415
        from streamtwin.cli.predict import plan_of  # noqa: PLC0415

        for label, one in self.variants.items():
            with of_variant(label, one):
                self.plans[label] = fitted(plan_of(one, profile), self.device)

    def predict(self, profile: "Profile") -> list[Trial]:
        """Predict every deployment on what *profile* knows: it has seen none of the runs.

        Raises:
            StreamtwinError: one of them cannot be predicted; says which.
        """
        from streamtwin.cli.predict import predict, typical_plan  # noqa: PLC0415
        from streamtwin.runtime.run import motion_trace  # noqa: PLC0415

        trials = []
        for label, plan in self.plans.items():
            clip = self.clips[label]
            with of_variant(label, plan.scenario):
                motion = motion_trace(clip, plan)
                told = typical_plan(plan, profile, motion)
                records, metrics = predict(told, profile, motion)
            trials.append(Trial(label, plan, clip, records, metrics, self.measured[label]))
        return trials

    def between(self, after: "Round", *, told: "Told") -> None:
        """Run as large a share of all runs as rounds of calibration are over, behind one of them.

        Behind the first one every deployment is laid out, and tried in simulation: what cannot be
        predicted must not run for minutes first.

        Raises:
            StreamtwinError: one of them cannot be predicted or run; says which.
        """
        self._rounds += 1
        if not self.plans:
            profile = after.profile()
            self.lay_out(profile)
            self._try(profile)
        self.run(self._rounds / (self._rounds + after.more), told)

    def run(self, share: float, told: "Told") -> None:
        """Run until at least that *share* of all runs is done, by turns, so that drift meets all alike.

        Raises:
            StreamtwinError: a run stopped before its end; says of which variant.
        """
        count = len(self._turns)
        while self._next < round(share * count):
            repeat, label = self._turns[self._next]
            plan = self.plans[label]
            text = f"running {label}, {repeat + 1} of {self._repeats}"

            def on_emitted(
                chunks: float, text: str = text, all_: int = plan.scenario.all_chunks
            ) -> None:
                told((self._next + chunks / all_) / count, text)

            with of_variant(label, plan.scenario):
                done = self.pipeline(
                    plan, self.clips[label], self.videos[label], on_emitted=on_emitted
                )
            self.measured[label].append(done.records)
            self._next += 1

    def _try(self, profile: "Profile") -> None:
        from streamtwin.cli.profiles import latency_of  # noqa: PLC0415
        from streamtwin.runtime.run import motion_trace  # noqa: PLC0415
        from streamtwin.sim.replicas import simulate_deployment  # noqa: PLC0415

        for label, plan in self.plans.items():
            with of_variant(label, plan.scenario):
                latency = latency_of(profile, plan.scenario)
                simulate_deployment(plan, latency, motion_trace(self.clips[label], plan))


def tried(
    trials: Trials, profile_of: "Callable[[Between], Profile]"
) -> "tuple[list[Trial], Profile]":
    """Predict and run all of *trials* on the profile that *profile_of* gives.

    Where it measures, runs and measuring go by turns, so that both meet the same minutes of a host
    that others share; a profile that is there is predicted on first.
    """
    profile = profile_of(trials.between)
    known = not trials.plans
    if known:
        trials.lay_out(profile)
        before = trials.predict(profile)
    if not trials.over:
        with progress("running", 1.0) as bar:
            trials.run(1.0, bar.at)
    return before if known else trials.predict(profile), profile


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
