"""Which of many expected runs is most like the others?

Where services scatter, one run has luck, good or bad, and a short one more of it: a reader takes it for
the answer. So some runs that differ in nothing else are simulated, and the one that lies nearest to the
middle of all is told. The mean of all was rejected: no records have it.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from streamtwin.core.latency import LatencyModel
from streamtwin.core.metrics import compute_metrics
from streamtwin.core.motion import Motion
from streamtwin.core.plan import Plan
from streamtwin.sim.replicas import simulate_deployment
from streamtwin.sim.replications import figures_of

MOST, LEAST = 25, 3
"""Runs that are compared; of fewer none is in the middle."""

CHUNKS = 2400
"""Chunks of all of them together, or so: luck is small where a run is long."""

NAMES = ("fps", "latency_s p50", "latency_s p95", "ttff_s")


def typical(plan: Plan, latency: LatencyModel, motion: Sequence[Motion]) -> Plan:
    """*plan* with the luck whose run lies nearest to the middle; as it is where nothing scatters.

    Raises:
        RunError: a run is too short to have figures.
    """
    count = min(MOST, CHUNKS // plan.scenario.all_chunks)
    if count < LEAST:
        return plan
    found = list[list[float]]()
    for luck in range(count):
        records = simulate_deployment(replace(plan, luck=luck), latency, motion, engine="auto")
        if records.info.provenance["noise"].startswith("none"):
            return plan
        figures = figures_of(compute_metrics(records))
        found.append([figures[name] for name in NAMES])
    return replace(plan, luck=nearest_to_middle(np.array(found)))


def nearest_to_middle(runs: NDArray[np.float64]) -> int:
    """Number of the row of *runs* nearest to the medians of all columns, each by its own spread."""
    far = np.abs(runs - np.median(runs, axis=0))
    usual = np.median(far, axis=0)
    return int((far / np.where(usual > 0, usual, 1.0)).sum(axis=1).argmin())
