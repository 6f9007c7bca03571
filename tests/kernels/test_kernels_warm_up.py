"""Warm-up of any ring: W lanes, N steps, T' latents, with stream batch and without.

The ring's book and the kernels run as they do in the pipeline, without its processes: an item is
passed through the whole model when it is sent and its result kept back until the ring asks.
"""

from functools import cache

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from kernel_cases import VAE, normal

from streamtwin.core.plan import Plan, Stage
from streamtwin.core.policies.batching import fixed
from streamtwin.core.ring import Item, Ring, Row, first_turns
from streamtwin.core.scenario_file import check_scenario
from streamtwin.core.specs import ModelSpec
from streamtwin.kernels.stage import StageKernels, Work

MODEL = ModelSpec(
    "two", blocks=2, heads=2, ffn_dim=32, head_dim=12, freq_dim=8, text_len=4, text_dim=8
)


def make_plan(steps, latents, stream_batch):
    scenario = check_scenario(
        {
            "resolution": [16, 32],
            "workload": {"chunks": 3},
            "deployment": {
                "steps": steps,
                "chunk_latents": latents,
                "stream_batch": stream_batch,
                "window": 6,
                "sink": 3,
            },
            "conditioning": {"rope_refresh": "reset", "rope_threshold": 9},
        },
        "test",
    )
    return Plan(scenario, MODEL, VAE, (Stage(0, range(2), True, True),), 4)


class Lanes:
    """Plays a stream of *chunks* chunks through a ring of *lanes* lanes."""

    def __init__(self, plan, lanes, chunks):
        self.plan, self.chunks = plan, chunks
        self.ring = Ring(lanes, plan.steps, plan.max_rows)
        self.kernels = StageKernels(plan, plan.stages[0])
        self.state = self.kernels.new_session(0)
        self.latents, self.results, self.inputs = {}, {}, {}
        self.emitted, self.written = [], {}
        self.play()

    def play(self):
        for item in first_turns(self.enter(0), self.plan.steps):
            self.send(item)
            self.take_back(item)
        index = taken = 1
        while taken < self.chunks or not self.ring.empty():
            new = ()
            waiting = self.chunks - taken
            if waiting and fixed(self.ring.view(index, waiting)):
                new, taken = (self.enter(taken),), taken + 1
            item = self.ring.compose(index, new)
            while self.ring.due(index):
                self.take_back(self.ring.returned())
            if item is not None:
                self.send(item)
                self.ring.sent(item)
                if self.ring.lanes == 1:
                    self.take_back(item)
            index += 1

    def enter(self, ordinal):
        size, frames = self.plan.scenario.size, self.plan.scenario.shape.latents_of(ordinal)
        shape = (frames, MODEL.latent_channels, *size.latent)
        self.latents[ordinal, 0] = normal(*shape, seed=ordinal)
        return Row(0, ordinal, ordinal, 0)

    def send(self, item):
        """Pass *item* through the blocks; note what each of its KV rows then holds."""
        x = torch.stack([self.latents.pop((row.ordinal, row.step)) for row in item.rows])
        work = Work(x, tuple(self.kernels.timestep(row.step) for row in item.rows))
        self.inputs |= {(row.ordinal, row.step): x[i] for i, row in enumerate(item.rows)}
        done = self.kernels.run(self.state, item, work)
        for row, latents in zip(item.rows, done.latents, strict=True):
            self.results[row.ordinal, row.step] = latents
            kv_row = 0 if item.first and row.step + 1 < self.plan.steps else row.step
            held = torch.stack([self.state.cache.k[:, kv_row], self.state.cache.v[:, kv_row]])
            self.written[row.ordinal, row.step] = held

    def take_back(self, item: Item):
        for row in item.rows:
            latents = self.results.pop((row.ordinal, row.step))
            if row.step + 1 < self.plan.steps:
                self.latents[row.ordinal, row.step + 1] = latents
            else:
                self.emitted.append((row.ordinal, latents))


@cache
def sequential(steps, latents):
    """One lane, one row a pass: each chunk is denoised to its end before the next enters."""
    return Lanes(make_plan(steps, latents, False), 1, 30)


def check(lanes, steps, latents, stream_batch):
    played = Lanes(make_plan(steps, latents, stream_batch), lanes, 2 * lanes + steps + 6)
    expected = sequential(steps, latents)
    assert [ordinal for ordinal, _ in played.emitted] == list(range(played.chunks))
    assert set(played.written) == {(c, s) for c in range(played.chunks) for s in range(steps)}
    # rows that share a pass are summed in another order; alone they give the same bits
    bound = 1e-4 if stream_batch and steps > 1 else 0.0
    for (_, one), (_, other) in zip(played.emitted, expected.emitted, strict=False):
        torch.testing.assert_close(one, other, rtol=bound, atol=bound)
    for key, held in played.written.items():
        torch.testing.assert_close(held, expected.written[key], rtol=bound, atol=bound)


@settings(max_examples=12, deadline=None)
@given(st.integers(1, 8), st.integers(1, 4), st.integers(1, 3), st.booleans())
def test_every_row_holds_what_a_sequential_run_holds(lanes, steps, latents, stream_batch):
    """Every chunk leaves once, in order, and no KV row is ever written with anything else."""
    check(lanes, steps, latents, stream_batch)


@pytest.mark.parametrize("stream_batch", [True, False])
@pytest.mark.parametrize(("lanes", "steps"), [(5, 2), (8, 2), (8, 4)])
def test_rings_whose_warm_up_corrupts_a_sink_in_the_reference(lanes, steps, stream_batch):
    check(lanes, steps, 1, stream_batch)


def test_the_first_chunk_leaves_its_last_step_in_every_row():
    """Its steps overwrite each other: what is kept is what the last step alone would write."""
    plan = make_plan(3, 2, True)
    played = Lanes(plan, 2, 1)
    kernels = StageKernels(plan, plan.stages[0])
    state = kernels.new_session(0)
    work = Work(played.inputs[0, 2][None], (kernels.timestep(2),))
    kernels.run(state, Item(0, (Row(0, 0, 0, 2),)), work)
    assert bool(state.cache.k.any())
    for row in range(3):
        assert torch.equal(played.state.cache.k[:, row], state.cache.k[:, 0])
        assert torch.equal(played.state.cache.v[:, row], state.cache.v[:, 0])
