"""What did one viewer get: how many frames a second, how late, how smoothly?"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from streamtwin.core.records import ChunkRecord, Records
from streamtwin.core.scenario import Scenario
from streamtwin.core.sessions import clock_of
from streamtwin.core.steady import Steady, emitted_at, session_window
from streamtwin.core.terms import terms_of
from streamtwin.core.viewer import Playback, play

PERCENTILES = (50, 90, 95, 99)


SLACK_PERCENTILES = (1, 5, 25, 50)
"""Of slack the low ones matter: a viewer notices the chunks that come late."""


def session_metrics(
    records: Records, scenario: Scenario, session: int, done: Sequence[ChunkRecord]
) -> dict[str, Any]:
    """Figures of one session, which emitted *done*, in its own steady window; seconds, frames/s.

    `fps` is frames over elapsed time; `fps_mean_instantaneous` averages the rates of single
    chunks, which is never lower (the reference reports that one). Time in which its camera paused
    does not count as elapsed. `ttff_s` counts from the session's start.
    """
    terms = terms_of(scenario, session)
    steady = session_window(records, done)
    frames = np.array([chunk.frames for chunk in done], dtype=float)
    times = np.array([emitted_at(chunk) for chunk in done])
    window = slice(steady.first + 1, steady.last + 1)
    gaps_s = np.diff(times[window], prepend=steady.interval[0])
    paused_s = idle_s(done, scenario, session)
    if paused_s:
        own_s, paused = frames[window] / terms.playout_fps, paused_s[steady.last]
        gaps_s = active_gaps_s(gaps_s, own_s, paused - paused_s[max(0, steady.first)])
    playback = watch(done, scenario, session)
    return {
        "session": session,
        "class": terms.name,
        "fps": float(frames[window].sum() / gaps_s.sum()),
        "fps_mean_instantaneous": _mean_rate(frames[window], gaps_s),
        "ttff_s": float(times[0]) - scenario.visit(session).join_s,
        "latency_s": percentiles(latencies_s(done, steady)),
        "deadline_miss_rate": float(np.mean(missed(times, playback))),
        "viewer": _viewer(playback),
        "chunks": len(done),
        "steady_reached": steady.reached,
    }


def watch(done: Sequence[ChunkRecord], scenario: Scenario, session: int) -> Playback:
    """What the viewer of *session* sees of the chunks in *done*."""
    terms = terms_of(scenario, session)
    return play(
        [emitted_at(chunk) for chunk in done],
        [chunk.frames for chunk in done],
        terms.playout_fps,
        terms.viewer.start_buffer_chunks,
        terms.viewer.start_buffer_s,
        idle_s(done, scenario, session),
    )


def idle_s(done: Sequence[ChunkRecord], scenario: Scenario, session: int) -> list[float]:
    """Seconds for which the camera of *session* had paused before each chunk; empty: it never does."""
    if not scenario.visit(session).idle:
        return []
    clock = clock_of(scenario, session)
    return [clock.idle_s(chunk.chunk) for chunk in done]


def active_gaps_s(gaps_s: np.ndarray, own_s: np.ndarray, paused_s: float) -> np.ndarray:
    """*gaps_s* between emissions without the *paused_s* seconds for which the camera showed nothing.

    Only what a gap exceeds its chunk's own playing time *own_s* by can be owed to a pause. Which gap
    is owed to which pause cannot be told, since what is in the lanes of a stream batch stays there
    until somebody's camera goes on: the pauses are taken off all gaps in proportion.
    """
    excess_s = np.maximum(0.0, gaps_s - own_s)
    total_s = float(excess_s.sum())
    left: np.ndarray = gaps_s - excess_s * (min(1.0, paused_s / total_s) if total_s else 0.0)
    return left


def latencies_s(done: Sequence[ChunkRecord], steady: Steady) -> np.ndarray:
    """Seconds from release to emission of the chunks in the steady window."""
    window = done[max(0, steady.first) : steady.last + 1]
    return np.array([emitted_at(chunk) - chunk.released_s for chunk in window])


def percentiles(values: np.ndarray) -> dict[str, float]:
    """Percentiles in seconds, and how many values they are of: few have no 99th."""
    named = {f"p{p}": float(np.percentile(values, p)) for p in PERCENTILES}
    return {
        **named,
        "mean": float(values.mean()),
        "max": float(values.max()),
        "count": len(values),
    }


def missed(times: np.ndarray, playback: Playback) -> np.ndarray:
    """Which chunks came after their turn on a playout clock that never stops."""
    # a microsecond of tolerance: the chunk that starts the clock is due at its own emission
    late: np.ndarray = times > np.array(playback.due_s) + 1e-6
    return late


def _mean_rate(frames: np.ndarray, gaps_s: np.ndarray) -> float:
    # chunks of several lanes may come at one instant of virtual time: no rate is left then
    positive = gaps_s > 0
    return float(np.mean(frames[positive] / gaps_s[positive]))


def _viewer(playback: Playback) -> Mapping[str, Any]:
    told = {
        key: value for key, value in asdict(playback).items() if key not in ("due_s", "slacks_s")
    }
    return {**told, "slack_percentiles_s": slack_percentiles(playback.slacks_s)}


def slack_percentiles(slacks_s: Sequence[float]) -> dict[str, float]:
    """Low percentiles of *slacks_s* in seconds; none without a chunk behind the start."""
    if not slacks_s:
        return {}
    return {f"p{p}": float(np.percentile(slacks_s, p)) for p in SLACK_PERCENTILES}
