"""How does a long stream go on once its turns are alike, without a walk through each?

A short walk writes a tape (`sim.tape`). Where two stretches of it are the same steps, some chunks
apart, the stream repeats that stretch until its input ends. So each step gives a row of instants, one
of each repetition, and which of two instants is the later tends to repeat too. Supposing that it does,
rows follow from rows (`sim.rows`). Then every step is done once more on whole rows: an instant follows
from earlier ones only, so rows that this leaves as they are, are what a walk would give, to the last
bit. Where it does not, the next stretches are gone through step by step, and it is tried again.
"""

from collections.abc import Sequence

import numpy as np

from streamtwin.core.latency import LatencyModel
from streamtwin.core.plan import Plan
from streamtwin.sim.costs import full_from
from streamtwin.sim.maxplus import Course, Releases
from streamtwin.sim.repeat import Repeater, Stretch
from streamtwin.sim.tape import Noted, NotedWalk, Step


def leap_each(
    plans: Sequence[Plan], latencies: Sequence[LatencyModel], live: Releases | None
) -> Course | None:
    """The course of *plans* of one shape, each by itself; None: they had better walk together.

    Raises:
        RunError: ranks wait for each other.
    """
    short, _ = short_walk(plans[0])
    if 2 * short * len(plans) > plans[0].scenario.chunks:
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
    short, apart = short_walk(plan)
    noted = NotedWalk(plan, latency, live, short).noted()
    found = stretch_of(noted, full_from(plan), apart)
    return None if found is None else Repeater(plan, live, noted, found).course()


def short_walk(plan: Plan) -> tuple[int, int]:
    """Chunks of a walk that shows how *plan* repeats itself and how it ends; after how many it does.

    In a stream batch every turn takes a chunk in, else each lane does in one of its N turns.
    """
    apart = 1 if plan.scenario.deployment.stream_batch else plan.lanes
    under_way = plan.lanes * (plan.steps + 1)
    short = full_from(plan) + under_way + 3 * apart
    return short + (plan.scenario.chunks - short) % apart, apart


def stretch_of(noted: Noted, full: int, apart: int) -> Stretch | None:
    """The first stretch that comes again at once, *apart* chunks further; None: there is none.

    It begins behind chunk number *full*, from where on rows are alike.
    """
    steps, ends = noted.tape.steps, [place + 1 for place in noted.emitted]
    for chunk in range(full, len(ends) - 2 * apart):
        first, second, third = ends[chunk], ends[chunk + apart], ends[chunk + 2 * apart]
        found = Stretch(first, tuple(map(Step._make, steps[first:second])), apart)
        if found.later(1) == steps[second:third]:
            return found
    return None
