"""Which promises are kept?"""

from collections.abc import Mapping, Sequence
from typing import Any

from streamtwin.core.promises import Slo

FPS_TOLERANCE = 0.99
"""Share of the promised frame rate that keeps the promise: a live input's own rate, measured over
a window of some chunks, scatters by that much."""

Verdicts = dict[str, dict[str, float | bool]]


def judged(figures: Mapping[str, Any], slo: Slo) -> Verdicts:
    """Every promise of *slo* beside what was found. Latency is judged by its p95."""
    found = {
        "fps": figures["fps"],
        "ttff_s": figures["ttff_s"],
        "latency_s": figures["latency_s"]["p95"],
        "miss_rate": figures["deadline_miss_rate"],
    }
    promised = slo.model_dump()
    met = {key: value <= promised[key] for key, value in found.items()}
    met["fps"] = found["fps"] >= FPS_TOLERANCE * promised["fps"]
    return {key: {"promised": promised[key], "found": found[key], "met": met[key]} for key in found}


def strictest(classes: Sequence[Mapping[str, Any]]) -> Verdicts:
    """Of each promise the class that comes off worst: broken rather than kept, then by the ratio."""
    verdicts = [one["slo"] for one in classes if one["slo"]]
    if not verdicts:
        return {}
    return {key: min((one[key] for one in verdicts), key=_order(key)) for key in verdicts[0]}


def _order(key: str) -> Any:  # noqa: ANN401 - a sort key
    def order(verdict: Mapping[str, float | bool]) -> tuple[bool, float]:
        ratio = float(verdict["found"]) / max(1e-12, float(verdict["promised"]))
        return bool(verdict["met"]), ratio if key == "fps" else -ratio

    return order
