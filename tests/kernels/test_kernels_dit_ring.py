"""Attention through the ring cache equals attention over explicitly concatenated frames."""

import pytest
import torch
from kernel_cases import context, error, latents, make_stage
from kernel_plain import conditions, plain_blocks

from streamtwin.core.window import Window
from streamtwin.kernels.cache import PassRow
from streamtwin.kernels.rope import frame_positions, pass_rotations, space_rotations

WINDOW = Window(6, 3)


@pytest.mark.parametrize("frames", [1, 2])
@pytest.mark.parametrize("steps", [[500.0], [700.0, 500.0, 200.0]])
def test_ring_equals_concatenation(frames, steps):
    """Row n is n chunks behind row 0, as in a stream batch, and keeps its own past."""
    stage = make_stage(range(2), dtype=torch.float64)
    cache = stage.new_cache(len(steps), WINDOW)
    prompt = stage.read_text(context.double())
    text = stage.text_embedding(context.double())
    e0 = conditions(stage, steps)
    plain = [plain_blocks(stage, WINDOW) for _ in steps]
    for turn in range(2 * WINDOW.frames // frames + len(steps)):
        live = [n for n in range(len(steps)) if turn >= n]
        rows = [PassRow(n, (turn - n) * frames, frames) for n in live]
        x = stage.embed(latents(len(rows), frames, turn))
        times = torch.tensor([[steps[n]] * frames for n in live])
        y = stage(x, times, rows, [cache] * len(rows), [prompt] * len(rows))
        for n, row, given, got in zip(live, rows, x, y, strict=True):
            expected = given
            for block in plain[n]:
                expected = block(expected, row.first_frame, e0[n], text)
            assert error(got, expected) < 1e-9, f"turn {turn}, row {n}"


def test_a_position_shifts_the_rotation() -> None:
    moved = PassRow(0, 7, 1, position=4)
    cpu = torch.device("cpu")
    space = space_rotations(2, 3, 128, cpu)
    turned, plain = (frame_positions([row], cpu) for row in (moved, PassRow(0, 4, 1)))
    assert torch.equal(pass_rotations(turned, space, 128), pass_rotations(plain, space, 128))
