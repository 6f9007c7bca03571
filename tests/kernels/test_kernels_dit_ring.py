"""Attention through the ring cache equals attention over explicitly concatenated frames."""

import math

import pytest
import torch
import torch.nn.functional as F
from kernel_cases import context, error, latents, make_stage

from streamtwin.core.window import Window
from streamtwin.kernels.cache import PassRow
from streamtwin.kernels.dit import sinusoid
from streamtwin.kernels.rope import frame_positions, pass_rotations, space_rotations

WINDOW = Window(6, 3)


class PlainBlock:
    """A block in plain float64, rotations by hand, keys and values of every frame kept."""

    def __init__(self, weights, spec, resolution):
        self.w = {name: value.double() for name, value in weights.items()}
        self.spec, self.grid = spec, resolution.grid
        self.past = []

    def linear(self, name, x):
        return x @ self.w[f"{name}.weight"].T + self.w[f"{name}.bias"]

    def rms(self, name, x):
        scale = (x.square().mean(-1, keepdim=True) + self.spec.eps).rsqrt()
        return x * scale * self.w[f"{name}.weight"]

    def heads(self, x):
        return x.view(len(x), self.spec.heads, self.spec.head_dim)

    def turn(self, x, frame):
        """Rotate tokens of consecutive frames, of which the first is *frame*."""
        d = self.spec.head_dim
        high = wide = 2 * (d // 6)
        rows, columns = self.grid
        out = x.clone()
        for token in range(len(x)):
            first = 0
            for size, position in (
                (d - high - wide, frame + token // (rows * columns)),
                (high, token // columns % rows),
                (wide, token % columns),
            ):
                for i in range(size // 2):
                    angle = position * 10000 ** (-2 * i / size)
                    a, b = x[token, :, first + 2 * i], x[token, :, first + 2 * i + 1]
                    c, s = math.cos(angle), math.sin(angle)
                    out[token, :, first + 2 * i] = a * c - b * s
                    out[token, :, first + 2 * i + 1] = a * s + b * c
                first += size
        return out

    def attend(self, q, k, v):
        scores = torch.einsum("qhd,khd->hqk", q, k) / math.sqrt(self.spec.head_dim)
        return torch.einsum("hqk,khd->qhd", scores.softmax(-1), v).flatten(1)

    def self_attention(self, x, frame):
        q = self.turn(
            self.heads(self.rms("self_attn.norm_q", self.linear("self_attn.q", x))), frame
        )
        k = self.turn(
            self.heads(self.rms("self_attn.norm_k", self.linear("self_attn.k", x))), frame
        )
        v = self.heads(self.linear("self_attn.v", x))
        tokens = self.grid[0] * self.grid[1]
        self.past += zip(k.split(tokens), v.split(tokens), strict=True)
        sinks = self.past[: WINDOW.sink]
        recent = self.past[WINDOW.sink :][-(WINDOW.frames - WINDOW.sink) :]
        k = torch.cat([k for k, _ in sinks + recent])
        v = torch.cat([v for _, v in sinks + recent])
        return self.linear("self_attn.o", self.attend(q, k, v))

    def cross_attention(self, x, text):
        q = self.heads(self.rms("cross_attn.norm_q", self.linear("cross_attn.q", x)))
        k = self.heads(self.rms("cross_attn.norm_k", self.linear("cross_attn.k", text)))
        v = self.heads(self.linear("cross_attn.v", text))
        return self.linear("cross_attn.o", self.attend(q, k, v))

    def __call__(self, x, frame, e0, text):
        m = self.w["modulation"][0] + e0
        size = x.shape[-1:]
        y = F.layer_norm(x, size, eps=self.spec.eps) * (1 + m[1]) + m[0]
        x = x + self.self_attention(y, frame) * m[2]
        gain, shift = self.w["norm3.weight"], self.w["norm3.bias"]
        y = F.layer_norm(x, size, gain, shift, self.spec.eps)
        x = x + self.cross_attention(y, text)
        y = F.layer_norm(x, size, eps=self.spec.eps) * (1 + m[4]) + m[3]
        y = self.linear("ffn.2", F.gelu(self.linear("ffn.0", y), approximate="tanh"))
        return x + y * m[5]


def plain_blocks(stage):
    """The stage's blocks in plain float64, with the same weights."""
    return [
        PlainBlock(
            {
                name.removeprefix(f"blocks.{i}."): value
                for name, value in stage.state_dict().items()
                if name.startswith(f"blocks.{i}.")
            },
            stage.spec,
            stage.resolution,
        )
        for i in stage.interval
    ]


def conditions(stage, steps):
    """Modulation of every row [rows, 6, d], one number of *steps* each."""
    waves = sinusoid(torch.tensor(steps), stage.spec.freq_dim)
    return stage.time_projection(stage.time_embedding(waves)).unflatten(-1, (6, -1))


@pytest.mark.parametrize("frames", [1, 2])
@pytest.mark.parametrize("steps", [[500.0], [700.0, 500.0, 200.0]])
def test_ring_equals_concatenation(frames, steps):
    """Row n is n chunks behind row 0, as in a stream batch, and keeps its own past."""
    stage = make_stage(range(2), dtype=torch.float64)
    cache = stage.new_cache(len(steps), WINDOW)
    stage.set_prompt(cache, context.double())
    text = stage.text_embedding(context.double())
    e0 = conditions(stage, steps)
    plain = [plain_blocks(stage) for _ in steps]
    for turn in range(2 * WINDOW.frames // frames + len(steps)):
        live = [n for n in range(len(steps)) if turn >= n]
        rows = [PassRow(n, (turn - n) * frames, frames) for n in live]
        x = stage.embed(latents(len(rows), frames, turn))
        times = torch.tensor([[steps[n]] * frames for n in live])
        y = stage(x, times, rows, cache)
        for n, row, given, got in zip(live, rows, x, y, strict=True):
            expected = given
            for block in plain[n]:
                expected = block(expected, row.first_frame, e0[n], text)
            assert error(got, expected) < 1e-9, f"turn {turn}, row {n}"


def test_a_position_shifts_the_rotation_and_not_the_slot() -> None:
    moved = PassRow(0, 7, 1, position=4)
    cpu = torch.device("cpu")
    space = space_rotations(2, 3, 128, cpu)
    turned, plain = (frame_positions([row], cpu) for row in (moved, PassRow(0, 4, 1)))
    assert torch.equal(pass_rotations(turned, space, 128), pass_rotations(plain, space, 128))
    assert moved.slot(0, Window(6, 3)) == PassRow(0, 7, 1).slot(0, Window(6, 3))


def test_a_refreshed_sink_holds_the_new_frame_and_the_ring_keeps_its_own() -> None:
    window = Window(6, 3)
    refresh = PassRow(0, 7, 1, sink=1)
    assert refresh.slot(0, window) == 1
    assert PassRow(0, 8, 1).slot(0, window) == window.slot(8)
