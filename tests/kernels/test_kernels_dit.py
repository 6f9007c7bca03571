"""Laws of a stage: ring = concatenation, split = whole, batched = one by one, sessions apart."""

import math
from itertools import pairwise

import pytest
import torch
import torch.nn.functional as F
from torch.utils._python_dispatch import TorchDispatchMode

from streamtwin.core.specs import ModelSpec, Resolution
from streamtwin.core.window import Window
from streamtwin.kernels.cache import PassRow
from streamtwin.kernels.dit import build_dit, sinusoid

WINDOW = Window(6, 3)
STEPS = (700.0, 500.0, 400.0, 200.0)


def at(*steps):
    """Timesteps of rows with one frame each."""
    return torch.tensor(steps)[:, None]


def session(stage, context, kv_rows=1, window=WINDOW):
    cache = stage.new_cache(kv_rows, window)
    stage.set_prompt(cache, context)
    return cache


# A block in plain code: float64, cosines and sines by hand, keys and values of every frame kept.


class PlainBlock:
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
        d = self.spec.head_dim
        high = wide = 2 * (d // 6)
        rows, columns = self.grid
        out = x.clone()
        for token in range(rows * columns):
            first = 0
            for size, position in (
                (d - high - wide, frame),
                (high, token // columns),
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
        self.past.append((k, self.heads(self.linear("self_attn.v", x))))
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


def test_ring_equals_concatenation(make_stage, latents, context, error):
    stage = make_stage(range(2))
    cache = session(stage, context)
    whole = {name: value.double() for name, value in stage.state_dict().items()}
    plain = [
        PlainBlock(
            {
                name.removeprefix(f"blocks.{i}."): value
                for name, value in stage.state_dict().items()
                if name.startswith(f"blocks.{i}.")
            },
            stage.spec,
            stage.resolution,
        )
        for i in range(2)
    ]
    double = make_stage(range(2), dtype=torch.float64)
    double.load_state_dict(whole)
    text = double.text_embedding(context.double())
    steps = at(500.0)
    waves = sinusoid(steps, stage.spec.freq_dim)
    e0 = double.time_projection(double.time_embedding(waves)).view(6, -1)
    for frame in range(2 * WINDOW.frames):
        x = stage.embed(latents(1, 1, frame))
        y = stage(x, steps, [PassRow(0, frame, 1)], cache)
        expected = x[0].double()
        for block in plain:
            expected = block(expected, frame, e0, text)
        assert error(y[0], expected) < 1e-5, f"frame {frame}"


@pytest.mark.parametrize("cuts", [(0, 1, 4), (0, 2, 4), (0, 1, 2, 4)])
def test_chained_stages_equal_the_whole(make_stage, latents, context, cuts):
    whole = make_stage()
    parts = [
        make_stage(range(start, stop), embeds=start == 0, heads_out=stop == 4)
        for start, stop in pairwise(cuts)
    ]
    one = session(whole, context, 2)
    many = [session(part, context, 2) for part in parts]
    steps = at(700.0, 500.0)
    for chunk in range(1, 9):
        rows = [PassRow(0, chunk, 1), PassRow(1, chunk - 1, 1)]
        x = y = parts[0].embed(latents(2, 1, chunk))
        for part, cache in zip(parts, many, strict=True):
            x = part(x, steps, rows, cache)
        y = whole(y, steps, rows, one)
        assert torch.equal(parts[-1].unembed(x, steps), whole.unembed(y, steps))


BATCHES = {
    "stream batch": [PassRow(i, 9 - i, 1) for i in range(4)],
    "filling": [PassRow(i, 4 - i, 1) for i in range(4)],
    "offset rows": [PassRow(i + 1, 20 + 3 * i, 1) for i in range(3)],
    "shuffled rows": [PassRow(3, 8, 1), PassRow(0, 11, 1), PassRow(2, 7, 1)],
    "shuffled and filling": [PassRow(3, 2, 1), PassRow(0, 11, 1)],
    "two frames": [PassRow(0, 8, 2), PassRow(1, 6, 2)],
    "across the wrap": [PassRow(0, 8, 3), PassRow(1, 5, 3)],
    "across the sinks": [PassRow(0, 1, 3), PassRow(1, 0, 3)],
}


@pytest.mark.parametrize("rows", BATCHES.values(), ids=list(BATCHES))
def test_batched_rows_equal_rows_one_by_one(make_stage, latents, context, error, rows):
    stage = make_stage()
    together, apart = session(stage, context, 4), session(stage, context, 4)
    T = rows[0].frames
    for cache in (together, apart):  # a past that differs between the rows
        generator = torch.Generator().manual_seed(0)
        cache.k.copy_(torch.randn(cache.k.shape, generator=generator))
        cache.v.copy_(torch.randn(cache.v.shape, generator=generator))
    x = stage.embed(latents(len(rows), T))
    steps = at(*STEPS[: len(rows)]).repeat(1, T)
    batched = stage(x, steps, rows, together)
    for i, row in enumerate(rows):
        alone = stage(x[i : i + 1], steps[i : i + 1], [row], apart)
        assert error(batched[i], alone[0]) < 1e-5
    torch.testing.assert_close(together.k, apart.k, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(together.v, apart.v, rtol=1e-5, atol=1e-5)


def test_a_chunk_of_frames_sees_all_of_itself(make_stage, latents, context, error):
    """Within a chunk attention is not causal: the first frame depends on the last."""
    stage = make_stage(range(1))
    x = stage.embed(latents(1, 3))
    changed = x.clone()
    changed[:, -1] *= -1  # not a shift: the norm would undo it
    first, other = (
        stage(y, torch.full((1, 3), 500.0), [PassRow(0, 0, 3)], session(stage, context))
        for y in (x, changed)
    )
    S = stage.resolution.tokens
    assert error(other[:, :S], first[:, :S]) > 1e-4


def test_each_frame_has_its_own_timestep(make_stage, latents, context, error):
    """The FFN's output of a frame follows that frame's timestep."""
    stage = make_stage(range(0))
    x = latents(1, 2).new_ones(1, 2 * stage.resolution.tokens, stage.spec.dim).cumsum(-1)
    both = stage.unembed(x, torch.tensor([[700.0, 200.0]]))
    same = stage.unembed(x, torch.tensor([[700.0, 700.0]]))
    assert torch.equal(both[:, 0], same[:, 0])
    assert error(both[:, 1], same[:, 1]) > 1e-2


def test_sessions_do_not_see_each_other(make_stage, latents, context):
    stage = make_stage()
    prompts = {"a": context, "b": context.flip(0) * 2}

    def play(names):
        caches = {name: session(stage, prompts[name]) for name in prompts}
        frame = dict.fromkeys(prompts, 0)
        out = {name: [] for name in prompts}
        for name in names:
            x = stage.embed(latents(1, 1, seed=ord(name) + frame[name]))
            out[name].append(stage(x, at(500.0), [PassRow(0, frame[name], 1)], caches[name]))
            frame[name] += 1
        return out

    together, a, b = play("abbabaababbaab"), play("a" * 7), play("b" * 7)
    assert all(torch.equal(x, y) for x, y in zip(together["a"], a["a"], strict=True))
    assert all(torch.equal(x, y) for x, y in zip(together["b"], b["b"], strict=True))


def test_the_prompt_matters(make_stage, latents, context, error):
    stage = make_stage()
    x, row = stage.embed(latents(1, 1)), [PassRow(0, 0, 1)]
    one = stage(x, at(500.0), row, session(stage, context))
    other = stage(x, at(500.0), row, session(stage, context[None] * -1))
    assert error(one, other) > 1e-3


class HostWaits(TorchDispatchMode):
    """Lists operations that make the host wait for values, or carry host values to a device."""

    FORBIDDEN = ("_local_scalar_dense", "nonzero", "masked_select", "lift_fresh", "equal")

    def __init__(self):
        super().__init__()
        self.seen = []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        name = function.overloadpacket.__name__
        if name in self.FORBIDDEN:
            self.seen.append(name)
        return function(*args, **(kwargs or {}))


@pytest.mark.parametrize("rows", BATCHES.values(), ids=list(BATCHES))
def test_a_pass_never_waits_for_a_value(make_stage, latents, context, rows):
    stage, T = make_stage(range(2)), rows[0].frames
    cache = session(stage, context, 4)
    steps = torch.full((len(rows), T), 500.0)
    values = latents(len(rows), T)
    with HostWaits() as waits:
        x = stage.embed(values)
        stage.unembed(stage(x, steps, rows, cache), steps)
    assert waits.seen == []


@pytest.mark.parametrize("frame", [0, 1024, 10**7])
def test_deep_random_models_stay_bounded(frame):
    """Any position, any depth: nothing grows with the length of a stream."""
    spec = ModelSpec("deep", blocks=30, heads=1, ffn_dim=128, text_len=8, text_dim=16)
    resolution = Resolution(32, 32)
    stage = build_dit(spec, resolution, range(30), embeds=True, heads_out=True, seed=0)
    torch.manual_seed(0)
    cache = session(stage, torch.randn(8, 16))
    for offset in range(8):
        x = stage.embed(torch.randn(1, 1, 16, *resolution.latent))
        x = stage(x, at(500.0), [PassRow(0, frame + offset, 1)], cache)
        velocity = stage.unembed(x, at(500.0))
        assert 0.2 < float(velocity.std()) < 5
        assert float(x.std()) < 20


def test_only_distance_in_time_matters(make_stage, latents, context, error):
    """Rotary positions are relative, so a stream shifted by a day gives the same output."""
    stage = make_stage(range(1))  # one block: only the window's own frames reach the output
    outputs = []
    for start in (0, 750_000):
        window = Window(3, 0)
        cache = session(stage, context, window=window)
        for offset in range(6):
            x = stage.embed(latents(1, 1, offset))
            y = stage(x, at(500.0), [PassRow(0, start + offset, 1)], cache)
        outputs.append(y)
    assert error(outputs[1], outputs[0]) < 1e-5


def test_bfloat16_follows_float32(make_stage, latents, context, error):
    half, full = make_stage(dtype=torch.bfloat16), make_stage()
    outputs = []
    for stage in (half, full):
        cache = session(stage, context)
        for frame in range(5):
            x = stage(stage.embed(latents(1, 1, frame)), at(500.0), [PassRow(0, frame, 1)], cache)
        outputs.append(stage.unembed(x, at(500.0)))
        assert cache.k.dtype == x.dtype == outputs[-1].dtype
    assert error(outputs[0].float(), outputs[1]) < 0.05


def test_mistakes_are_named(make_stage, latents, context):
    middle = make_stage(range(1, 2), embeds=False, heads_out=False)
    cache = middle.new_cache(1, WINDOW)
    x = torch.zeros(1, middle.resolution.tokens, middle.spec.dim)
    row = [PassRow(0, 0, 1)]
    with pytest.raises(ValueError, match="embeds=True"):
        middle.embed(latents(1, 1))
    with pytest.raises(ValueError, match="heads_out=True"):
        middle.unembed(x, at(500.0))
    with pytest.raises(ValueError, match="set_prompt"):
        middle(x, at(500.0), row, cache)
    with pytest.raises(ValueError, match="context has shape"):
        middle.set_prompt(cache, context[:2])
    middle.set_prompt(cache, context)
    with pytest.raises(ValueError, match="the rows are"):
        middle(x, at(500.0, 200.0), row, cache)
    with pytest.raises(ValueError, match="x has shape"):
        middle(x[:, 1:], at(500.0), row, cache)
