"""A recorded pass computes what the pass computes, to the bit, and recordings stay few."""

import pytest
import torch
from pass_cases import HostRecord, recording, small_plan, some_work, stage, stream

from streamtwin.kernels.graphs import RecordedPasses
from streamtwin.kernels.rehearsal import rehearse

PLACES = ["alone", "first", "middle", "last"]


def outcome(kernels, state, items):
    results = []
    for item in items:
        done = kernels.run(state, item, some_work(kernels.plan, item))
        results.append((done.latents, done.hidden))
    return results


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("chunk_latents", [1, 2])
def test_a_stream_of_recorded_passes_equals_one_without(place, chunk_latents):
    plan = small_plan(chunk_latents=chunk_latents)
    items = stream(plan, 32)
    plain, recorded = stage(plan, place), stage(plan, place)
    record = recording(recorded)
    state = recorded.new_session(0)
    rehearse(recorded, state)
    made = record.recorded
    expected = outcome(plain, plain.new_session(0), items)
    for (latents, hidden), (want_latents, want_hidden) in zip(
        outcome(recorded, state, items), expected, strict=True
    ):
        assert torch.equal(latents, want_latents)
        assert torch.equal(hidden, want_hidden)
    assert record.recorded == made == 3, "slots rotate with the three that are no sinks"


def test_a_rehearsal_leaves_no_trace():
    plan = small_plan()
    kernels = stage(plan)
    recording(kernels)
    state, fresh = kernels.new_session(0), kernels.new_session(0)
    rehearse(kernels, state)
    for name in ("k", "v", "cross_k", "cross_v"):
        assert torch.equal(getattr(state.cache, name), getattr(fresh.cache, name))


def test_sessions_have_recordings_of_their_own():
    plan = small_plan()
    kernels = stage(plan)
    record = recording(kernels)
    one, other = kernels.new_session(0), kernels.new_session(1)
    rehearse(kernels, one)
    rehearse(kernels, other)
    assert record.recorded == 6
    items = stream(plan, 20)
    alone = outcome(stage(plan), stage(plan).new_session(0), items)
    beside = [outcome(kernels, state, [item]) for item in items for state in (one, other)]
    for (latents, _), [(beside_latents, _)] in zip(alone, beside[::2], strict=True):
        assert torch.equal(latents, beside_latents)
    assert kernels.recorded is not None
    kernels.recorded.forget(lambda key: key[1] is other.cache)
    assert len(kernels.recorded) == 3


def test_a_filling_window_is_not_recorded():
    plan = small_plan()
    kernels = stage(plan)
    record = recording(kernels)
    assert kernels.recorded is not None
    state = kernels.new_session(0)
    with kernels.recorded.recording():
        outcome(kernels, state, stream(plan, 32)[:6])
    assert record.recorded == 0


def test_nothing_is_recorded_under_the_clock():
    plan = small_plan()
    kernels = stage(plan)
    record = recording(kernels)
    outcome(kernels, kernels.new_session(0), stream(plan, 24))
    assert record.recorded == 0


@pytest.mark.parametrize("place", PLACES)
def test_the_device_part_is_a_function_of_its_buffers(place):
    """Twice from the same memory with other contents: what a replay does."""
    plan = small_plan()
    kernels = stage(plan, place)
    state = kernels.new_session(0)
    items = stream(plan, 16)
    outcome(kernels, state, items)
    item = items[-1]
    pass_plan = state.cache.plan(kernels._pass_rows(item))
    compute = kernels.device_part(pass_plan, state.cache)
    taken = [some_work(plan, item, seed) for seed in (1, 2)]
    inputs = [
        (
            work.latents if kernels.stage.first else work.hidden,
            torch.full((2, 1), 700.0 - 300 * n),
            torch.full((2, 1), 40.0 + 5 * n, dtype=torch.float64),
        )
        for n, work in enumerate(taken)
    ]
    with torch.inference_mode():
        expected = [compute(*one) for one in inputs]
        buffers = tuple(value.clone() for value in inputs[0])
        again = [compute(*buffers)]
        for buffer, value in zip(buffers, inputs[1], strict=True):
            buffer.copy_(value)
        again.append(compute(*buffers))
    for want, got in zip(expected, again, strict=True):
        assert all(torch.equal(a, b) for a, b in zip(want, got, strict=True))
    assert not torch.equal(expected[0][0], expected[1][0])


def double(x):
    return (2 * x,)


def test_the_least_recently_used_gives_way():
    record = HostRecord()
    passes = RecordedPasses(record, limit=2)
    x = torch.ones(3)
    with passes.recording():
        for key in ("a", "b", "a", "c", "a"):
            passes.run(key, double, (x,))
    assert (len(passes), record.recorded) == (2, 3)
    with passes.recording():
        passes.run("b", double, (x,))
    assert record.recorded == 4, "b had given way to c"


def test_results_belong_to_the_caller():
    passes = RecordedPasses(HostRecord())
    with passes.recording():
        (one,) = passes.run("a", double, (torch.ones(3),))
        (two,) = passes.run("a", double, (torch.full((3,), 5.0),))
    assert one.tolist() == [2.0] * 3
    assert two.tolist() == [10.0] * 3


def test_other_shapes_under_a_key_are_recorded_apart():
    record = HostRecord()
    passes = RecordedPasses(record)
    with passes.recording():
        assert passes.run("a", double, (torch.ones(3),))[0].shape == (3,)
        assert passes.run("a", double, (torch.ones(4),))[0].shape == (4,)
    assert record.recorded == 2
