"""A recorded pass computes what the pass computes, to the bit, and recordings stay few."""

import gc
from dataclasses import replace

import pytest
import torch
from pass_cases import HostRecord, begin, recording, small_plan, some_work, stage

from builders import stream
from streamtwin.kernels.graphs import RecordedPasses
from streamtwin.kernels.rehearsal import record_ahead
from streamtwin.kernels.touched import touched

PLACES = ["alone", "first", "middle", "last"]


def outcome(kernels, states, items):
    results = []
    for item in items:
        done = kernels.run(states, item, some_work(kernels.plan, item))
        results.append((done.latents, done.hidden))
    return results


def played_both_ways(plan, place="alone", sessions=1, count=32):
    """(recorder's count, kernels) once a stream gave the same bits recorded and not."""
    items = stream(plan, count)
    plain, recorded = stage(plan, place), stage(plan, place)
    record = recording(recorded)
    states = begin(recorded, sessions)
    record_ahead(recorded, states)
    made = record.recorded
    expected = outcome(plain, begin(plain, sessions), items)
    for (latents, hidden), (want_latents, want_hidden) in zip(
        outcome(recorded, states, items), expected, strict=True
    ):
        assert torch.equal(latents, want_latents)
        assert torch.equal(hidden, want_hidden)
    assert record.recorded == made, "nothing is recorded under the clock"
    return record, recorded


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize(("chunk_latents", "filling"), [(1, 6), (2, 4)])
def test_a_stream_of_recorded_passes_equals_one_without(place, chunk_latents, filling):
    record, kernels = played_both_ways(small_plan(chunk_latents=chunk_latents), place)
    assert record.recorded == 1, "slots rotate within one recording"
    passes = kernels.passes.recorded
    # launched: two turns of the first chunk, and those until both rows attend six frames
    assert (passes.replayed, passes.launched) == (32 - filling, filling)


def test_sinks_that_blocks_replace_on_their_own_stay_in_the_recording():
    fresh = {"sink_refresh": "kv_similarity", "sink_threshold": 0.98}
    record, kernels = played_both_ways(small_plan(conditioning=fresh), count=40)
    assert record.recorded == 1
    assert kernels.passes.recorded.replayed == 34
    states = begin(kernels)
    outcome(kernels, states, stream(kernels.plan, 40))
    held = [books[0] for books in states[0].cache.held]
    assert held[0].diverted > 0
    assert held[0].frames != held[1].frames, "blocks decided differently"


def test_a_pass_that_turns_keys_is_launched():
    restart = {"rope_refresh": "reset", "rope_threshold": 9}
    _, kernels = played_both_ways(small_plan(conditioning=restart))
    passes = kernels.passes.recorded
    assert passes.replayed > 0
    assert passes.launched > 6 + 2, "both rows restart several times"


@pytest.mark.parametrize(
    ("changes", "recorded"),
    [
        ({"lanes": "sessions", "gpus": 2}, 2),
        ({"lanes": "time"}, 4),
        ({"lanes": "time", "stream_batch": False}, 4),
        ({"batching": {"batch": 2}}, 1),
    ],
)
def test_several_sessions_are_recorded_as_their_lanes_hold_them(changes, recorded):
    # input at a camera's pace lets sessions take turns
    plan = small_plan(sessions=2, source_fps=16, **changes)
    record, kernels = played_both_ways(plan, sessions=2, count=40)
    assert record.recorded == recorded
    assert kernels.passes.recorded.replayed > 20


def test_recording_leaves_no_trace():
    plan = small_plan()
    kernels = stage(plan)
    recording(kernels)
    states = begin(kernels)
    tensors = states[0].cache.tensors
    record_ahead(kernels, states)
    cache, fresh = states[0].cache, kernels.new_session(0).cache
    assert all(a is b for a, b in zip(cache.tensors, tensors, strict=True))
    assert all(map(torch.equal, cache.tensors, fresh.tensors))
    assert cache.held == fresh.held
    assert states[0].sinks == kernels.new_session(0).sinks
    passes = kernels.passes.recorded
    assert (passes.replayed, passes.launched, passes.open) == (0, 0, False)


def test_a_session_that_leaves_takes_its_recordings_along():
    plan = small_plan(sessions=2, lanes="sessions", gpus=2)
    kernels = stage(plan)
    # like a graph, and unlike the recorder on the host, it keeps nothing of what it recorded
    kernels.passes.recorded = RecordedPasses(lambda compute: (lambda: None, compute()))
    states = begin(kernels, 2)
    record_ahead(kernels, {0: states[0]})
    record_ahead(kernels, {1: states[1]})
    assert len(kernels.passes.recorded) == 2
    del states[1]
    gc.collect()
    assert len(kernels.passes.recorded) == 1


def test_a_block_that_moves_away_and_back_is_not_replayed():
    plan = small_plan()
    kernels = stage(plan)
    recording(kernels)
    states = begin(kernels)
    record_ahead(kernels, states)
    cache = states[0].cache
    gone = cache.take(1)
    # what comes by message is never the tensor that went
    cache.put(1, replace(gone, k=gone.k.clone(), v=gone.v.clone()))
    outcome(kernels, states, stream(plan, 20))
    assert kernels.passes.recorded.replayed == 0


def test_a_new_prompt_is_launched_and_read_right():
    plan = small_plan(visits=[{"prompts": {0: "rain", 8: "snow"}}])
    _, kernels = played_both_ways(plan, count=30)
    passes = kernels.passes.recorded
    assert 0 < passes.replayed < 10


@pytest.mark.parametrize("place", PLACES)
def test_the_device_part_is_a_function_of_its_buffers(place):
    """Twice from the same memory with other contents: what a replay does."""
    plan = small_plan()
    kernels = stage(plan, place)
    states = begin(kernels)
    items = stream(plan, 16)
    outcome(kernels, states, items)
    item, own = items[-1], states[0]
    rows = [kernels._pass_row(own, item, row) for row in item.rows]
    texts = [kernels._text(own, row) for row in item.rows]
    touches = touched(rows, [own.cache] * 2, texts)
    assert touches.replayable

    def compute(slots, *inputs):
        return kernels.passes.compute(touches.reading(slots, 1), *inputs)

    taken = [some_work(plan, item, seed) for seed in (1, 2)]
    inputs = [
        (
            touches.slots() if n == 0 else touches.slots().flip(0).roll(1, 0),
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
            passes.run(key, (), double, (x,))
    assert (len(passes), record.recorded) == (2, 3)
    with passes.recording():
        passes.run("b", (), double, (x,))
    assert record.recorded == 4, "b had given way to c"


def test_results_belong_to_the_caller():
    passes = RecordedPasses(HostRecord())
    with passes.recording():
        (one,) = passes.run("a", (), double, (torch.ones(3),))
        (two,) = passes.run("a", (), double, (torch.full((3,), 5.0),))
    assert one.tolist() == [2.0] * 3
    assert two.tolist() == [10.0] * 3


def test_other_shapes_under_a_key_are_recorded_apart():
    record = HostRecord()
    passes = RecordedPasses(record)
    with passes.recording():
        assert passes.run("a", (), double, (torch.ones(3),))[0].shape == (3,)
        assert passes.run("a", (), double, (torch.ones(4),))[0].shape == (4,)
    assert record.recorded == 2


def test_nothing_is_recorded_outside_of_recording():
    record = HostRecord()
    passes = RecordedPasses(record)
    assert passes.run("a", (), double, (torch.ones(3),))[0].tolist() == [2.0] * 3
    assert (record.recorded, passes.launched) == (0, 1)
