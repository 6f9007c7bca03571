"""What do the records amount to? Every figure that is reported, computed once, here."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from streamtwin.core.bubbles import RankTime, rank_times
from streamtwin.core.errors import RunError
from streamtwin.core.intervals import Interval, overlap_s
from streamtwin.core.moved import blocks_at_end, moves_figures
from streamtwin.core.records import SERVICES, ChunkRecord, Records
from streamtwin.core.scenario import Scenario, Slo
from streamtwin.core.scenario_file import check_scenario
from streamtwin.core.viewer import Playback, play

SCHEMA = 1
PERCENTILES = (50, 90, 95, 99)


@dataclass(frozen=True, slots=True)
class Steady:
    """The steady window: chunks `first`..`last` of the emitted ones, both ends as instants.

    `reached` is False for a run too short to have one: the window is then the whole run but for
    its first chunk.
    """

    first: int
    last: int
    interval: Interval
    reached: bool


def emitted_chunks(records: Records) -> list[ChunkRecord]:
    """Emitted chunks in order of emission."""
    done = [chunk for chunk in records.chunks if chunk.emitted_s is not None]
    return sorted(done, key=lambda chunk: (_emitted(chunk), chunk.chunk))


def _emitted(chunk: ChunkRecord) -> float:
    assert chunk.emitted_s is not None
    return chunk.emitted_s


def steady_window(records: Records) -> Steady:
    """From the emission after warm-up to the last before the tail, in whole turns of the lanes.

    Raises:
        RunError: fewer than three chunks were emitted.
    """
    done = emitted_chunks(records)
    if len(done) < 3:
        raise RunError(f"{len(done)} chunks were emitted: no steady period can be measured")
    info = records.info
    first, last = info.warmup_chunks, len(done) - 1 - info.tail_chunks
    lanes = len(info.ranks)
    reached = last - first >= lanes
    if reached:
        last -= (last - first) % lanes
    else:
        first, last = 1, len(done) - 1
    return Steady(first, last, (_emitted(done[first]), _emitted(done[last])), reached)


def compute_metrics(records: Records) -> dict[str, Any]:
    """All metrics of one run, in the layout of `metrics.json`; seconds, bytes, frames/s.

    `fps` is frames over elapsed time in the steady window; `fps_mean_instantaneous` averages
    the rates of single chunks, which is never lower (the reference reports that one).

    Raises:
        RunError: fewer than three chunks were emitted.
    """
    done, steady = emitted_chunks(records), steady_window(records)
    scenario = check_scenario(dict(records.info.scenario), "records")
    frames = np.array([chunk.frames for chunk in done], dtype=float)
    times = np.array([_emitted(chunk) for chunk in done])
    window = slice(steady.first + 1, steady.last + 1)
    gaps_s = np.diff(times)[steady.first : steady.last]
    elapsed_s = times[steady.last] - times[steady.first]
    playback = play(
        times.tolist(),
        [chunk.frames for chunk in done],
        scenario.playout_fps,
        scenario.viewer.start_buffer_chunks,
    )
    metrics: dict[str, Any] = {
        "schema": SCHEMA,
        "source": records.info.source,
        "scenario": scenario.name,
        "fps": float(frames[window].sum() / elapsed_s),
        "fps_mean_instantaneous": _mean_rate(frames[window], gaps_s),
        "period_s": float(elapsed_s / (steady.last - steady.first)),
        "ttff_s": float(times[0]),
        **_latencies(done, steady, scenario),
        "deadline_miss_rate": _miss_rate(times, playback),
        "viewer": _viewer(playback),
        "chunks": _outcomes(records),
        "ranks": [_rank(records, time, steady) for time in rank_times(records, steady.interval)],
        "moves": moves_figures(records),
        "links": _links(records, steady),
        "steady_window_s": list(steady.interval),
        "steady_reached": steady.reached,
        "intervals": {},
        "provenance": dict(records.info.provenance),
    }
    return {**metrics, "slo": _promises(metrics, scenario.slo)}


FPS_TOLERANCE = 0.99
"""Share of the promised frame rate that keeps the promise: a live input's own rate, measured over
a window of some chunks, scatters by that much."""


def _promises(metrics: Mapping[str, Any], slo: Slo) -> dict[str, dict[str, float | bool]]:
    """Every promise of the scenario beside what was found. Latency is judged by its p95."""
    found = {
        "fps": metrics["fps"],
        "ttff_s": metrics["ttff_s"],
        "latency_s": metrics["latency_s"]["p95"],
        "miss_rate": metrics["deadline_miss_rate"],
    }
    promised = slo.model_dump()
    met = {key: value <= promised[key] for key, value in found.items()}
    met["fps"] = found["fps"] >= FPS_TOLERANCE * promised["fps"]
    return {key: {"promised": promised[key], "found": found[key], "met": met[key]} for key in found}


def _mean_rate(frames: np.ndarray, gaps_s: np.ndarray) -> float:
    # chunks of several lanes may come at one instant of virtual time: no rate is left then
    positive = gaps_s > 0
    return float(np.mean(frames[positive] / gaps_s[positive]))


def _latencies(done: list[ChunkRecord], steady: Steady, scenario: Scenario) -> dict[str, Any]:
    window = done[steady.first : steady.last + 1]
    latency_s = np.array([_emitted(chunk) - chunk.released_s for chunk in window])
    source_fps = scenario.workload.source_fps
    # the chunk's first frame is older than its last, on whose release the latency counts
    age_s = 0.0 if source_fps is None else (scenario.shape.frames_of(1) - 1) / source_fps
    return {
        "latency_s": _percentiles(latency_s),
        "glass_to_glass_s": _percentiles(latency_s + age_s),
        "jitter_s": _percentiles(np.abs(np.diff(latency_s))),
    }


def _percentiles(values: np.ndarray) -> dict[str, float]:
    """Percentiles in seconds, and how many values they are of: few have no 99th."""
    named = {f"p{p}": float(np.percentile(values, p)) for p in PERCENTILES}
    return {
        **named,
        "mean": float(values.mean()),
        "max": float(values.max()),
        "count": len(values),
    }


def _miss_rate(times: np.ndarray, playback: Playback) -> float:
    # a microsecond of tolerance: the chunk that starts the clock is due at its own emission
    return float(np.mean(times > np.array(playback.due_s) + 1e-6))


def _viewer(playback: Playback) -> dict[str, float]:
    return {key: value for key, value in asdict(playback).items() if key != "due_s"}


def _outcomes(records: Records) -> dict[str, int]:
    outcomes = [chunk.outcome for chunk in records.chunks]
    return {name: outcomes.count(name) for name in ("emitted", "in_flight", "dropped")}


def _rank(records: Records, time: RankTime, steady: Steady) -> dict[str, Any]:
    info = next(info for info in records.info.ranks if info.rank == time.rank)
    services = [
        (span.began_s, span.ended_s)
        for span in records.spans
        if span.rank == time.rank and span.kind in SERVICES
    ]
    window_s = steady.interval[1] - steady.interval[0]
    return {
        "rank": time.rank,
        "blocks": blocks_at_end(records, info),
        "busy_fraction": overlap_s(services, steady.interval) / window_s,
        "span_s": time.span_s,
        "busy_s": time.busy_s,
        "idle_s": time.idle_s,
        "bubbles": time.seconds_by_cause(),
        "memory_bytes": dict(info.memory_bytes),
    }


def _links(records: Records, steady: Steady) -> list[dict[str, Any]]:
    hops = [span for span in records.spans if span.kind == "hop"]
    window_s = steady.interval[1] - steady.interval[0]
    pairs = sorted({(span.peer, span.rank) for span in hops})
    return [
        {
            "from_rank": peer,
            "to_rank": rank,
            "busy_fraction": overlap_s(
                [(s.began_s, s.ended_s) for s in hops if (s.peer, s.rank) == (peer, rank)],
                steady.interval,
            )
            / window_s,
            "size_bytes": sum(s.size_bytes for s in hops if (s.peer, s.rank) == (peer, rank)),
        }
        for peer, rank in pairs
    ]
