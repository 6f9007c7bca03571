"""On a CUDA card: messages and computing overlap, and no buffer is touched too early."""

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from builders import make_plan
from streamtwin.core.library import clip_path
from streamtwin.runtime.order import Buffer, order_of
from streamtwin.runtime.run import run_pipeline
from streamtwin.runtime.video import read_frames

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]

LONG = 20_000_000
"""Clock cycles that a kernel idles: about 10 ms, far longer than the host takes to go on."""

NOTHING = SimpleNamespace(wait=lambda: None)


def test_a_message_carries_what_was_computed_for_it() -> None:
    """Computing and sending are slow; the host goes on at once."""
    device = torch.device("cuda", 0)
    order = order_of(device)
    buffer = Buffer(torch.zeros(1 << 20, device=device))
    wire = torch.zeros(4, 1 << 20, device=device)

    def post(turn: int) -> SimpleNamespace:
        torch.cuda._sleep(LONG)
        wire[turn].copy_(buffer.memory)
        return NOTHING

    for turn in range(4):
        order.fill(buffer)
        torch.cuda._sleep(LONG)
        buffer.memory.fill_(turn + 1)
        order.send(buffer, lambda turn=turn: post(turn))
    torch.cuda.synchronize()
    assert wire.unique(dim=1).flatten().tolist() == [1, 2, 3, 4]


def test_what_has_arrived_stays_until_it_is_read() -> None:
    device = torch.device("cuda", 0)
    order = order_of(device)
    buffers = [Buffer(torch.zeros(1 << 20, device=device)) for _ in (0, 1)]
    seen = torch.zeros(6, 1 << 20, device=device)

    def post(turn: int) -> SimpleNamespace:
        torch.cuda._sleep(LONG)
        buffers[turn % 2].memory.fill_(turn + 1)
        return NOTHING

    order.receive(buffers[0], lambda: post(0))
    for turn in range(6):
        order.wait(buffers[turn % 2])
        order.receive(buffers[(turn + 1) % 2], lambda turn=turn: post(turn + 1))
        torch.cuda._sleep(2 * LONG)
        seen[turn].copy_(buffers[turn % 2].memory)
    torch.cuda.synchronize()
    assert seen.unique(dim=1).flatten().tolist() == [1, 2, 3, 4, 5, 6]


@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="needs two cards")
@pytest.mark.parametrize("gpus", [2, 3, 4])
def test_the_pipeline_overlaps_on_cards(gpus: int, tmp_path: Path) -> None:
    if torch.cuda.device_count() < gpus:
        pytest.skip(f"needs {gpus} cards")
    plan = make_plan(chunks=24, gpus=gpus, protocol="overlap")
    clip = read_frames(clip_path(), *plan.scenario.resolution)
    done = run_pipeline(plan, clip, tmp_path / "out.mp4", device="cuda")
    assert done.frames == 97
    assert any(span.kind == "transfer" for span in done.records.spans)
