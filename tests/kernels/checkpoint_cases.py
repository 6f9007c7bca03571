"""What the checkpoint tests share: the small model in each published layout, written to files."""

import json
import warnings
from pathlib import Path
from typing import Any

import torch
from kernel_cases import RESOLUTION, SPEC, VAE, decoder, encoder, make_stage, normal
from safetensors.torch import save_file
from torch import nn

from streamtwin.core.plan import Plan, Stage
from streamtwin.core.scenario_file import check_scenario
from streamtwin.core.specs import ModelSpec, VaeSpec
from streamtwin.kernels.vae import StreamVae

Weights = dict[str, torch.Tensor]


def dit_weights() -> Weights:
    """Weights that no seed gives: every tensor its own, norm gains included."""
    stage = make_stage(seed=99)
    return {
        name: value + 0.1 * normal(*value.shape, seed=index)
        for index, (name, value) in enumerate(stage.state_dict().items())
    }


def vae_weights() -> Weights:
    return {name: value.clone() for name, value in StreamVae(encoder, decoder).state_dict().items()}


def plan_of(ranks: int = 1, **weights: Any) -> Plan:
    """A plan of the small model over *ranks* ranks."""
    size = [RESOLUTION.height, RESOLUTION.width]
    data = {"resolution": size, "workload": {"chunks": 6}, "weights": weights}
    bounds = [SPEC.blocks * rank // ranks for rank in range(ranks + 1)]
    stages = tuple(
        Stage(rank, range(bounds[rank], bounds[rank + 1]), *(rank == 0, rank == ranks - 1) * 2)
        for rank in range(ranks)
    )
    return Plan(check_scenario(data, "test"), SPEC, VAE, stages, 4)


def under_model(weights: Weights) -> Weights:
    return {f"model.{name}": value for name, value in weights.items()}


def write_shards(folder: Path, weights: Weights, count: int, stem: str) -> None:
    """*weights* in *count* files and the index of them, as hubs keep them."""
    folder.mkdir()
    places = {}
    for shard in range(count):
        file = f"{stem}-{shard + 1:05d}-of-{count:05d}.safetensors"
        part = dict(list(weights.items())[shard::count])
        save_file({name: value.contiguous() for name, value in part.items()}, folder / file)
        places |= dict.fromkeys(part, file)
    (folder / f"{stem}.safetensors.index.json").write_text(json.dumps({"weight_map": places}))


def diffusers_dit(spec: ModelSpec) -> Any:
    """diffusers' transformer in the size of *spec*."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from diffusers import WanTransformer3DModel  # noqa: PLC0415

    return WanTransformer3DModel(
        num_attention_heads=spec.heads,
        attention_head_dim=spec.head_dim,
        text_dim=spec.text_dim,
        freq_dim=spec.freq_dim,
        ffn_dim=spec.ffn_dim,
        num_layers=spec.blocks,
    )


def diffusers_vae(spec: VaeSpec) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from diffusers import AutoencoderKLWan  # noqa: PLC0415

    return AutoencoderKLWan(base_dim=spec.base_channels)


def varied(model: Any) -> Any:
    """*model* with the same weights in every run, no two alike, norm gains near one."""
    model.eval().requires_grad_(False)
    for index, (name, parameter) in enumerate(model.named_parameters()):
        draw = normal(*parameter.shape, seed=index)
        if "norm" in name and not name.endswith("bias"):
            parameter.copy_(1 + 0.2 * draw)
        elif parameter.ndim > 1:
            parameter.copy_(draw * (parameter.numel() / parameter.shape[0]) ** -0.5)
        else:
            parameter.copy_(0.05 * draw)
    return model


def same(module: nn.Module, weights: Weights) -> bool:
    """Whether every parameter of *module* is that of *weights*, bit for bit."""
    own = module.state_dict()
    return bool(own) and all(torch.equal(value, weights[name]) for name, value in own.items())


def shapes_of(weights: Weights) -> dict[str, tuple[int, ...]]:
    return {name: tuple(value.shape) for name, value in weights.items()}
