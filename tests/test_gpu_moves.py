"""Blocks that move between stages on a card, or between cards; one stage on a CPU runs it too."""

from pathlib import Path

import pytest
import torch

from builders import make_plan
from streamtwin.core.library import clip_path
from streamtwin.core.plan import Plan
from streamtwin.core.ring import Item, Row
from streamtwin.kernels.migration import put_block, take_block
from streamtwin.kernels.stage import SessionState, StageKernels, Work
from streamtwin.runtime.freight import pack, unpack
from streamtwin.runtime.run import run_pipeline
from streamtwin.runtime.video import read_frames
from videos import assert_same_video

CARDS = torch.cuda.device_count() if torch.cuda.is_available() else 0
DEVICES = [
    "cpu",
    pytest.param(
        "cuda",
        marks=[pytest.mark.gpu, pytest.mark.skipif(not CARDS, reason="needs a CUDA device")],
    ),
]
REFRESH = {
    "sink_refresh": "kv_similarity",
    "sink_threshold": 0.98,
    "rope_refresh": "reset",
    "rope_threshold": 7,
}
CHUNKS = 14


class Stages:
    """The stages of a plan in one process, and a session on each."""

    def __init__(self, plan: Plan, device: str) -> None:
        self.plan = plan
        dtype = torch.float32 if device == "cpu" else torch.bfloat16
        self.kernels = [StageKernels(plan, stage, device, dtype) for stage in plan.stages]
        self.states = [{0: kernels.new_session(0)} for kernels in self.kernels]
        self.replaced: list[tuple[int, ...]] = []

    def chunk(self, ordinal: int) -> torch.Tensor:
        """Pass a chunk of seeded latents through all stages at step 0."""
        size, first = self.plan.scenario.size, self.kernels[0]
        draw = torch.Generator().manual_seed(ordinal)
        shape = (1, self.plan.scenario.shape.latents_of(ordinal), 16, *size.latent)
        latents = torch.randn(shape, generator=draw).to(first.device, first.dtype)
        item, work = Item(ordinal, (Row(0, ordinal, ordinal, 0),)), Work(latents, (700,))
        for kernels, states in zip(self.kernels, self.states, strict=True):
            work = kernels.run(states, item, work)
            self.note(kernels, states[0])
        return work.latents.clone()

    def note(self, kernels: StageKernels, state: SessionState) -> None:
        """Note the sinks replaced, by the model's own number of the block."""
        for one in state.sinks.replaced:
            self.replaced.append((one.row.chunk, kernels.dit.held[one.block], one.slot))
        state.sinks.replaced.clear()

    def move(self, index: int, giver: int, taker: int) -> None:
        """Let block *index* change stages, through the messages that ranks send."""
        load = take_block(self.kernels[giver].dit, self.states[giver], index)
        device = self.kernels[taker].device
        messages = iter([message.to(device) for message in pack(load)])
        came = unpack(lambda shape, dtype: next(messages).view(shape).to(dtype))
        put_block(self.kernels[taker].dit, self.states[taker], came)


@pytest.mark.parametrize("device", DEVICES)
@torch.inference_mode()
def test_blocks_move_while_sinks_are_still_being_compared(device: str) -> None:
    common = {"resolution": [32, 48], "window": 4, "sink": 2, "steps": 1, "conditioning": REFRESH}
    still = Stages(make_plan(**common, gpus=2), device)
    moving = Stages(make_plan(**common, gpus=2), device)
    for ordinal in range(CHUNKS):
        assert torch.equal(moving.chunk(ordinal), still.chunk(ordinal))
        if ordinal in (5, 9):
            moving.move(2, 0, 1)
            moving.move(1, 0, 1)
        if ordinal in (7, 11):
            moving.move(1, 1, 0)
            moving.move(2, 1, 0)
    assert sorted(moving.replaced) == sorted(still.replaced)
    assert any(chunk > 5 for chunk, *_ in still.replaced)


@pytest.mark.gpu
@pytest.mark.skipif(CARDS < 2, reason="needs two CUDA devices")
@pytest.mark.parametrize("protocol", ["sdv2", "overlap"])
def test_blocks_move_between_cards_and_change_no_bit(protocol: str, tmp_path: Path) -> None:
    clip = read_frames(clip_path(), 32, 48)
    for name, schedule in (("still", {}), ("moving", {6: [5, 1], 10: [1, 5], 14: [3, 3]})):
        plan = make_plan(
            resolution=[32, 48],
            chunks=20,
            gpus=2,
            protocol=protocol,
            partition={"schedule": schedule},
        )
        done = run_pipeline(plan, clip, tmp_path / f"{name}.mp4", device="cuda")
        assert {chunk.outcome for chunk in done.records.chunks} == {"emitted"}
    assert_same_video(tmp_path / "moving.mp4", tmp_path / "still.mp4")
