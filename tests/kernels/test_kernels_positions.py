"""Laws of positions: restarts move what is kept, nothing depends on how far a stream has come."""

import pytest
import torch
from kernel_cases import SPEC, context, error, latents, make_stage, normal
from kernel_plain import conditions, plain_blocks

from streamtwin.core.chunks import ChunkShape
from streamtwin.core.policies.rope import PositionView, never, reset
from streamtwin.core.window import Window
from streamtwin.kernels.cache import PassRow
from streamtwin.kernels.rope import frame_positions, pass_rotations, rotate, space_rotations, turn

LAG = 2
"""Chunks between the two KV rows of the streams played here."""


def play(stage, window, policy, chunks, *, latents_a_chunk=1, threshold=50):
    """Yield (ordinal, output, cache) of a stream whose row 1 sees each chunk later than row 0."""
    shape, cache = ChunkShape(latents_a_chunk), stage.new_cache(2, window)
    prompt = stage.read_text(context)
    for turn_ in range(chunks):
        for kv_row, ordinal in ((0, turn_), (1, turn_ - LAG)):
            if ordinal < 0:
                continue
            frame, frames = shape.first_latent(ordinal), shape.latents_of(ordinal)
            view = PositionView(frame, window.frames, latents_a_chunk, threshold)
            row = PassRow(kv_row, frame, frames, position=policy(view))
            x = stage.embed(latents(1, frames, ordinal + 1000 * kv_row))
            steps = torch.full((1, frames), 500.0)
            yield ordinal, stage.unembed(stage(x, steps, [row], [cache], [prompt]), steps), cache


@pytest.mark.parametrize(("dtype", "bound"), [(torch.float32, 1e-5), (torch.float64, 1e-9)])
@pytest.mark.parametrize("latents_a_chunk", [1, 2])
def test_without_sinks_a_restart_changes_nothing(dtype, bound, latents_a_chunk):
    """All that is kept moves alike, so every distance stays."""
    stage, window = make_stage(range(2), dtype=dtype), Window(4, 0)
    options = {"chunks": 30, "latents_a_chunk": latents_a_chunk, "threshold": 9}
    for (n, one, _), (_, other, _) in zip(
        play(stage, window, never, **options),
        play(stage, window, reset, **options),
        strict=True,
    ):
        assert error(other, one) < bound, f"chunk {n}"


def test_with_sinks_a_restart_brings_them_near():
    """What a restart is for: after it the output is another one."""
    stage, window = make_stage(range(2), dtype=torch.float64), Window(6, 3)
    apart = [
        error(other, one)
        for (_, one, _), (_, other, _) in zip(
            play(stage, window, never, 24, threshold=20),
            play(stage, window, reset, 24, threshold=20),
            strict=True,
        )
    ]
    row_0 = apart[: 2 * LAG] + apart[2 * LAG :: 2]
    assert max(row_0[: 18 + LAG]) < 1e-12
    assert min(apart[-4:]) > 1e-4


@pytest.mark.parametrize("latents_a_chunk", [1, 2])
def test_restarts_and_replaced_sinks_equal_turning_every_key_from_scratch(latents_a_chunk):
    """Blocks replace different sinks at different chunks; both restart positions."""
    stage, window, threshold = make_stage(range(2), dtype=torch.float64), Window(6, 2), 10
    shape, cache = ChunkShape(latents_a_chunk), stage.new_cache(1, window)
    prompt = stage.read_text(context.double())
    text = stage.text_embedding(context.double())
    e0 = conditions(stage, [500.0])
    plain = plain_blocks(stage, window, threshold)
    for ordinal in range(40 // latents_a_chunk):
        frame, frames = shape.first_latent(ordinal), shape.latents_of(ordinal)
        full = frame >= window.frames
        sinks = tuple(ordinal % 2 if full and (ordinal + b) % 3 == 0 else None for b in range(2))
        view = PositionView(frame, window.frames, latents_a_chunk, threshold)
        row = PassRow(0, frame, frames, reset(view), sinks)
        x = stage.embed(latents(1, frames, ordinal))
        y = stage(x, torch.full((1, frames), 500.0), [row], [cache], [prompt])
        expected = x[0]
        for block, sink in zip(plain, sinks, strict=True):
            block.sink = sink
            expected = block(expected.view(frames, -1, SPEC.dim).flatten(0, 1), frame, e0[0], text)
        assert error(y[0], expected) < 1e-9, f"chunk {ordinal}"
    assert cache.held[0][0].diverted > 5
    assert cache.held[0][0] != cache.held[1][0]


@pytest.mark.parametrize(("dtype", "bound"), [(torch.float32, 1e-5), (torch.float64, 1e-9)])
@pytest.mark.parametrize("begin", [1020, 1024, 100_000])
def test_no_frame_is_too_late(begin, dtype, bound):
    """A table of 1,024 positions would end here; angles by hand in float64 say what is right."""
    # one block: what a frame before the first has left behind would reach a second one
    stage, window = make_stage(range(1), dtype=dtype), Window(3, 0)
    cache = stage.new_cache(1, window)
    prompt = stage.read_text(context)
    (plain,) = plain_blocks(stage, window, begin=begin)
    text, e0 = stage.text_embedding(context.to(dtype)).double(), conditions(stage, [500.0])
    for offset in range(6):
        x = stage.embed(latents(1, 1, offset))
        y = stage(x, torch.full((1, 1), 500.0), [PassRow(0, begin + offset, 1)], [cache], [prompt])
        expected = plain(x[0].double(), begin + offset, e0[0].double(), text)
        if offset + 1 >= window.frames:
            assert bool(torch.isfinite(y).all())
            assert error(y[0].double(), expected) < bound


def keys_at(position, dtype):
    """One frame of keys [S, heads, head_dim], rotated at *position* in float64."""
    space = space_rotations(2, 3, SPEC.head_dim, torch.device("cpu"), torch.complex128)
    positions = frame_positions([PassRow(0, position, 1)], space.device)
    table = pass_rotations(positions, space, SPEC.head_dim)
    keys = normal(1, 6, SPEC.heads, SPEC.head_dim).double()
    return rotate(keys, table)[0].to(dtype)


@pytest.mark.parametrize(
    ("dtype", "bound"), [(torch.float64, 1e-11), (torch.float32, 3e-7), (torch.bfloat16, 1e-2)]
)
@pytest.mark.parametrize(("begin", "shift"), [(49, -45), (3, -1), (7, 1000), (100_000, -99_997)])
def test_turning_a_key_equals_rotating_it_there(begin, shift, dtype, bound):
    turned = turn(keys_at(begin, dtype), shift)
    assert turned.dtype == dtype
    assert error(turned.double(), keys_at(begin + shift, torch.float64)) < bound


def test_rounding_does_not_add_up_over_a_long_stream():
    """A key is turned a bounded number of times, so bfloat16 keys stay as good as new."""
    window, chunks = Window(6, 3), 1000
    half, full = (make_stage(range(1), dtype=d) for d in (torch.bfloat16, torch.float64))
    caches = [stage.new_cache(1, window) for stage in (half, full)]
    for stage, cache in zip((half, full), caches, strict=True):
        for ordinal in range(chunks):
            view = PositionView(ordinal, window.frames)
            sinks = (ordinal // 100 % 3,) if ordinal % 100 == 60 else ()
            k = normal(1, 6, SPEC.heads, SPEC.head_dim, seed=ordinal).to(stage._weight.dtype)
            row = PassRow(0, ordinal, 1, reset(view), sinks)
            space = space_rotations(2, 3, SPEC.head_dim, k.device, torch.complex128)
            table = pass_rotations(frame_positions([row], k.device), space, SPEC.head_dim)
            cache.write(0, cache.plan([row]), rotate(k, table), k)
    for slot in range(window.frames):
        one, other = (c.k[0][0, slot * 6 : slot * 6 + 6].double() for c in caches)
        # one rounding is up to 2^-9 of each number; a key was rounded at most thrice here
        assert float((one - other).norm() / other.norm()) < 5e-3, f"slot {slot}"
