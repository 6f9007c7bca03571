"""Which items does a stream begin with, and from where on do they repeat?

Both follow from the plan alone while input always waits, which is what a rank can rehearse before
a clock runs. "Repeat" is meant as the cache sees it: the same KV rows, the same slots.
"""

from math import gcd

from streamtwin.core.plan import Plan
from streamtwin.core.ring import Item, Row, first_turns


def opening_items(plan: Plan, session: int) -> list[Item]:
    """Items of a *session* from its first chunk on, until every way in which they repeat was shown.

    That is until all rows attend the full window, and then one turn of the slots.
    """
    window = plan.scenario.attention_window
    chunk_latents = plan.scenario.deployment.chunk_latents
    # the first chunk has a latent more
    filled = -(-(window.frames - 1) // chunk_latents) - 1
    turn = window.ring // gcd(window.ring, chunk_latents)
    if plan.max_rows == plan.steps:
        count = plan.ranks * (plan.steps - 1) + filled + turn - 1
    else:
        # a lane keeps its chunk for N turns, and W chunks go side by side
        rounds = -(-filled // plan.ranks) + turn
        count = rounds * plan.steps * plan.ranks
    first = first_turns(Row(session, 0, 0, 0), plan.steps)
    return first + [_item(plan, session, index) for index in range(1, count + 1)]


def _item(plan: Plan, session: int, index: int) -> Item:
    """Item number *index*, which extends the one W before it."""
    if plan.max_rows == plan.steps:
        placed = [(index - step * plan.ranks, step) for step in range(plan.steps)]
    else:
        turn, lane = divmod(index - 1, plan.ranks)
        placed = [(turn // plan.steps * plan.ranks + lane + 1, turn % plan.steps)]
    rows = (Row(session, ordinal, ordinal, step) for ordinal, step in placed if ordinal > 0)
    return Item(index, tuple(rows))
