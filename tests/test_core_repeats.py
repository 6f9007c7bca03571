"""What a rank records ahead is what a steady stream asks of it, and no more than a limit."""

import pytest

from builders import make_plan, stream
from streamtwin.core.repeats import steady_items


def standing(item):
    """Which sessions' rows the item carries, and at which steps."""
    return tuple(sorted((row.session, row.step) for row in item.rows))


def attends_all(plan, item):
    shape, frames = plan.scenario.shape, plan.scenario.deployment.window
    return all(shape.first_latent(row.ordinal + 1) >= frames for row in item.rows)


PLANS = [
    {
        "gpus": gpus,
        "steps": steps,
        "stream_batch": stream_batch,
        "chunk_latents": latents,
        **several,
    }
    for gpus, latents in ((1, 1), (2, 2), (4, 1))
    for steps in (1, 2, 4)
    for stream_batch in (True, False)
    for several in (
        {},
        {"sessions": 2, "source_fps": 16},
        {"sessions": 3, "source_fps": 16, "lanes": "sessions"},
        {"sessions": 2, "batching": {"batch": 2}},
    )
]


@pytest.mark.parametrize("changes", PLANS, ids=lambda changes: "-".join(map(str, changes.values())))
def test_every_full_item_of_a_steady_stream_was_foreseen(changes):
    plan = make_plan(**changes, chunks=120)
    sessions = range(plan.scenario.workload.sessions)
    foreseen = {standing(item) for item in steady_items(plan, sessions, 10_000)}
    steady = [item for item in stream(plan, 110) if attends_all(plan, item)]
    # sessions of a batch begin one by one, so its first groups are not whole
    whole = [item for item in steady if len(item.rows) == plan.max_rows]
    assert {standing(item) for item in whole} <= foreseen
    assert len(whole) > 0.9 * len(steady) > 30


@pytest.mark.parametrize("changes", PLANS, ids=lambda changes: "-".join(map(str, changes.values())))
def test_what_is_foreseen_attends_the_full_window_under_the_first_prompt(changes):
    plan = make_plan(**changes)
    items = steady_items(plan, range(plan.scenario.workload.sessions), 64)
    assert all(attends_all(plan, item) for item in items)
    assert len({standing(item) for item in items}) == len(items)
    assert {row.chunk for item in items for row in item.rows} == {0}
    assert max(len(item.rows) for item in items) <= plan.max_rows


def test_many_sessions_are_foreseen_up_to_the_limit():
    plan = make_plan(sessions=100, steps=4, batching={"batch": 4})
    assert len(steady_items(plan, range(100), 64)) == 64
    assert steady_items(plan, [], 64) == []
