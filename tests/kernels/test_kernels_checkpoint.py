"""Every published layout gives the same weights, and a rank reads its own only."""

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import pytest
import torch
from checkpoint_cases import (
    Weights,
    diffusers_dit,
    diffusers_vae,
    dit_weights,
    plan_of,
    same,
    shapes_of,
    under_model,
    vae_weights,
    varied,
    write_shards,
)
from kernel_cases import RESOLUTION, SPEC, VAE, context, error, latents, normal
from safetensors.torch import save_file

from streamtwin.core import catalog
from streamtwin.core.window import Window
from streamtwin.kernels.cache import PassRow
from streamtwin.kernels.checkpoint import Shapes, dit_shapes, vae_shapes
from streamtwin.kernels.checkpoint_names import Layout, dit_layouts, vae_layouts
from streamtwin.kernels.stage import StageKernels
from streamtwin.kernels.tensor_files import SafetensorsFiles, TorchFile
from streamtwin.kernels.weights import stage_dit

Writer = Callable[[Path, Weights], Path]


def nested(key: str | None, prefix: bool, zipped: bool = True) -> Writer:
    """A file of torch.save, the weights under *key* beside what training leaves there."""

    def write(folder: Path, weights: Weights) -> Path:
        named = under_model(weights) if prefix else weights
        loaded = named if key is None else {"step": 7, "critic": {"x": torch.ones(2)}, key: named}
        torch.save(loaded, folder / "model.pt", _use_new_zipfile_serialization=zipped)
        return folder / "model.pt"

    return write


def safetensors(folder: Path, weights: Weights) -> Path:
    save_file(weights, folder / "some.safetensors")
    return folder / "some.safetensors"


def sharded(folder: Path, weights: Weights) -> Path:
    write_shards(folder / "hub", weights, 3, "diffusion_pytorch_model")
    return folder / "hub"


def shards_without_index(folder: Path, weights: Weights) -> Path:
    (sharded(folder, weights) / "diffusion_pytorch_model.safetensors.index.json").unlink()
    return folder / "hub"


def base_folder(folder: Path, weights: Weights) -> Path:
    """As Wan 2.1 is published: DiT, VAE and text encoder in one folder."""
    save_file(weights, folder / "diffusion_pytorch_model.safetensors")
    torch.save(vae_weights(), folder / "Wan2.1_VAE.pth")
    torch.save({}, folder / "models_t5_umt5-xxl-enc-bf16.pth")
    (folder / "config.json").write_text('{"num_heads": 2, "dim": 64, "num_layers": 4}')
    return folder


WRITERS: dict[str, Writer] = {
    "generator": nested("generator", prefix=True),
    "generator_ema": nested("generator_ema", prefix=True),
    "state_dict": nested("state_dict", prefix=False),
    "bare": nested(None, prefix=False),
    "bare under model.": nested(None, prefix=True),
    "before torch 1.6": nested("generator", prefix=True, zipped=False),
    "safetensors": safetensors,
    "shards": sharded,
    "shards without index": shards_without_index,
    "base folder": base_folder,
}


@pytest.mark.parametrize("layout", WRITERS)
def test_a_dit_is_loaded_whole_from_each_layout(layout: str, tmp_path: Path) -> None:
    weights = dit_weights()
    path = WRITERS[layout](tmp_path, weights)
    plan = plan_of(dit=str(path))
    dit = stage_dit(plan, plan.stages[0], "cpu", torch.float32)
    assert set(dit.state_dict()) == set(weights)
    assert same(dit, weights)
    assert not dit.training
    assert not any(value.requires_grad for value in dit.parameters())


def test_the_first_of_the_known_keys_counts(tmp_path: Path) -> None:
    weights, other = dit_weights(), {name: -value for name, value in dit_weights().items()}
    torch.save({"generator_ema": other, "generator": weights}, tmp_path / "model.pt")
    plan = plan_of(dit=str(tmp_path / "model.pt"))
    assert same(stage_dit(plan, plan.stages[0], "cpu", torch.float32), weights)


@pytest.mark.parametrize("shard_size", ["10GB", "60KB"])
def test_a_diffusers_transformer_computes_what_it_does_there(
    shard_size: str, tmp_path: Path
) -> None:
    model = varied(diffusers_dit(SPEC))
    model.save_pretrained(tmp_path / "transformer", max_shard_size=shard_size)
    files = list((tmp_path / "transformer").glob("*.safetensors"))
    assert len(files) == 1 if shard_size == "10GB" else len(files) > 2
    plan = plan_of(dit=str(tmp_path))
    stage = stage_dit(plan, plan.stages[0], "cpu", torch.float32)
    assert sum(p.numel() for p in stage.parameters()) == model.num_parameters()

    frames, steps = latents(1, 2), torch.tensor([[3.0, 1.0]])
    cache = stage.new_cache(1, Window(6, 3))
    text = stage.read_text(context)
    x = stage(stage.embed(frames), steps, [PassRow(0, 0, 2)], [cache], [text])
    per_token = steps.repeat_interleave(RESOLUTION.tokens, dim=1)
    theirs = model(frames.transpose(1, 2), per_token, context[None]).sample.transpose(1, 2)
    assert error(stage.unembed(x, steps), theirs) < 1e-5


def test_a_diffusers_vae_computes_what_it_does_there(tmp_path: Path) -> None:
    model = varied(diffusers_vae(VAE))
    model.decoder.conv_out.weight.mul_(0.1)  # keeps frames within -1..1: clamping hides nothing
    model.save_pretrained(tmp_path / "vae")
    plan = plan_of(vae=str(tmp_path / "vae"))
    kernels = StageKernels(plan, plan.stages[0])
    assert kernels.encoder is not None
    assert kernels.decoder is not None
    clip = normal(3, 5, 32, 48).clamp(-1, 1)
    ours = kernels.encoder.encode(clip, kernels.encoder.new_state())
    theirs = model.encode(clip[None]).latent_dist.mean[0].transpose(0, 1)
    assert error(ours, theirs) < 1e-5
    small = 0.1 * normal(2, 16, 4, 6)
    mean, std = (
        torch.tensor(values)[:, None, None]
        for values in (model.config.latents_mean, model.config.latents_std)
    )
    frames = kernels.decoder.decode(small, kernels.decoder.new_state())
    scaled = (small * std + mean).transpose(0, 1)[None]
    expected = model.decode(scaled).sample[0]
    assert float(expected.abs().max()) < 1
    assert error(frames, expected) < 1e-4  # names are in question here, rounding elsewhere


@pytest.mark.parametrize("name", ["wan2.1-1.3b", "wan2.1-14b"])
def test_the_published_sizes_have_diffusers_names_and_shapes(name: str) -> None:
    spec = catalog.model(name)
    with torch.device("meta"):
        theirs = diffusers_dit(spec).state_dict()
    assert named(dit_shapes(spec), dit_layouts()["diffusers"]) == shapes_of(theirs)


def test_the_published_vae_has_diffusers_names_and_shapes() -> None:
    spec = catalog.vae("wan2.1")
    with torch.device("meta"):
        theirs = diffusers_vae(spec).state_dict()
    assert named(vae_shapes(spec), vae_layouts(spec)["diffusers"]) == shapes_of(theirs)


def named(shapes: Shapes, rule: Layout) -> dict[str, tuple[int, ...]]:
    return {rule(ours): shape for ours, shape in shapes.items()}


@pytest.mark.parametrize("name", ["Wan2.1_VAE.pth", "vae.safetensors"])
def test_a_vae_is_loaded_by_halves(name: str, tmp_path: Path) -> None:
    weights = vae_weights()
    if name.endswith("pth"):
        torch.save(weights, tmp_path / name)
    else:
        save_file({key: value.contiguous() for key, value in weights.items()}, tmp_path / name)
    plan = plan_of(2, vae=str(tmp_path / name))
    first, last = (StageKernels(plan, stage) for stage in plan.stages)
    assert first.decoder is None
    assert last.encoder is None
    assert first.encoder is not None
    assert last.decoder is not None
    assert same(first.encoder, weights)
    assert same(last.decoder, weights)
    assert set(first.encoder.state_dict()) | set(last.decoder.state_dict()) == set(weights)


def test_weights_take_the_stage_s_type(tmp_path: Path) -> None:
    weights = {name: value.to(torch.bfloat16) for name, value in dit_weights().items()}
    save_file(weights, tmp_path / "half.safetensors")
    plan = plan_of(dit=str(tmp_path / "half.safetensors"))
    for dtype in (torch.float32, torch.bfloat16):
        dit = stage_dit(plan, plan.stages[0], "cpu", dtype)
        assert {value.dtype for value in dit.parameters()} == {dtype}
        assert same(dit, {name: value.to(dtype) for name, value in weights.items()})


OWNED = {
    0: {"blocks.0", "patch_embedding"},
    1: {"blocks.1"},
    2: {"blocks.2", "blocks.3", "head"},
}
EVERYWHERE = {"text_embedding", "time_embedding", "time_projection"}


@pytest.mark.parametrize("layout", ["generator", "shards"])
def test_each_rank_reads_what_it_owns(
    layout: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    weights = dit_weights()
    path = WRITERS[layout](tmp_path, weights)
    reads: list[str] = []
    for kind in (TorchFile, SafetensorsFiles):
        monkeypatch.setattr(kind, "read", noting(kind.read, reads))
    plan = plan_of(3, dit=str(path))
    seen: set[str] = set()
    for stage in plan.stages:
        reads.clear()
        dit = stage_dit(plan, stage, "cpu", torch.float32)
        assert same(dit, weights)
        own = {name.removeprefix("model.") for name in reads}
        assert len(own) == len(reads) == len(dit.state_dict())
        parts = {".".join(name.split(".")[: 2 if name[:7] == "blocks." else 1]) for name in own}
        assert parts == OWNED[stage.rank] | EVERYWHERE
        seen |= own
    assert seen == set(weights)


def noting(read: Callable, reads: list[str]) -> Callable:
    def noted(self: object, names: Iterable[str]) -> Iterator[tuple[str, torch.Tensor]]:
        for name, value in read(self, names):
            reads.append(name)
            yield name, value

    return noted


def test_a_stage_of_a_checkpoint_computes_what_the_whole_does(tmp_path: Path) -> None:
    path = WRITERS["generator"](tmp_path, dit_weights())
    outs = []
    for ranks in (1, 3):
        plan = plan_of(ranks, dit=str(path))
        x, steps = latents(1, 2), torch.tensor([[700.0, 700.0]])
        for stage in plan.stages:
            dit = stage_dit(plan, stage, "cpu", torch.float32)
            cache = dit.new_cache(1, Window(6, 3))
            text = dit.read_text(context)
            hidden = dit.embed(x) if stage.first else hidden  # noqa: F821
            hidden = dit(hidden, steps, [PassRow(0, 0, 2)], [cache], [text])
        outs.append(dit.unembed(hidden, steps))
    assert torch.equal(*outs)
