"""Laws of a stage: split = whole, batched = one by one, sessions apart, bounded for ever."""

from itertools import pairwise

import pytest
import torch
from kernel_cases import context, error, latents, make_stage, new_session, one_session
from torch.utils._python_dispatch import TorchDispatchMode

from streamtwin.core.specs import ModelSpec, Resolution
from streamtwin.core.window import Window
from streamtwin.kernels.cache import PassRow
from streamtwin.kernels.weights import build_dit

WINDOW = Window(6, 3)
STEPS = (700.0, 500.0, 400.0, 200.0)


def at(*steps):
    """Timesteps of rows with one frame each."""
    return torch.tensor(steps)[:, None]


@pytest.mark.parametrize("cuts", [(0, 1, 4), (0, 2, 4), (0, 1, 2, 4)])
def test_chained_stages_equal_the_whole(cuts):
    whole = make_stage()
    parts = [
        make_stage(range(start, stop), embeds=start == 0, heads_out=stop == 4)
        for start, stop in pairwise(cuts)
    ]
    one = new_session(whole, context, 2)
    many = [new_session(part, context, 2) for part in parts]
    steps = at(700.0, 500.0)
    for chunk in range(1, 9):
        rows = [PassRow(0, chunk, 1), PassRow(1, chunk - 1, 1)]
        x = y = parts[0].embed(latents(2, 1, chunk))
        for part, cache in zip(parts, many, strict=True):
            x = one_session(part, x, steps, rows, cache)
        y = one_session(whole, y, steps, rows, one)
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
def test_batched_rows_equal_rows_one_by_one(rows):
    stage = make_stage()
    together, apart = new_session(stage, context, 4), new_session(stage, context, 4)
    T = rows[0].frames
    for cache in (together.cache, apart.cache):  # a past that differs between the rows
        generator = torch.Generator().manual_seed(0)
        for part in (*cache.k, *cache.v):
            part.copy_(torch.randn(part.shape, generator=generator))
    x = stage.embed(latents(len(rows), T))
    steps = at(*STEPS[: len(rows)]).repeat(1, T)
    batched = one_session(stage, x, steps, rows, together)
    for i, row in enumerate(rows):
        alone = one_session(stage, x[i : i + 1], steps[i : i + 1], [row], apart)
        assert error(batched[i], alone[0]) < 1e-5
    torch.testing.assert_close(together.cache.k, apart.cache.k, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(together.cache.v, apart.cache.v, rtol=1e-5, atol=1e-5)


def test_a_chunk_of_frames_sees_all_of_itself():
    """Within a chunk attention is not causal: the first frame depends on the last."""
    stage = make_stage(range(1))
    x = stage.embed(latents(1, 3))
    changed = x.clone()
    changed[:, -1] *= -1  # not a shift: the norm would undo it
    first, other = (
        one_session(
            stage, y, torch.full((1, 3), 500.0), [PassRow(0, 0, 3)], new_session(stage, context)
        )
        for y in (x, changed)
    )
    S = stage.resolution.tokens
    assert error(other[:, :S], first[:, :S]) > 1e-4


def test_each_frame_has_its_own_timestep():
    """The FFN's output of a frame follows that frame's timestep."""
    stage = make_stage(range(0))
    x = latents(1, 2).new_ones(1, 2 * stage.resolution.tokens, stage.spec.dim).cumsum(-1)
    both = stage.unembed(x, torch.tensor([[700.0, 200.0]]))
    same = stage.unembed(x, torch.tensor([[700.0, 700.0]]))
    assert torch.equal(both[:, 0], same[:, 0])
    assert error(both[:, 1], same[:, 1]) > 1e-2


def test_sessions_do_not_see_each_other():
    prompts = {"a": context, "b": context.flip(0) * 2}

    def play(names):
        stage = make_stage()  # a new one: nothing may be left from the run compared with
        caches = {name: new_session(stage, prompts[name]) for name in sorted(set(names))}
        frame = dict.fromkeys(prompts, 0)
        out = {name: [] for name in prompts}
        for name in names:
            x = stage.embed(latents(1, 1, seed=ord(name) + frame[name]))
            out[name].append(
                one_session(stage, x, at(500.0), [PassRow(0, frame[name], 1)], caches[name])
            )
            frame[name] += 1
        return out

    together, a, b = play("abbabaababbaab"), play("a" * 7), play("b" * 7)
    assert all(torch.equal(x, y) for x, y in zip(together["a"], a["a"], strict=True))
    assert all(torch.equal(x, y) for x, y in zip(together["b"], b["b"], strict=True))


def test_the_prompt_matters():
    stage = make_stage()
    x, row = stage.embed(latents(1, 1)), [PassRow(0, 0, 1)]
    one = one_session(stage, x, at(500.0), row, new_session(stage, context))
    other = one_session(stage, x, at(500.0), row, new_session(stage, context[None] * -1))
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
def test_a_pass_never_waits_for_a_value(rows):
    stage, T = make_stage(range(2)), rows[0].frames
    cache = new_session(stage, context, 4)
    steps = torch.full((len(rows), T), 500.0)
    values = latents(len(rows), T)
    with HostWaits() as waits:
        x = stage.embed(values)
        stage.unembed(one_session(stage, x, steps, rows, cache), steps)
    assert waits.seen == []


@pytest.mark.parametrize("frame", [0, 1024, 10**7])
def test_deep_random_models_stay_bounded(frame):
    """Any position, any depth: nothing grows with the length of a stream."""
    spec = ModelSpec("deep", blocks=30, heads=1, ffn_dim=128, text_len=8, text_dim=16)
    resolution = Resolution(32, 32)
    stage = build_dit(spec, resolution, range(30), embeds=True, heads_out=True, seed=0)
    torch.manual_seed(0)
    cache = new_session(stage, torch.randn(8, 16))
    for offset in range(8):
        x = stage.embed(torch.randn(1, 1, 16, *resolution.latent))
        x = one_session(stage, x, at(500.0), [PassRow(0, frame + offset, 1)], cache)
        velocity = stage.unembed(x, at(500.0))
        assert 0.2 < float(velocity.std()) < 5
        assert float(x.std()) < 20


def test_only_distance_in_time_matters():
    """Rotary positions are relative, so a stream shifted by a day gives the same output."""
    stage = make_stage(range(1))  # one block: only the window's own frames reach the output
    outputs = []
    for start in (0, 750_000):
        window = Window(3, 0)
        cache = new_session(stage, context, window=window)
        for offset in range(6):
            x = stage.embed(latents(1, 1, offset))
            y = one_session(stage, x, at(500.0), [PassRow(0, start + offset, 1)], cache)
        outputs.append(y)
    assert error(outputs[1], outputs[0]) < 1e-5


def test_bfloat16_follows_float32():
    half, full = make_stage(dtype=torch.bfloat16), make_stage()
    outputs = []
    for stage in (half, full):
        cache = new_session(stage, context)
        for frame in range(5):
            x = one_session(
                stage, stage.embed(latents(1, 1, frame)), at(500.0), [PassRow(0, frame, 1)], cache
            )
        outputs.append(stage.unembed(x, at(500.0)))
        assert cache.cache.k[0].dtype == x.dtype == outputs[-1].dtype
    assert error(outputs[0].float(), outputs[1]) < 0.05


def test_mistakes_are_named():
    middle = make_stage(range(1, 2), embeds=False, heads_out=False)
    cache = middle.new_cache(1, WINDOW)
    x = torch.zeros(1, middle.resolution.tokens, middle.spec.dim)
    row = [PassRow(0, 0, 1)]
    with pytest.raises(ValueError, match="embeds=True"):
        middle.embed(latents(1, 1))
    with pytest.raises(ValueError, match="heads_out=True"):
        middle.unembed(x, at(500.0))
    with pytest.raises(ValueError, match="context has shape"):
        middle.read_text(context[:2])
    text = middle.read_text(context)
    with pytest.raises(ValueError, match="need a cache and a text each"):
        middle(x, at(500.0), row, [cache], [])
    rows = [PassRow(0, 0, 1), PassRow(0, 0, 1), PassRow(1, 0, 1)]
    other = middle.new_cache(1, WINDOW)
    three = x.expand(3, -1, -1), at(500.0, 500.0, 500.0)
    with pytest.raises(ValueError, match="must stand together"):
        middle(*three, rows, [cache, other, cache], [text] * 3)
    with pytest.raises(ValueError, match="the rows are"):
        middle(x, at(500.0, 200.0), row, [cache], [text])
    with pytest.raises(ValueError, match="x has shape"):
        middle(x[:, 1:], at(500.0), row, [cache], [text])
