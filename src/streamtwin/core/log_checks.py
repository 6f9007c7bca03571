"""Is a decision log whole, and are two logs of the same scenario?"""

from collections import Counter
from collections.abc import Mapping
from math import inf
from typing import Any

from pydantic import ValidationError

from streamtwin.core.errors import UserError
from streamtwin.core.records import Decision, Records
from streamtwin.core.recovery import FAMILY as TROUBLE
from streamtwin.core.restarts import restart_at
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
    """Refuse a log in which decisions are missing that the run's chunks prove were made.

    Every chunk that the camera released was admitted or dropped, every one that was taken was
    chosen, every one that came out was mixed with noise, and positions restart where they must.

    Raises:
        UserError: there is no log, or it has fewer or more decisions of a family than it must.
    """
    if not records.decisions:
        raise UserError("has no decision log: it was not written by `run` or `simulate`")
    scenario = scenario_of(records)
    taken = [chunk for chunk in records.chunks if chunk.taken_s is not None]
    emitted = sum(chunk.outcome == "emitted" for chunk in taken)
    by_session = Counter(chunk.session for chunk in taken)
    restarts = sum(
        restart_at(scenario, ordinal) is not None
        for chunks in by_session.values()
        for ordinal in range(chunks)
    )
    found = Counter(one.family for one in records.decisions)
    deaths = [one for one in records.decisions if one.family == TROUBLE and one.chose == "died"]
    again = int(sum(one.saw["chunks_again"] for one in deaths))
    least_and_most: dict[str, tuple[float, float]] = {
        "partition": (1, scenario.deployment.replicas),
        "admission": (len(records.chunks),) * 2,
        "dispatch": (len(taken) + again,) * 2,
        "noise": (emitted, len(taken) + again),
        # behind a death positions begin again, which chunks do not tell
        "rope": (0, inf) if deaths else (restarts,) * 2,
    }
    for family, (least, most) in least_and_most.items():
        if not least <= found[family] <= most:
            raise UserError(
                f"its decision log has {found[family]} decisions of family {family!r}, and its "
                f"{len(records.chunks)} chunks, {len(taken)} of them taken, ask for {least:g}: the log "
                "is truncated or damaged"
            )


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
        named = [f"{key} = {ours.get(key)!r} and {theirs.get(key)!r}" for key in unlike[:3]]
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
