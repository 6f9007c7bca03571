"""The blocks once more, in plain float64: no cache, no slots, no stored rotation."""

import math

import torch
import torch.nn.functional as F

from streamtwin.kernels.dit_layers import sinusoid


class Memory:
    """Which frames are attended, and at which positions: lists of frame numbers, no slots.

    Positions count on until one reaches *threshold*; then what is kept is numbered anew.
    """

    def __init__(self, window, threshold=math.inf, begin=0):
        self.window, self.threshold, self.begin = window, threshold, begin
        self.sinks, self.ring, self.positions = [], [], {}

    def write(self, frames, sink=None):
        """Take in *frames*, the first of them in the place of a *sink*; positions by frame."""
        following = 1 + max(self.positions.values(), default=self.begin - 1)
        for i, frame in enumerate(frames):
            if i == 0 and sink is not None:
                self.sinks[sink] = frame
            elif len(self.sinks) < self.window.sink:
                self.sinks.append(frame)
            else:
                self.ring = [*self.ring, frame][-self.window.ring :]
        kept = sorted(self.sinks + self.ring)
        if following >= self.threshold:
            self.positions = {frame: rank for rank, frame in enumerate(kept)}
        else:
            new = {frame: following + i for i, frame in enumerate(frames)}
            self.positions = {f: new[f] if f in new else self.positions[f] for f in kept}
        return self.positions


class PlainBlock:
    """A block in plain float64, rotations by hand, keys of every frame kept unrotated."""

    def __init__(self, weights, spec, resolution, memory):
        self.w = {name: value.double() for name, value in weights.items()}
        self.spec, self.grid = spec, resolution.grid
        self.memory, self.sink = memory, None
        self.past = {}

    def linear(self, name, x):
        return x @ self.w[f"{name}.weight"].T + self.w[f"{name}.bias"]

    def rms(self, name, x):
        scale = (x.square().mean(-1, keepdim=True) + self.spec.eps).rsqrt()
        return x * scale * self.w[f"{name}.weight"]

    def heads(self, x):
        return x.view(len(x), self.spec.heads, self.spec.head_dim)

    def turn(self, x, frame):
        """Rotate tokens of consecutive positions in time, of which the first is *frame*."""
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
        q = self.heads(self.rms("self_attn.norm_q", self.linear("self_attn.q", x)))
        k = self.heads(self.rms("self_attn.norm_k", self.linear("self_attn.k", x)))
        v = self.heads(self.linear("self_attn.v", x))
        tokens = self.grid[0] * self.grid[1]
        frames = range(frame, frame + len(x) // tokens)
        self.past |= zip(frames, zip(k.split(tokens), v.split(tokens), strict=True), strict=True)
        positions = self.memory.write(frames, self.sink)
        k = torch.cat([self.turn(self.past[f][0], at) for f, at in positions.items()])
        v = torch.cat([self.past[f][1] for f in positions])
        y = self.attend(self.turn(q, positions[frame]), k, v)
        return self.linear("self_attn.o", y)

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


def plain_blocks(stage, window, threshold=math.inf, begin=0):
    """The stage's blocks in plain float64, with the same weights and memories of their own."""
    return [
        PlainBlock(
            {
                name.removeprefix(f"blocks.{i}."): value
                for name, value in stage.state_dict().items()
                if name.startswith(f"blocks.{i}.")
            },
            stage.spec,
            stage.resolution,
            Memory(window, threshold, begin),
        )
        for i in stage.interval
    ]


def conditions(stage, steps):
    """Modulation of every row [rows, 6, d], one number of *steps* each."""
    waves = sinusoid(torch.tensor(steps), stage.spec.freq_dim).to(stage.time_projection[1].weight)
    return stage.time_projection(stage.time_embedding(waves)).unflatten(-1, (6, -1))
