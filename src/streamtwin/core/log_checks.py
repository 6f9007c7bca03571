"""Is a decision log whole, and are two logs of the same scenario?"""

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from streamtwin.core.brief import brief, cut
from streamtwin.core.errors import UserError
from streamtwin.core.log_counts import check_counts
from streamtwin.core.records import Decision, Records
from streamtwin.core.scenario import Scenario

ONLY_REAL = frozenset({"sink"})
"""Families that look at the contents of tensors, which the simulator does not have."""


def scenario_of(records: Records) -> Scenario:
    """The scenario that *records* are of.

    Raises:
        UserError: what stands in the records is none.
    """
    try:
        return Scenario.model_validate(dict(records.info.scenario))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise UserError(
            f"the scenario in the records is none of this version: {where}: {first['msg']}"
        ) from error


def check_whole(records: Records) -> None:
    """Refuse a log in which decisions are missing that the rest of the run proves were made.

    Raises:
        UserError: there is no log, or it has fewer or more decisions of a family than it must.
    """
    if not records.decisions:
        raise UserError("has no decision log: it was not written by `run` or `simulate`")
    check_counts(records, scenario_of(records))


def both_can_make(here: Records, there: Records) -> tuple[list[Decision], list[Decision]]:
    """The decisions of two runs, without those that only one of their executors can make."""
    left_out = frozenset() if here.info.source == there.info.source else ONLY_REAL
    logs = ([one for one in run.decisions if one.family not in left_out] for run in (here, there))
    return next(logs), next(logs)


def check_same_scenario(here: Records, there: Records) -> None:
    """Refuse to compare runs of different scenarios.

    Raises:
        UserError: names the keys in which they differ, with both values.
    """
    ours, theirs = _flat(here.info.scenario), _flat(there.info.scenario)
    unlike = [key for key in {**ours, **theirs} if ours.get(key) != theirs.get(key)]
    # where service times come from, and what is made of the records, decides nothing by itself
    unlike = [key for key in unlike if key.partition(".")[0] not in NOT_THE_RUN]
    if unlike:
        named = [
            f"{cut(key)} = {brief(ours.get(key))} and {brief(theirs.get(key))}"
            for key in unlike[:3]
        ]
        more = f", and {len(unlike) - 3} more" if len(unlike) > 3 else ""
        raise UserError(f"are of different scenarios: {'; '.join(named)}{more}")


NOT_THE_RUN = frozenset(
    {
        "name", "question", "profile", "variants", "service_noise", "extrapolate", "replications",
        "viewer", "prices",
    }
)  # fmt: skip
"""Keys of a scenario that may differ between runs whose decisions are compared."""


def _flat(value: Any, key: str = "") -> dict[str, Any]:  # noqa: ANN401 - a parsed document
    if not isinstance(value, Mapping) or not value:
        return {key: value}
    flat: dict[str, Any] = {}
    for name, inner in value.items():
        flat |= _flat(inner, f"{key}.{name}" if key else str(name))
    return flat
