"""On a CUDA card: refreshing the streaming state makes no pass wait, and decides as a CPU does."""

import pytest
import torch

from streamtwin.core.specs import ModelSpec, Resolution
from streamtwin.core.window import Window
from streamtwin.kernels.cache import StageCache, TextCache
from streamtwin.kernels.dit import DiTStage
from streamtwin.kernels.rows import PassRow
from streamtwin.kernels.weights import build_dit

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]

SPEC = ModelSpec(
    "small", blocks=3, heads=2, ffn_dim=96, head_dim=32, freq_dim=32, text_len=6, text_dim=24
)
SIZE = Resolution(32, 48)
WINDOW = Window(5, 2)


def begin(device: str) -> tuple[DiTStage, StageCache, TextCache]:
    host = build_dit(SPEC, SIZE, range(3), embeds=True, heads_out=True, seed=1)
    stage = build_dit(SPEC, SIZE, range(3), embeds=True, heads_out=True, seed=1, device=device)
    stage.load_state_dict(host.state_dict())
    cache = stage.new_cache(1, WINDOW)
    draw = torch.Generator().manual_seed(2)
    context = torch.randn(SPEC.text_len, SPEC.text_dim, generator=draw).to(device)
    return stage, cache, stage.read_text(context)


@torch.inference_mode()
def play(device: str) -> tuple[list[list[tuple[float, ...]] | None], torch.Tensor]:
    """Twelve chunks with a replaced sink and a restart; what each pass found, and the last output."""
    stage, cache, text = begin(device)
    draw, found = torch.Generator().manual_seed(3), []
    steps = torch.full((1, 1), 500.0, device=device)
    for frame in range(12):
        latents = torch.randn(1, 1, SPEC.latent_channels, *SIZE.latent, generator=draw).to(device)
        found.append(cache.watch.read(0))
        sinks = (1, None, 0) if frame == 7 else ()
        row = PassRow(0, frame, 1, position=frame if frame < 9 else frame - 5, sinks=sinks)
        if device == "cuda":
            torch.cuda.set_sync_debug_mode("error")
        try:
            y = stage(stage.embed(latents), steps, [row], [cache], [text])
            if frame >= 2:
                cache.watch.compare(cache.k, cache.v, cache.held, 0, WINDOW.sink)
        finally:
            if device == "cuda":
                torch.cuda.set_sync_debug_mode("default")
    return found, y.cpu()


def test_no_pass_waits_and_the_card_finds_what_a_cpu_finds() -> None:
    found, output = play("cuda")
    expected, same = play("cpu")
    assert found[:3] == [None] * 3
    for one, other in zip(found[3:], expected[3:], strict=True):
        assert one is not None
        assert other is not None
        for block, values in zip(one, other, strict=True):
            assert block == pytest.approx(values, abs=1e-2)
    assert float((output - same).norm() / same.norm()) < 1e-2
