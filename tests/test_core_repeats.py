"""What a rank rehearses is what the ring will ask of it."""

import pytest

from builders import make_plan
from streamtwin.core.repeats import opening_items
from streamtwin.core.ring import Item, Ring, Row, first_turns


def from_the_ring(plan, count):
    """The first *count* items of a stream whose input always waits, as the ring composes them."""
    items = first_turns(Row(0, 0, 0, 0), plan.steps)
    ring, ordinal, index = Ring(plan.ranks, plan.steps, plan.max_rows), 1, 1
    while len(items) < count:
        while ring.due(index):
            ring.returned()
        view, new = ring.view(index, waiting=1), ()
        if view.entry_free and view.rows < view.max_rows:
            new, ordinal = (Row(0, ordinal, ordinal, 0),), ordinal + 1
        item = ring.compose(index, new)
        assert item is not None
        items.append(item)
        ring.sent(item)
        index += 1
    return items


def touched(plan, item: Item):
    """KV rows and slots that the item writes, and how much of the window its rows attend."""
    shape, window = plan.scenario.shape, plan.scenario.attention_window
    return tuple(
        (
            row.step,
            tuple(
                window.slot(shape.first_latent(row.ordinal) + i)
                for i in range(shape.latents_of(row.ordinal))
            ),
            window.filled(shape.first_latent(row.ordinal) + shape.latents_of(row.ordinal) - 1),
        )
        for row in item.rows
    )


PLANS = [
    {"gpus": gpus, "steps": steps, "stream_batch": batch, "chunk_latents": latents}
    for gpus in (1, 2, 4)
    for steps in (1, 2, 4)
    for batch in (True, False)
    for latents in (1, 2)
]


@pytest.mark.parametrize("changes", PLANS, ids=lambda changes: "-".join(map(str, changes.values())))
def test_the_opening_shows_all_that_a_stream_ever_touches(changes):
    plan = make_plan(**changes)
    opening = opening_items(plan, 0)
    stream = from_the_ring(plan, 3 * len(opening) + 20)
    assert opening == stream[: len(opening)]
    shown = {touched(plan, item) for item in opening}
    assert {touched(plan, item) for item in stream} == shown
