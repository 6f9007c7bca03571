"""Runs and rounds of calibration by turns: every deployment alike, none before it can be predicted."""

from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from builders import FlatLatency, make_plan
from streamtwin.calibrate.run import Round
from streamtwin.cli import profiles
from streamtwin.cli.trials import Trials, tried
from streamtwin.core.errors import CalibrationError
from streamtwin.core.plan import Plan
from streamtwin.sim.simulate import simulate

LABELS = ("one", "two", "three")


@dataclass
class Machine:
    """What would run for real: it notes what ran, and simulates instead."""

    ran: list[str]

    def __call__(self, plan: Plan, clip: Any, video: Path, on_emitted: Any) -> Any:
        self.ran.append(video.stem.split("-", 1)[1])
        on_emitted(plan.scenario.all_chunks)
        return SimpleNamespace(records=simulate(plan, FlatLatency()))


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    """Deployments are laid out and predicted on times that are known, not on a profile."""
    monkeypatch.setattr(
        "streamtwin.cli.predict.plan_of", lambda one, _: replace(BASE, scenario=one)
    )
    monkeypatch.setattr("streamtwin.runtime.run.motion_trace", lambda *_: ())
    monkeypatch.setattr(profiles, "latency_of", lambda profile, _: profile)
    monkeypatch.setattr("streamtwin.cli.predict.latency_of", lambda profile, _: profile)
    monkeypatch.setattr("streamtwin.cli.checks.fitted", lambda plan, _: plan)
    return Machine([])


BASE = make_plan(chunks=12)
WANTED = {
    label: BASE.scenario.model_copy(update={"variants": {own: [] for own in LABELS}})
    for label in LABELS
}


def trials_on(machine: Machine, folder: Path, repeats: int = 4) -> Trials:
    clips = dict.fromkeys(LABELS)
    return Trials(WANTED, clips, "cpu", folder, repeats, machine)  # type: ignore[arg-type]


def quiet(_share: float, _text: str) -> None:
    pass


@pytest.mark.parametrize("rounds", [1, 2, 5, 8])
def test_runs_are_spread_over_the_rounds_and_meet_all_alike(
    machine: Machine, tmp_path: Path, rounds: int
) -> None:
    work, after = trials_on(machine, tmp_path), []

    def measured(between: Any) -> FlatLatency:
        for number in range(1, rounds + 1):
            between(Round(FlatLatency, rounds - number), told=quiet)
            after.append(len(machine.ran))
        return FlatLatency()

    found, _ = tried(work, measured)
    assert machine.ran == list(LABELS) * 4
    assert after == [round(12 * number / rounds) for number in range(1, rounds + 1)]
    assert [len(trial.measured) for trial in found] == [4, 4, 4]
    assert {len(trial.predicted.chunks) for trial in found} == {12}


def test_fewer_rounds_than_expected_lose_no_run(machine: Machine, tmp_path: Path) -> None:
    work = trials_on(machine, tmp_path)

    def measured(between: Any) -> FlatLatency:
        between(Round(FlatLatency, 7), told=quiet)
        assert len(machine.ran) < 3
        return FlatLatency()

    tried(work, measured)
    assert machine.ran == list(LABELS) * 4


def test_a_profile_that_is_there_predicts_before_anything_runs(
    machine: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    work, order = trials_on(machine, tmp_path, repeats=1), []
    predict = work.predict
    monkeypatch.setattr(work, "predict", lambda p: (order.append(list(machine.ran)), predict(p))[1])
    tried(work, lambda _between: FlatLatency())
    assert order == [[]]
    assert machine.ran == list(LABELS)


def test_what_cannot_be_predicted_does_not_run(machine: Machine, tmp_path: Path) -> None:
    class Refuses(FlatLatency):
        def predict(self, op: Any) -> Any:
            raise CalibrationError("nothing was measured")

    work = trials_on(machine, tmp_path)
    with pytest.raises(CalibrationError, match="variant 'one': nothing was measured"):
        work.between(Round(Refuses, 3), told=quiet)
    assert machine.ran == []


def test_progress_never_goes_back(machine: Machine, tmp_path: Path) -> None:
    work, told = trials_on(machine, tmp_path), []
    for more in (2, 1, 0):
        work.between(Round(FlatLatency, more), told=lambda share, _: told.append(share))
    assert told == sorted(told)
    assert told[-1] == 1.0
    assert work.over
