"""How did each copy of the pipeline fare? Its figures, from the records of all together."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from streamtwin.core.errors import RunError
from streamtwin.core.records import Records

FIGURES = ("fps", "fps_total", "period_s", "ttff_s", "latency_s", "deadline_miss_rate")


def replicas_of(records: Records) -> int:
    """Copies of the pipeline that *records* are of."""
    return int(records.info.scenario.get("deployment", {}).get("replicas", 1))


def replica_records(records: Records, replica: int) -> Records:
    """What copy number *replica* did, its ranks counted from 0."""
    width = len(records.info.ranks) // replicas_of(records)
    first = replica * width
    own = range(first, first + width)
    sessions = {
        one.session for one in records.decisions if one.family == "router" and one.chose == replica
    }
    return Records(
        replace(
            records.info,
            ranks=tuple(
                replace(one, rank=one.rank - first) for one in records.info.ranks if one.rank in own
            ),
        ),
        tuple(
            replace(one, rank=one.rank - first, peer=one.peer - first if one.peer >= 0 else -1)
            for one in records.spans
            if one.rank in own
        ),
        tuple(one for one in records.chunks if one.session in sessions),
        tuple(
            replace(one, rank=one.rank - first)
            for one in records.decisions
            if one.rank in own and one.family != "router"
        ),
    )


def replica_metrics(
    records: Records, compute: Callable[[Records], Mapping[str, Any]]
) -> list[dict[str, Any]]:
    """Figures of every copy by *compute*; of one that emitted too little, its sessions only."""
    if replicas_of(records) == 1:
        return []
    return [_figures(records, replica, compute) for replica in range(replicas_of(records))]


def _figures(
    records: Records, replica: int, compute: Callable[[Records], Mapping[str, Any]]
) -> dict[str, Any]:
    own = replica_records(records, replica)
    sessions = sorted({chunk.session for chunk in own.chunks})
    about: dict[str, Any] = {"replica": replica, "sessions": sessions}
    try:
        found = compute(own) if sessions else {}
    except RunError:
        found = {}
    busy = [rank["busy_fraction"] for rank in found.get("ranks", [])]
    return {**about, **{key: found.get(key) for key in FIGURES}, "busy_fraction": busy}
