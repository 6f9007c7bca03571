"""Did policies decide alike in several runs, and what is said of it?

Every log is asked again: each policy, on what the log says that it saw, must choose what it chose.
Two logs part where they saw something different, which times alone can bring about.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from streamtwin.core.decision_log import (
    Difference,
    Logged,
    Tally,
    first_difference,
    replayed,
    tallies,
)
from streamtwin.core.log_checks import both_can_make, check_same_scenario, check_whole, scenario_of
from streamtwin.core.records import Records, Source


@dataclass(frozen=True, slots=True)
class AskedAgain:
    """A run's log, asked again; `difference` None: every policy chooses again what it chose."""

    name: str
    source: Source
    decisions: int
    difference: Difference | None


@dataclass(frozen=True, slots=True)
class Beside:
    """Two runs' logs side by side, by family, with where they part.

    `beyond_seconds` is the first difference in more than the instants and durations that were seen.
    """

    names: tuple[str, str]
    lengths: tuple[int, int]
    families: Mapping[str, Tally]
    difference: Difference | None
    beyond_seconds: Difference | None


@dataclass(frozen=True, slots=True)
class Validated:
    """The decisions of one deployment: of the prediction and all real runs, and two side by side."""

    label: str
    again: tuple[AskedAgain, ...]
    side: Beside

    @property
    def ok(self) -> bool:
        """Whether every policy chose again what it had chosen, in every run."""
        return all(one.difference is None for one in self.again)


def asked_again(name: str, records: Records) -> AskedAgain:
    """Ask the policies of the run *name* again.

    Raises:
        UserError: the run has no log, or not all of it.
    """
    check_whole(records)
    found = replayed(scenario_of(records), records.decisions)
    return AskedAgain(name, records.info.source, len(records.decisions), found)


def beside(names: tuple[str, str], here: Records, there: Records) -> Beside:
    """Lay the logs of two runs of one scenario side by side.

    Raises:
        UserError: they are of different scenarios.
    """
    check_same_scenario(here, there)
    ours, theirs = both_can_make(here, there)
    return Beside(
        names,
        (len(ours), len(theirs)),
        tallies(ours, theirs),
        first_difference(ours, theirs),
        first_difference(ours, theirs, seconds=False),
    )


def validated(label: str, predicted: Records, measured: Sequence[Records]) -> Validated:
    """Ask the policies of a prediction and its real runs again; lay it beside the first of these."""
    runs = {"predicted": predicted}
    runs |= {f"measured {number}": run for number, run in enumerate(measured, start=1)}
    names = ("predicted", "measured 1")
    again = tuple(asked_again(name, run) for name, run in runs.items())
    return Validated(label, again, beside(names, predicted, measured[0]))


def difference_document(one: Difference | None) -> dict[str, Any] | None:
    """The difference for programs."""
    if one is None:
        return None
    return {"unlike": one.unlike, "here": _logged(one.here), "there": _logged(one.there)}


def beside_document(one: Beside) -> dict[str, Any]:
    """Two logs side by side, for programs."""
    return {
        "runs": list(one.names),
        "decisions": list(one.lengths),
        "families": {family: asdict(tally) for family, tally in one.families.items()},
        "identical": one.difference is None,
        "difference": difference_document(one.difference),
        "beyond_seconds": difference_document(one.beyond_seconds),
    }


def again_document(one: AskedAgain) -> dict[str, Any]:
    """A log asked again, for programs."""
    return {
        "run": one.name,
        "source": one.source,
        "decisions": one.decisions,
        "identical": one.difference is None,
        "difference": difference_document(one.difference),
    }


def validated_document(found: Sequence[Validated]) -> dict[str, Any]:
    """The decisions of a validation, for programs."""
    return {
        "ok": all(one.ok for one in found),
        "deployments": [
            {
                "label": one.label,
                "replays": [again_document(each) for each in one.again],
                "predicted_and_measured": beside_document(one.side),
            }
            for one in found
        ],
    }


def _logged(one: Logged | None) -> dict[str, Any] | None:
    if one is None:
        return None
    return {"number": one.number, **asdict(one.decision), "saw": dict(one.saw)}
