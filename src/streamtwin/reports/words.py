"""How are the numbers of a report worded for people, and what do its terms mean?"""

import math
from collections.abc import Mapping
from types import MappingProxyType

METRICS: Mapping[str, str] = MappingProxyType(
    {
        "fps": "Frames emitted over elapsed time in the steady window.",
        "fps, mean of instantaneous": "Mean of the rates of single chunks; never below fps.",
        "period": "Time between two chunks leaving the pipeline in the steady window.",
        "TTFF": "Time to the first frame: start of the stream to emission of its first chunk.",
        "latency": "Release of a chunk (or its being taken, when input always waits) to emission.",
        "p90, p95, p99": "Percentiles over chunks; - from fewer than 10, 20 and 100 of them.",
        "glass to glass": "Latency counted from the chunk's first frame at the camera.",
        "jitter": "Difference of the latencies of neighbouring chunks.",
        "deadline miss rate": "Chunks emitted after their turn on a playout clock that never waits.",
        "cost of an hour of video": "What all cards cost by the hour, over the hours of video that they "
        "bring out in it; a card costs the same whether it serves or waits.",
        "busy": "Share of the steady window in which the rank's device serves.",
        "spread": "Largest minus smallest of the repeats, over their median.",
        "bound": "What the relative error may be: the larger of 10 % and twice the spread.",
        "critical cycle": "Services and transfers that wait for one another in a circle and so set "
        "the period: anything else may be faster or somewhat slower for nothing.",
        "steady window": "Emissions after warm-up and before the input ends, whole turns of lanes. "
        "Without one, figures are of the whole run and predictions are not judged.",
    }
)

CAUSES: Mapping[str, str] = MappingProxyType(
    {
        "input": "No chunk was there, and the rank, or whoever it waits for in the end, waits for one.",
        "upstream": "Waits for the rank before, and nobody has more to do: too few items are under way.",
        "downstream": "Waits for a lane to return or for room on a link, and nobody has more to do.",
        "communication": "The item it waits for was under way, or the rank it waits for was receiving "
        "and nobody has more to do.",
        "host": "Waits for nobody: what the process does between services.",
        "imbalance": "Whoever it waits for in the end has had work for a whole turn of the lanes: that "
        "rank has more to do.",
        "fill_drain": "The pipeline was filling or running empty, outside the steady window.",
        "rebalancing": "Blocks were changing ranks, here or where it waits for in the end.",
        "recovery": "A rank of its ring had died and was being replaced, or the ring had just gone on.",
        "policy_wait": "A policy held the work back.",
    }
)

_NAMES = {"fps": "fps", "period_s": "period", "ttff_s": "TTFF"}
_LATENCY = "latency_s "


def metric_name(metric: str) -> str:
    """Word the key of a metric: `latency_s p50` is `latency p50`."""
    if metric.startswith(_LATENCY):
        return f"latency {metric.removeprefix(_LATENCY)}"
    return _NAMES.get(metric, metric.replace("_fraction", ""))


def cause_name(cause: str) -> str:
    """Word a cause of idle time: `fill_drain` is `fill and drain`."""
    return {"fill_drain": "fill and drain"}.get(cause, cause.replace("_", " "))


def service_name(service: str) -> str:
    """Word a service: `dit` is `DiT`."""
    return {"dit": "DiT"}.get(service, service)


def quantity(value: float, unit: str) -> str:
    """Word *value* in SI *unit* for people: s as ms, shares as %."""
    if not math.isfinite(value):
        return "n/a"
    if unit == "s":
        return milliseconds(value)
    return share(value) if unit == "1" else f"{value:.2f}"


def unit_name(unit: str) -> str:
    """Name the unit that `quantity` writes *unit* in."""
    return {"s": "ms", "1": "%"}.get(unit, unit)


def milliseconds(seconds: float) -> str:
    """Word *seconds* in ms with about four figures."""
    ms = seconds * 1e3
    digits = 0 if abs(ms) >= 1000 else 1 if abs(ms) >= 10 else 2
    return f"{ms:.{digits}f}"


def share(value: float, *, sign: bool = False) -> str:
    """Word a fraction in %, without the sign of the unit."""
    if not math.isfinite(value):
        return "n/a"
    text = f"{100 * value:+.1f}" if sign else f"{100 * value:.1f}"
    return "0.0" if text in ("-0.0", "+0.0") else text


def verdict(ok: bool | None, reason: str = "") -> str:
    """Word whether a metric is within its bound, and the *reason* why it is not judged."""
    if ok is None:
        return f"not judged: {reason}" if reason else "not judged"
    return "within" if ok else "OUTSIDE"


NO_STEADY_WINDOW = "no steady window"

INTERVALS = "In brackets: where 90 of 100 runs lie, given what the calibration leaves open."

TOO_SHORT = "The run was too short for a steady window: its figures are of the whole run."
