"""What do the records amount to? Every figure that is reported, computed once, here."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from streamtwin.core.bubbles import RankTime, link_times, rank_times
from streamtwin.core.class_metrics import class_metrics
from streamtwin.core.cost import cost_figures
from streamtwin.core.critical import critical_cycle
from streamtwin.core.entry_metrics import entry_metrics
from streamtwin.core.first_frame import warm_first_frame_s
from streamtwin.core.intervals import Interval, overlap_s
from streamtwin.core.judged import judged, strictest
from streamtwin.core.little import in_pipeline
from streamtwin.core.moved import blocks_at_end, moves_figures
from streamtwin.core.records import SERVICES, Records
from streamtwin.core.recovery_metrics import recovery_metrics
from streamtwin.core.replica_metrics import replica_metrics
from streamtwin.core.scenario import Scenario
from streamtwin.core.scenario_file import check_scenario
from streamtwin.core.session_metrics import latencies_s, percentiles, session_metrics
from streamtwin.core.steady import (
    Steady,
    emitted_by_session,
    emitted_chunks,
    session_window,
    steady_window,
    watched_sessions,
)
from streamtwin.core.terms import terms_of

SCHEMA = 1

OUTCOMES = ("emitted", "in_flight", "dropped", "lost")


def compute_metrics(records: Records) -> dict[str, Any]:
    """All metrics of one run, in the layout of `metrics.json`; seconds, bytes, frames/s.

    Of several sessions, `fps`, `ttff_s` and `viewer` are those of the session that got least:
    a promise is kept if it is kept to everybody. `sessions` has the figures of each, `fps_total`
    and `period_s` are of all together.

    Raises:
        RunError: no session emitted three chunks.
    """
    done, steady = emitted_chunks(records), steady_window(records)
    scenario = check_scenario(dict(records.info.scenario), "records")
    by_session = emitted_by_session(records)
    sessions = [
        session_metrics(records, scenario, one, by_session[one])
        for one in watched_sessions(records)
    ]
    slowest = min(sessions, key=lambda one: one["fps"])
    frames = sum(chunk.frames for chunk in done[steady.first + 1 : steady.last + 1])
    elapsed_s = steady.interval[1] - steady.interval[0]
    cycle = critical_cycle(records, scenario, steady)
    metrics: dict[str, Any] = {
        "schema": SCHEMA,
        "source": records.info.source,
        "scenario": scenario.name,
        "fps": slowest["fps"],
        "fps_mean_instantaneous": slowest["fps_mean_instantaneous"],
        "fps_total": frames / elapsed_s,
        "period_s": elapsed_s / (steady.last - steady.first),
        "ttff_s": max(one["ttff_s"] for one in sessions),
        "ttff_warm_s": warm_first_frame_s(records, scenario, steady),
        **_latencies(records, scenario),
        "deadline_miss_rate": _miss_rate(sessions),
        "viewer": min((one["viewer"] for one in sessions), key=_smoothness),
        "sessions": sessions,
        "classes": class_metrics(records, scenario, sessions, by_session),
        "entry": entry_metrics(records, scenario),
        "in_pipeline": in_pipeline(records.chunks, steady.interval),
        "replicas": replica_metrics(records, _alone),
        "chunks": _outcomes(records),
        "recoveries": recovery_metrics(records),
        "ranks": _ranks(records, steady),
        "moves": moves_figures(records),
        "links": _links(records, steady),
        "cost": cost_figures(records, scenario, steady),
        "critical_cycle": None if cycle is None else cycle.figures(),
        "steady_window_s": list(steady.interval),
        "steady_reached": steady.reached,
        "intervals": {},
        "provenance": dict(records.info.provenance),
    }
    return {**metrics, "slo": strictest(metrics["classes"]) or judged(metrics, scenario.slo)}


def _alone(records: Records) -> dict[str, Any]:
    """Metrics of one copy of several: as if it were the only one."""
    scenario = dict(records.info.scenario)
    # its ranks are numbered as if it were alone, those of the trouble through all copies
    scenario |= {"deployment": {**scenario["deployment"], "replicas": 1}, "trouble": {}}
    return compute_metrics(replace(records, info=replace(records.info, scenario=scenario)))


def _latencies(records: Records, scenario: Scenario) -> dict[str, Any]:
    """Percentiles over the chunks of all sessions, each in its own steady window."""
    by_session, watched = emitted_by_session(records), watched_sessions(records)
    each, ages_s = [], []
    for session in watched:
        done = by_session[session]
        each.append(latencies_s(done, session_window(records, done)))
        source_fps = terms_of(scenario, session).source_fps
        # the chunk's first frame is older than its last, on whose release the latency counts
        ages_s.append(0.0 if source_fps is None else (scenario.shape.frames_of(1) - 1) / source_fps)
    latency_s = np.concatenate(each)
    glass_s = np.concatenate([one + age_s for one, age_s in zip(each, ages_s, strict=True)])
    return {
        "latency_s": percentiles(latency_s),
        "glass_to_glass_s": percentiles(glass_s),
        "jitter_s": percentiles(np.concatenate([np.abs(np.diff(one)) for one in each])),
    }


def _miss_rate(sessions: Sequence[Mapping[str, Any]]) -> float:
    """Share of the chunks of all sessions that came late."""
    late = sum(one["deadline_miss_rate"] * one["chunks"] for one in sessions)
    return float(late / sum(one["chunks"] for one in sessions))


def _smoothness(viewer: Mapping[str, float]) -> tuple[float, float]:
    return viewer["continuous_play_ratio"], viewer["slack_s"]


def _outcomes(records: Records) -> dict[str, int]:
    outcomes: list[str] = [chunk.outcome for chunk in records.chunks]
    return {name: outcomes.count(name) for name in OUTCOMES}


def _ranks(records: Records, steady: Steady) -> list[dict[str, Any]]:
    services: dict[int, list[Interval]] = {info.rank: [] for info in records.info.ranks}
    for span in records.spans:
        if span.kind in SERVICES:
            services[span.rank].append((span.began_s, span.ended_s))
    times = rank_times(records, steady.interval)
    return [_rank(records, time, services[time.rank], steady) for time in times]


def _rank(
    records: Records, time: RankTime, services: Sequence[Interval], steady: Steady
) -> dict[str, Any]:
    info = next(info for info in records.info.ranks if info.rank == time.rank)
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
        "capacity_bytes": info.capacity_bytes,
        "most_sessions": info.most_sessions,
    }


def _links(records: Records, steady: Steady) -> list[dict[str, Any]]:
    hops = records.transfers
    window_s = steady.interval[1] - steady.interval[0]
    return [
        {
            "from_rank": time.sender,
            "to_rank": time.receiver,
            "busy_fraction": overlap_s([(s.began_s, s.ended_s) for s in own], steady.interval)
            / window_s,
            "size_bytes": sum(span.size_bytes for span in own),
            "span_s": time.span_s,
            "busy_s": time.busy_s,
            "idle_s": time.idle_s,
            "bubbles": time.seconds_by_cause(),
        }
        for time in link_times(records, steady.interval)
        for own in [[s for s in hops if (s.peer, s.rank) == (time.sender, time.receiver)]]
    ]
