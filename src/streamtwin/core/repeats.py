"""Which passes will sessions repeat once their windows are full and their input always waits?

Follows from the plan alone, so a rank can run them before the clock starts. "Repeat" is meant as
memory sees it: the same sessions' rows at the same steps. Which slots they write is no matter.
"""

from collections.abc import Iterator, Sequence
from itertools import combinations, islice, product

from streamtwin.core.plan import Plan
from streamtwin.core.ring import Item, Row

Standing = tuple[tuple[int, int], ...]
"""Session and step of each row of an item."""


def steady_items(plan: Plan, sessions: Sequence[int], limit: int) -> list[Item]:
    """An item for each way in which full lanes can hold rows of *sessions*, *limit* at most.

    All rows are late enough to attend the full window. They carry chunk number 0, and with it the
    sessions' first prompts.
    """
    late = 1 + plan.scenario.deployment.window
    return [
        Item(late, tuple(Row(session, 0, late, step) for session, step in standing))
        for standing in islice(_standings(plan, sessions, limit), limit)
    ]


def _standings(plan: Plan, sessions: Sequence[int], limit: int) -> Iterator[Standing]:
    deployment = plan.scenario.deployment
    for served in _served(plan, sessions):
        count = min(deployment.batching.batch, len(served))
        groups = list(islice(combinations(served, count), limit))
        steps = range(plan.steps)
        # a stream batch has chunks at every step, each entered with a group of its own
        ways: Iterator[tuple[tuple[int, tuple[int, ...]], ...]] = (
            (tuple(enumerate(way)) for way in product(groups, repeat=plan.steps))
            if deployment.stream_batch
            else (((step, group),) for step, group in product(steps, groups))
        )
        for way in ways:
            yield tuple(sorted((session, step) for step, group in way for session in group))


def _served(plan: Plan, sessions: Sequence[int]) -> list[list[int]]:
    """Sessions whose chunks may stand together in a lane."""
    if plan.scenario.deployment.lanes == "time":
        return [list(sessions)] if sessions else []
    lanes = [[one for one in sessions if one % plan.lanes == lane] for lane in range(plan.lanes)]
    return [lane for lane in lanes if lane]
