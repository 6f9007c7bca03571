"""What did each class of sessions get of what it was promised?"""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from streamtwin.core.judged import judged
from streamtwin.core.records import ChunkRecord, Records
from streamtwin.core.scenario import Scenario
from streamtwin.core.session_metrics import latencies_s, percentiles, slack_percentiles, watch
from streamtwin.core.steady import session_window
from streamtwin.core.terms import terms_of_class

Figures = Mapping[str, Any]
Done = Mapping[int, Sequence[ChunkRecord]]


def class_metrics(
    records: Records, scenario: Scenario, sessions: Sequence[Figures], done: Done
) -> list[dict[str, Any]]:
    """Figures of each class over its *sessions*, of which each emitted what *done* has of it.

    Empty where the scenario has no classes. `sessions` counts those that were asked for, `watched`
    those that emitted enough to be measured, `steady` those of them that reached a steady window; the
    figures are of all watched. `fps`, `ttff_s` and
    `continuous_play_ratio` are those of the session that got least, beside the median.
    """
    of_class: dict[str, list[Figures]] = {name: [] for name in scenario.workload.classes}
    every = range(scenario.workload.sessions)
    asked = Counter(scenario.visit(session).session_class for session in every)
    for one in sessions if of_class else ():
        of_class[one["class"]].append(one)
    return [
        {
            "class": name,
            "sessions": asked[name],
            "watched": len(of_class[name]),
            "steady": sum(one["steady_reached"] for one in of_class[name]),
            **_figures(records, scenario, name, of_class[name], done),
        }
        for name in of_class
    ]


def _figures(
    records: Records, scenario: Scenario, name: str, sessions: Sequence[Figures], done: Done
) -> dict[str, Any]:
    if not sessions:
        return {"slo": {}}
    numbers = [one["session"] for one in sessions]
    windows = [(done[one], session_window(records, done[one])) for one in numbers]
    slacks = [slack for one in numbers for slack in watch(done[one], scenario, one).slacks_s]
    viewers = [one["viewer"] for one in sessions]
    chunks = sum(one["chunks"] for one in sessions)
    figures: dict[str, Any] = {
        "fps": min(one["fps"] for one in sessions),
        "fps_median": _median([one["fps"] for one in sessions]),
        "ttff_s": max(one["ttff_s"] for one in sessions),
        "ttff_median_s": _median([one["ttff_s"] for one in sessions]),
        "latency_s": percentiles(np.concatenate([latencies_s(*each) for each in windows])),
        "deadline_miss_rate": sum(one["deadline_miss_rate"] * one["chunks"] for one in sessions)
        / chunks,
        "chunks": chunks,
        "stalls": sum(viewer["stalls"] for viewer in viewers),
        "stall_s": sum(viewer["stall_s"] for viewer in viewers),
        "continuous_play_ratio": min(viewer["continuous_play_ratio"] for viewer in viewers),
        "continuous_play_ratio_median": _median([one["continuous_play_ratio"] for one in viewers]),
        "slack_s": min(slacks, default=0.0),
        "slack_percentiles_s": slack_percentiles(slacks),
    }
    return {**figures, "slo": judged(figures, terms_of_class(scenario, name).slo)}


def _median(values: Sequence[float]) -> float:
    return float(np.median(values))
