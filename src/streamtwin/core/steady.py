"""Which items does a stream begin with, and which then repeat for as long as it runs?

Both follow from the plan alone when input always waits, which is what a rank can prepare for
before a clock runs.
"""

from math import gcd

from streamtwin.core.plan import Plan
from streamtwin.core.ring import Item, Ring, Row, first_turns


def period_items(plan: Plan) -> int:
    """Items after which a steady stream touches the same cache slots again.

    Slots rotate with the ring, T' a chunk. Without a stream batch an item carries one row, and
    the W lanes take turns of N steps.
    """
    ring = plan.scenario.attention_window.ring
    turns = ring // gcd(ring, plan.scenario.deployment.chunk_latents)
    return turns if plan.max_rows == plan.steps else turns * plan.steps * plan.ranks


def fill_items(plan: Plan) -> int:
    """Items from the start of a stream until all rows of an item attend the full window."""
    window = plan.scenario.attention_window.frames
    chunks = -(-window // plan.scenario.deployment.chunk_latents)
    lanes = plan.ranks * plan.steps
    return plan.steps + chunks * (1 if plan.max_rows == plan.steps else plan.steps) + lanes


def stream_items(plan: Plan, session: int, count: int) -> list[Item]:
    """The first *count* items of a *session* whose input always waits."""
    items = first_turns(Row(session, 0, 0, 0), plan.steps)
    ring = Ring(plan.ranks, plan.steps, plan.max_rows)
    ordinal, index = 1, 1
    while len(items) < count:
        while ring.due(index):
            ring.returned()
        view = ring.view(index, waiting=1)
        new: tuple[Row, ...] = ()
        if view.entry_free and view.rows < view.max_rows:
            new, ordinal = (Row(session, ordinal, ordinal, 0),), ordinal + 1
        item = ring.compose(index, new)
        if item is not None:
            items.append(item)
            ring.sent(item)
        index += 1
    return items[:count]
