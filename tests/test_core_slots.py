"""Laws of the slot books: what is kept, what is evicted, and where positions stay."""

from collections import deque
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamtwin.core.chunks import ChunkShape
from streamtwin.core.policies.rope import PositionView, reset
from streamtwin.core.slots import EMPTY, Chunk, Slots, place
from streamtwin.core.window import Window


@st.composite
def streams(draw):
    """A window, T', and for each chunk the sink that it takes over, if any."""
    ring, sink = draw(st.integers(1, 5)), draw(st.integers(0, 4))
    latents = draw(st.integers(1, ring))
    if latents >= ring + sink:
        sink += 1
    slots = st.none() | st.integers(0, sink - 1) if sink else st.none()
    return Window(ring + sink, sink), latents, draw(st.lists(slots, min_size=1, max_size=60))


@dataclass
class Model:
    """What is kept, said with a list of anchors and a queue, and no slot arithmetic."""

    window: Window
    sinks: list[int] = field(default_factory=list)
    ring: deque[int] = field(default_factory=deque)

    @property
    def full(self) -> bool:
        return len(self.sinks) + len(self.ring) == self.window.frames

    def write(self, frame: int, sink: int | None) -> None:
        if sink is not None:
            self.sinks[sink] = frame
        elif len(self.sinks) < self.window.sink:
            self.sinks.append(frame)
        else:
            if len(self.ring) == self.window.ring:
                self.ring.popleft()
            self.ring.append(frame)


def play(window, latents, wishes, position_of=lambda frame: frame):
    """Yield (book before, chunk, placement, model) of every chunk of a stream."""
    shape, model, held = ChunkShape(latents), Model(window), Slots.empty(window)
    for ordinal, wish in enumerate(wishes):
        frame, frames = shape.first_latent(ordinal), shape.latents_of(ordinal)
        sink = wish if model.full else None
        chunk = Chunk(frame, frames, position_of(frame), sink, prompt=ordinal // 3)
        placed = place(held, chunk, window)
        for i in range(frames):
            model.write(frame + i, sink if i == 0 else None)
        yield held, chunk, placed, model
        held = placed.after


@given(streams())
def test_the_oldest_ring_frame_is_the_one_evicted(stream):
    window, latents, wishes = stream
    for held, chunk, placed, model in play(window, latents, wishes):
        frames = placed.after.frames
        assert frames[: len(model.sinks)] == tuple(model.sinks)
        assert sorted(f for f in frames[window.sink :] if f != EMPTY) == list(model.ring)
        assert len(set(placed.slots)) == chunk.frames
        assert placed.after.newest == frames.index(max(frames))
        kept = [s for s in range(window.frames) if s not in placed.slots]
        assert all(frames[s] == held.frames[s] for s in kept)
        assert all(placed.after.prompts[s] == chunk.prompt for s in placed.slots)
        # what is attended is the filled prefix, with or without refreshes
        filled = window.filled(chunk.frame + chunk.frames - 1)
        assert [f != EMPTY for f in frames] == [s < filled for s in range(window.frames)]


@given(streams())
def test_without_refresh_slots_follow_from_the_frame(stream):
    window, latents, wishes = stream
    for _, chunk, placed, _ in play(window, latents, [None] * len(wishes)):
        frames = range(chunk.frame, chunk.frame + chunk.frames)
        assert placed.slots == tuple(window.slot(frame) for frame in frames)
        assert placed.turns == ()


@given(streams(), st.integers(0, 20))
def test_positions_keep_order_and_distance_and_stay_in_bounds(stream, more):
    window, latents, wishes = stream
    threshold = window.frames + more

    def position_of(frame):
        return reset(PositionView(frame, window.frames, latents, threshold))

    turned = {}
    for held, chunk, placed, _ in play(window, latents, wishes, position_of):
        after = placed.after
        filled = [s for s, frame in enumerate(after.frames) if frame != EMPTY]
        by_age = sorted(filled, key=lambda s: after.frames[s])
        positions = [after.positions[s] for s in by_age]
        assert positions == sorted(set(positions))  # time runs forward, no two frames coincide
        assert positions[0] >= 0
        assert positions[-1] < threshold + latents - 1 or held.offset is None
        # the turns make exactly the difference between the books
        shifts = dict(placed.turns)
        for s in set(filled) - set(placed.slots):
            assert after.positions[s] == held.positions[s] + shifts.get(s, 0)
        if placed.turns:  # a restart leaves no gap
            assert positions == list(range(positions[-1] + 1))
            assert chunk.position == window.frames - latents
        for s, _ in placed.turns:
            turned[after.frames[s]] = turned.get(after.frames[s], 0) + 1
    assert max(turned.values(), default=0) <= window.frames


@given(st.integers(1, 4), st.integers(1, 5), st.integers(0, 60))
def test_without_sink_refresh_sinks_are_never_turned_and_ring_keys_once(sink, ring, more):
    window = Window(sink + ring, sink)
    threshold = window.frames + ring + more  # a ring frame lives through one restart

    def position_of(frame):
        return reset(PositionView(frame, window.frames, 1, threshold))

    turned = []
    for _, _, placed, _ in play(window, 1, [None] * (4 * threshold), position_of):
        turned += [placed.after.frames[slot] for slot, _ in placed.turns]
    if ring > 1:
        assert turned
    assert len(set(turned)) == len(turned)
    assert all(frame >= sink for frame in turned)


@given(st.integers(1, 5), st.integers(1, 30), st.integers(0, 60))
def test_reset_restarts_when_the_threshold_is_reached(latents, more, room):
    window = latents + more
    threshold = window + room
    shape, expected = ChunkShape(latents), 0
    for ordinal in range(200):
        frame = shape.first_latent(ordinal)
        assert reset(PositionView(frame, window, latents, threshold)) == expected
        expected += shape.latents_of(ordinal)
        if expected >= threshold:
            expected = window - latents


def test_the_reference_restarts_at_five():
    """Threshold 50, window 6, one latent a chunk: position 5 follows 49."""
    positions = [reset(PositionView(frame, 6)) for frame in range(4500)]
    assert positions[:52] == [*range(50), 5, 6]
    assert max(positions) == 49


def test_a_sink_is_not_replaced_before_all_slots_are_written():
    window = Window(4, 2)
    held = Slots.empty(window)
    for frame in range(3):
        with pytest.raises(ValueError, match="before all slots have been written"):
            place(held, Chunk(frame, 1, frame, sink=0), window)
        held = place(held, Chunk(frame, 1, frame), window).after
    held = place(held, Chunk(3, 1, 3), window).after
    assert place(held, Chunk(4, 1, 4, sink=1), window).slots == (1,)
    with pytest.raises(ValueError, match="choose one of the 2 sink slots"):
        place(held, Chunk(4, 1, 4, sink=2), window)
