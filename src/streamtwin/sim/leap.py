"""How does a long stream go on once its turns are alike, without a walk through each?

A short walk writes a tape, until it stands as it stood before (`sim.noted`); from there the stream
repeats what it did in between until its input ends. So each step gives a row of instants, one
of each repetition, and which of two instants is the later tends to repeat too. Supposing that it does,
rows follow from rows (`sim.rows`), and are then held against what they rest on: an instant follows
from earlier ones only, so rows that keep to every step are what a walk would give, to the last
bit. Where they do not, the next stretches are gone through step by step, and it is tried again.
"""

from collections.abc import Sequence

import numpy as np

from streamtwin.core.latency import LatencyModel
from streamtwin.core.plan import Plan
from streamtwin.sim.collector import collector_at_rest
from streamtwin.sim.costs import full_from
from streamtwin.sim.maxplus import Course, Releases
from streamtwin.sim.noted import Noted, NotedWalk, Stretch, chunks_apart
from streamtwin.sim.repeat import Repeater


def leap_each(
    plans: Sequence[Plan], latencies: Sequence[LatencyModel], live: Releases | None
) -> Course | None:
    """The course of *plans* of one shape, each by itself; None: they had better walk together.

    Raises:
        RunError: ranks wait for each other.
    """
    if 2 * short_walk(plans[0]) * len(plans) > plans[0].scenario.chunks:
        return None
    own = [live and Releases(live.shape, live.fps[i : i + 1]) for i in range(len(plans))]
    found = [leap(*one) for one in zip(plans, latencies, own, strict=True)]
    each = [course for course in found if course is not None]
    if len(each) < len(plans):
        return None
    taken_s = [course.released_s for course in each if course.released_s is not None]
    emitted_s = np.hstack([course.emitted_s for course in each])
    return Course(emitted_s, np.hstack(taken_s) if taken_s else None)


def leap(plan: Plan, latency: LatencyModel, live: Releases | None) -> Course | None:
    """The course of *plan*; None if a short walk of it repeats nothing.

    Raises:
        RunError: ranks wait for each other.
    """
    most = min(2 * short_walk(plan), plan.scenario.chunks)
    with collector_at_rest():
        noted = NotedWalk(plan, latency, live, most).noted()
        found = stretch_of(noted)
        return None if found is None else Repeater(plan, live, noted, found).course()


def short_walk(plan: Plan) -> int:
    """Chunks that a walk of *plan* takes about until it repeats itself.

    So many are under way when the first chunk comes out that attends a full window.
    """
    batch = plan.scenario.deployment.stream_batch
    under_way = plan.lanes * (plan.steps if batch else 1)
    return full_from(plan) + under_way + 3 * chunks_apart(plan)


def stretch_of(noted: Noted) -> Stretch | None:
    """The stretch of a walk that is repeated; None: there is none."""
    return noted.again
