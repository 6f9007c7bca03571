"""Numbering: window slots, chunks of frames and latents."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamtwin.core.chunks import ChunkShape
from streamtwin.core.errors import ScenarioError
from streamtwin.core.window import Window

windows = st.integers(1, 9).flatmap(
    lambda ring: st.integers(0, 4).map(lambda sink: Window(ring + sink, sink))
)


@given(windows, st.integers(0, 500))
def test_the_newest_ring_and_the_sinks_are_held(window: Window, frame: int) -> None:
    held: dict[int, int] = {}
    for written in range(frame + 1):
        held[window.slot(written)] = written
    expected = set(range(min(window.sink, frame + 1)))
    expected |= set(range(max(window.sink, frame + 1 - window.ring), frame + 1))
    assert set(held.values()) == expected
    assert len(held) == window.filled(frame)


@pytest.mark.parametrize(("frames", "sink"), [(3, 3), (2, 5), (4, -1)])
def test_a_window_needs_room_beside_its_sinks(frames: int, sink: int) -> None:
    with pytest.raises(ScenarioError, match=f"sink = {sink}"):
        Window(frames, sink)


@given(st.integers(1, 5), st.integers(0, 200))
def test_chunks_tile_the_stream(latents: int, ordinal: int) -> None:
    shape = ChunkShape(latents)
    after = ordinal + 1
    assert shape.first_frame(after) == shape.first_frame(ordinal) + shape.frames_of(ordinal)
    assert shape.first_latent(after) == shape.first_latent(ordinal) + shape.latents_of(ordinal)
    assert shape.last_frame(ordinal) == shape.first_frame(after) - 1
    # 1 + 4 n pixel frames are 1 + n latents
    assert shape.last_frame(ordinal) == 4 * (shape.first_latent(after) - 1)


@given(st.integers(1, 5), st.integers(0, 400))
def test_whole_chunks_in_a_clip(latents: int, frames: int) -> None:
    shape = ChunkShape(latents)
    count = shape.chunks_in(frames)
    assert count == 0 or shape.last_frame(count - 1) < frames
    assert shape.last_frame(count) >= frames
