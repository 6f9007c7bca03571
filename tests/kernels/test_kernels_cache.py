"""Laws of the window and of the cache that follows it."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from streamtwin.core.window import Window
from streamtwin.kernels.cache import PassRow, StageCache

S = 2


@st.composite
def windows(draw):
    frames = draw(st.integers(1, 12))
    return Window(frames, draw(st.integers(0, frames - 1)))


def new_cache(window, kv_rows=2, blocks=1):
    return StageCache(
        blocks,
        kv_rows,
        window,
        tokens=S,
        heads=1,
        head_dim=1,
        device=torch.device("cpu"),
        dtype=torch.float32,
    )


def put(cache, row, block=0):
    """Write a chunk whose every key is its frame's number + 1, every value its negative."""
    numbers = torch.arange(row.first_frame, row.first_frame + row.frames) + 1.0
    k = numbers.repeat_interleave(S)[None, :, None, None]
    cache.write(block, cache.plan([row]), k, -k)


def held(cache, kv_row, frame, block=0):
    """Frame numbers that a row at *frame* attends, sorted."""
    k, v = cache.view(block, [kv_row], cache.window.filled(frame) * S)
    assert torch.equal(k, -v)
    per_token = (k.flatten() - 1).long().tolist()
    assert per_token[::S] == per_token[S - 1 :: S]
    return sorted(per_token[::S])


@given(windows(), st.integers(0, 10**6))
def test_kept_frames_never_share_a_slot(window, last):
    ring = window.frames - window.sink
    recent = range(max(window.sink, last + 1 - ring), last + 1)
    kept = {*range(min(window.sink, last + 1)), *recent}
    slots = {window.slot(frame) for frame in kept}
    assert len(slots) == len(kept)
    assert slots == set(range(window.filled(last)))  # and they are the filled prefix


@given(windows(), st.integers(0, 10**6))
def test_sinks_are_never_overwritten(window, frame):
    if frame >= window.sink:
        assert window.sink <= window.slot(frame) < window.frames


@given(windows(), st.data())
def test_cache_holds_sinks_and_the_latest_frames(window, data):
    cache, frame = new_cache(window), 0
    ring = window.frames - window.sink
    while frame < 3 * window.frames:
        size = data.draw(st.integers(1, ring))
        put(cache, PassRow(1, frame, size))
        frame += size
        sinks = set(range(min(window.sink, frame)))
        assert set(held(cache, 1, frame - 1)) == sinks | set(range(max(0, frame - ring), frame))
    assert not cache.k[0][0].any()  # the other row was left alone


def test_first_row_is_repeated_to_all():
    cache = new_cache(Window(4, 1), kv_rows=3, blocks=2)
    for block in range(2):
        for frame in range(2 + block):
            put(cache, PassRow(0, frame, 1), block)
    cache.repeat_first_row()
    for row in range(3):
        for part in (*cache.k, *cache.v):
            assert torch.equal(part[row], part[0])
        assert cache.held[1][row] == cache.held[1][0]
        assert cache.held[1][row].frames == (0, 1, 2, -1)
        assert held(cache, row, 2, block=1) == [0, 1, 2]
    put(cache, PassRow(1, 3, 1), 1)
    assert held(cache, 1, 3, block=1) == [0, 1, 2, 3]
    assert not cache.k[1][2, 3 * S :].any()  # copies, not aliases


def test_consecutive_rows_are_a_view_and_others_a_copy():
    cache = new_cache(Window(4, 1), kv_rows=4)
    for row in range(4):
        put(cache, PassRow(row, row, 1))
    k, _ = cache.view(0, [1, 2, 3], 4 * S)
    assert k.untyped_storage().data_ptr() == cache.k[0].untyped_storage().data_ptr()
    assert torch.equal(k, cache.k[0][1:4])
    k, v = cache.view(0, [3, 0, 2], 3 * S)
    assert torch.equal(k, cache.k[0][[3, 0, 2], : 3 * S])
    assert torch.equal(v, cache.v[0][[3, 0, 2], : 3 * S])


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([], "at least one row"),
        ([PassRow(0, 3, 1), PassRow(0, 4, 1)], "share a KV row"),
        ([PassRow(2, 0, 1)], r"choose one of 0\.\.1"),
        ([PassRow(-1, 0, 1)], r"choose one of 0\.\.1"),
        ([PassRow(0, -1, 1)], "first_frame >= 0"),
        ([PassRow(0, 0, 0)], "frames must be >= 1"),
        ([PassRow(0, 6, 4)], "do not fit the window"),
    ],
)
def test_refuses_rows_that_cannot_be(rows, message):
    with pytest.raises(ValueError, match=message):
        new_cache(Window(6, 3)).plan(rows)
