"""How is every policy of every family brought to decide something, a few runs for all of them?

Run k takes policy number k of each family (of shorter families, counted round), so that a policy
that is added is driven without anybody naming it here. A family that is added has no entry in
`WEIGHED`, and its test fails until somebody says how it is driven.
"""

import pkgutil
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from typing import Any

from builders import FlatLatency
from streamtwin.core import policies
from streamtwin.core.layout import lay_out
from streamtwin.core.partition import Partition
from streamtwin.core.plan import Plan
from streamtwin.core.policies.rebalance import REBALANCE
from streamtwin.core.records import Decision
from streamtwin.core.scenario_file import check_scenario

LATENCY = FlatLatency(encode_s=0.008, block_s=0.004, decode_s=0.012, hop_s=0.001)


def families() -> dict[str, Mapping[str, Callable[..., Any]]]:
    """Each family's dict: that of its module's name, in capitals."""
    names = [found.name for found in pkgutil.iter_modules(policies.__path__)]
    return {
        name: getattr(import_module(f"{policies.__name__}.{name}"), name.upper()) for name in names
    }


EVERY_POLICY = [(family, policy) for family, known in families().items() for policy in known]
SIMULATED_ONLY = "router"
RUNS = max(len(known) for family, known in families().items() if family != SIMULATED_ONLY)


def run_of(family: str, policy: str) -> int:
    """The run in which *policy* decides."""
    # whoever rebalances is also the policy of the first partition
    known = families()["partition" if family == "rebalance" else family]
    return list(known).index(policy)


def _of(family: str, run: int) -> str:
    known = list(families()[family])
    return known[run % len(known)]


def _partition(run: int) -> dict[str, Any]:
    name = _of("partition", run)
    if name not in REBALANCE:
        return {"policy": name, "schedule": {7: [4, 2], 15: [2, 4]}}
    alone = Partition(policy=name).trigger != "never"
    return {"policy": name, "rebalance": None if alone else "continuous", "after_items": 4}


def _entry(run: int, room: int, **line: Any) -> dict[str, Any]:
    name = _of("session_admission", run)
    if name == "accept_all":
        return {}
    return {"policy": name, **({"room": room} if "memory" in name else {}), **line}


def _plan(run: int, workload: Mapping[str, Any], deployment: Mapping[str, Any]) -> Plan:
    data = {
        "resolution": [32, 48],
        "conditioning": {
            "noise": _of("noise", run),
            "sink_refresh": _of("sink", run),
            "sink_threshold": 0.99,
            "rope_refresh": _of("rope", run),
            "rope_threshold": 4,
        },
        "deployment": {
            "gpus": 2,
            "steps": 1,
            "window": 4,
            "sink": 2,
            "batching": {"policy": _of("batching", run), "batch": 2},
            **deployment,
        },
        "workload": {
            "admission": _of("admission", run),
            "dispatch": _of("dispatch", run),
            **workload,
        },
    }
    return lay_out(check_scenario(data, f"run {run}"), lambda: LATENCY)


def crowded(run: int) -> Plan:
    """More sessions than there is room for, and more chunks than can be served: policies choose."""
    prompts = {0: "rain", 6: "snow"}
    joins_s = (0.0, 0.05, 0.1, 0.15, 0.2)
    visits = [
        {"join_s": at_s, "session_class": one, "prompts": prompts}
        for at_s, one in zip(joins_s, ("film", "call", "film", "call", "film"), strict=True)
    ]
    workload = {
        "sessions": len(visits),
        "visits": visits,
        "classes": {
            "call": {"source_fps": 120, "priority": 1, "slo": {"latency_s": 0.3}},
            # whose input always waits: however slow the host is, enough is served to be judged
            "film": {"chunks": 14},
        },
        "chunks": 12,
        "max_waiting": 1,
        "entry": _entry(run, room=3, max_queued=1, full="drop_oldest", patience_s=0.6),
    }
    return _plan(run, workload, {"slowdown": {1: 1.5}, "partition": _partition(run)})


def unhurried(run: int) -> Plan:
    """So much time between any two chunks that both executors see the same at the same instants."""
    period_s, sessions = 0.45, 3
    visits = [{"join_s": period_s * session / sessions} for session in range(sessions)]
    workload = {
        "sessions": sessions,
        "visits": visits,
        "source_fps": 4 / period_s,
        "chunks": 5,
        "entry": _entry(run, room=2),
    }
    # a move by measured times depends on them, one by a schedule does not
    partition = {"policy": _of("partition", run), "rebalance": "never"}
    if partition["policy"] not in REBALANCE:
        partition = _partition(run)
    return _plan(run, workload, {"partition": partition})


def _varied(log: Sequence[Decision]) -> bool:
    return len({decision.chose for decision in log}) > 1


WEIGHED: dict[str, Callable[[Sequence[Decision]], bool]] = {
    "admission": lambda log: any(d.saw["waiting"] >= d.saw["max_waiting"] for d in log),
    "batching": lambda log: any(min(d.saw["room"], d.saw["waiting"]) > 1 for d in log),
    "dispatch": lambda log: any(d.saw["waiting"] > 1 for d in log),
    "noise": lambda log: len({d.saw["motion"] for d in log}) > 3,
    "partition": lambda log: len(log) == 1 and log[0].saw["block_s.0"] > 0,
    "rebalance": lambda log: log[0].saw["blocks.0"] > 1,
    "rope": lambda log: all(d.chose < d.saw["frame"] for d in log),
    "router": _varied,
    "session_admission": _varied,
    "sink": lambda log: any(d.chose != "kept" for d in log),
}
"""By family: whether a log shows that its policy had something to choose from."""

SILENT = {("rope", "never"), ("sink", "never"), ("session_admission", "accept_all")}
"""Policies that change nothing, and so leave nothing in a log."""
