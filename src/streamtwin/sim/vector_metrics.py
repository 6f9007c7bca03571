"""Which figures follow from when chunks were taken and came out? Those of `core.metrics`, at once."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from streamtwin.core.errors import RunError
from streamtwin.core.plan import Plan
from streamtwin.core.steady import ENOUGH, whole_turns
from streamtwin.core.viewer import start_chunk
from streamtwin.sim.maxplus import Course, Releases
from streamtwin.sim.vector_costs import Instants


@dataclass(frozen=True, slots=True)
class Figures:
    """What a deployment does, in seconds and frames/s: see `core.metrics.compute_metrics`."""

    fps: float
    period_s: float
    ttff_s: float
    latency_p50_s: float
    latency_p95_s: float
    latency_p99_s: float
    latency_max_s: float
    deadline_miss_rate: float
    steady_reached: bool

    @property
    def by_name(self) -> dict[str, float]:
        """Those that runs are compared by: see `sim.replications.figures_of`."""
        return {
            "fps": self.fps,
            "period_s": self.period_s,
            "ttff_s": self.ttff_s,
            "latency_s p50": self.latency_p50_s,
            "latency_s p95": self.latency_p95_s,
            "deadline_miss_rate": self.deadline_miss_rate,
        }


def figures_of_metrics(metrics: Mapping[str, Any]) -> Figures:
    """The same figures out of all *metrics* of a run."""
    latency = metrics["latency_s"]
    return Figures(
        fps=metrics["fps"],
        period_s=metrics["period_s"],
        ttff_s=metrics["ttff_s"],
        latency_p50_s=latency["p50"],
        latency_p95_s=latency["p95"],
        latency_p99_s=latency["p99"],
        latency_max_s=latency["max"],
        deadline_miss_rate=metrics["deadline_miss_rate"],
        steady_reached=metrics["steady_reached"],
    )


AT_ONCE = 128
"""Deployments whose instants are judged together: sorting them takes several times their memory."""


def figures_of(plans: Sequence[Plan], course: Course, live: Releases | None) -> list[Figures]:
    """Figures of *plans* of one shape, whose chunks went the way of *course*.

    Raises:
        RunError: fewer than three chunks were emitted.
    """
    plan, chunks = plans[0], len(course.emitted_s)
    if chunks < ENOUGH:
        raise RunError(f"{chunks} chunks were emitted: no steady period can be measured")
    first, last, _ = _steady(plan, chunks)
    figures: list[Figures] = []
    for begin in range(0, len(plans), AT_ONCE):
        part = slice(begin, begin + AT_ONCE)
        if live is None:
            assert course.released_s is not None
            released = course.released_s[first : last + 1, part]
        else:
            released = live.of(range(first, last + 1), part)
        figures += _part(plans[part], course.emitted_s[:, part], released)
    return figures


def _part(plans: Sequence[Plan], emitted_s: Instants, released_s: Instants) -> list[Figures]:
    """Figures of some *plans*, chunks of whose steady window were released at *released_s*."""
    plan, chunks = plans[0], len(emitted_s)
    first, last, reached = _steady(plan, chunks)
    elapsed_s = emitted_s[last] - emitted_s[first]
    frames = _frames(plan, chunks)
    latency_s = emitted_s[first : last + 1] - released_s
    p50, p95, p99 = np.percentile(latency_s, (50, 95, 99), axis=0)
    columns = (
        frames[first + 1 : last + 1].sum() / elapsed_s,
        elapsed_s / (last - first),
        emitted_s[0],
        *(p50, p95, p99, latency_s.max(axis=0)),
        np.count_nonzero(_missed(plans, emitted_s, frames), axis=0) / chunks,
    )
    last_column = np.full(len(plans), reached, dtype=object)
    return [Figures(*row) for row in zip(*(c.tolist() for c in columns), last_column, strict=True)]


def _frames(plan: Plan, chunks: int) -> NDArray[np.int64]:
    """Pixel frames of each of the first *chunks* chunks: all but the first have as many."""
    shape = plan.scenario.shape
    frames = np.full(chunks, shape.frames_of(1))
    frames[0] = shape.frames_of(0)
    return frames


def _steady(plan: Plan, chunks: int) -> tuple[int, int, bool]:
    """The steady window of `core.steady.session_window`, as numbers of chunks."""
    first, last = plan.warmup_chunks, chunks - 1 - plan.tail_chunks
    if last - first < plan.lanes:
        return 1, chunks - 1, False
    return first, whole_turns(first, last, plan.lanes), True


def _missed(plans: Sequence[Plan], emitted_s: Instants, frames: np.ndarray) -> np.ndarray:
    """Which chunks came after their turn: see `core.viewer.play` and `session_metrics.missed`."""
    each = [(plan.scenario.playout_fps, plan.scenario.viewer) for plan in plans]
    starts = [
        start_chunk(frames, fps, viewer.start_buffer_chunks, viewer.start_buffer_s)
        for fps, viewer in each
    ]
    rates = np.array([fps for fps, _ in each])
    due_s = np.empty_like(emitted_s)
    due_s[0] = emitted_s[starts, np.arange(len(plans))]
    due_s[1:2], due_s[2:] = frames[0] / rates, frames[-1] / rates
    np.cumsum(due_s, axis=0, out=due_s)
    late: np.ndarray = emitted_s > due_s + 1e-6
    return late
