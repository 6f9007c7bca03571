"""Simulated logs in which policies have something to choose from, and how they are changed by hand."""

from dataclasses import replace
from typing import Any

from builders import FlatLatency, make_plan
from streamtwin.core.records import Decision, Records
from streamtwin.sim.replicas import simulate_deployment

CROWDED: dict[str, Any] = {
    "gpus": 2,
    "sessions": 4,
    "chunks": 12,
    "classes": {"call": {"priority": 1, "source_fps": 50}, "film": {"source_fps": 30}},
    "dispatch": "priority",
    "admission": "drop_oldest",
    "max_waiting": 1,
    "batching": {"batch": 2},
}


def run(**changes: Any) -> Records:
    return simulate_deployment(make_plan(**{**CROWDED, **changes}), FlatLatency())


def index_of(records: Records, family: str, nth: int = 0) -> int:
    return [i for i, d in enumerate(records.decisions) if d.family == family][nth]


def changed(records: Records, index: int, **fields: Any) -> list[Decision]:
    log = list(records.decisions)
    log[index] = replace(log[index], **fields)
    return log
