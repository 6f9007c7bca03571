"""Which files does a checkpoint's path mean, and what does its config say of the model?"""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from streamtwin.core.errors import UserError
from streamtwin.core.specs import ModelSpec, VaeSpec
from streamtwin.kernels.checkpoint_names import Part
from streamtwin.kernels.tensor_files import SafetensorsFiles, TensorFiles, TorchFile

TORCH_SUFFIXES = (".pt", ".pth", ".bin", ".ckpt")

SHARD = re.compile(r"(.+)-(\d{5})-of-(\d{5})\.safetensors")

STEMS: Mapping[Part, tuple[str, ...]] = {
    "dit": ("diffusion_pytorch_model", "model"),
    "vae": ("Wan2.1_VAE", "diffusion_pytorch_model"),
    "taehv": ("taew2_1",),
}
"""How the files of each part are named, where a folder holds several things; best first."""

INSIDE: Mapping[Part, str] = {"dit": "transformer", "vae": "vae", "taehv": "taehv"}
"""Folders of each part in that of a whole diffusers pipeline."""

DIT_KEYS = {
    **{"num_layers": "blocks", "num_heads": "heads", "num_attention_heads": "heads"},
    **{"dim": "dim", "attention_head_dim": "head_dim", "ffn_dim": "ffn_dim"},
    **{"freq_dim": "freq_dim", "text_dim": "text_dim", "eps": "eps"},
    **{"in_dim": "latent_channels", "in_channels": "latent_channels"},
    **{"out_dim": "latent_channels", "out_channels": "latent_channels"},
}
"""Keys of a config.json, of Wan's and of diffusers', and what they are in a `ModelSpec`."""

VAE_KEYS = {"base_dim": "base_channels", "z_dim": "latent_channels"}


def open_files(path: Path, part: Part) -> TensorFiles:
    """The tensors of the checkpoint *path*: a file, a list of shards, or a folder of these.

    Raises:
        UserError: there is no such file, none or several that could be meant, or one is damaged.
    """
    if not path.exists():
        raise UserError(f"{path}: no such file or folder")
    chosen = _in_folder(path, part) if path.is_dir() else path
    if chosen.name.endswith(".index.json"):
        return _sharded(chosen)
    if chosen.suffix in TORCH_SUFFIXES:
        return TorchFile(chosen)
    if chosen.suffix != ".safetensors":
        known = ", ".join((".safetensors", ".safetensors.index.json", *TORCH_SUFFIXES))
        raise UserError(f"{chosen}: unknown kind of file; choose one of {known}")
    shard = SHARD.fullmatch(chosen.name)
    if shard is None:
        return SafetensorsFiles([chosen])
    stem, _, count = shard.groups()
    names = [f"{stem}-{number:05d}-of-{count}" for number in range(1, int(count) + 1)]
    return SafetensorsFiles(chosen.with_name(f"{name}.safetensors") for name in names)


def check_config(path: Path, part: Part, spec: ModelSpec | VaeSpec) -> None:
    """Compare the config.json in the folder *path*, if there is one, with *spec*.

    It tells what the tensors' shapes cannot, such as the number of heads.

    Raises:
        UserError: they disagree; names what differs.
    """
    folder = path / INSIDE[part] if (path / INSIDE[part]).is_dir() else path
    file = folder / "config.json"
    if not file.is_file():
        return
    config = read_json(file)
    keys = DIT_KEYS if part == "dit" else VAE_KEYS
    told = [
        f"{key} = {config[key]}, not {getattr(spec, field)}"
        for key, field in keys.items()
        if key in config and config[key] != getattr(spec, field)
    ]
    if told:
        raise UserError(f"{file}: is not of {spec.name}: {', '.join(told)}")


def read_json(file: Path) -> dict[str, Any]:
    """The mapping in *file*; UserError when there is none."""
    try:
        data = json.loads(file.read_text("utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"{file}: cannot be read as JSON: {error}") from error
    if not isinstance(data, dict):
        raise UserError(f"{file}: holds a {type(data).__name__}, not a mapping")
    return data


def _in_folder(folder: Path, part: Part) -> Path:
    """The file of *folder* that stands for the checkpoint of *part*."""
    inside = folder / INSIDE[part]
    folder = inside if inside.is_dir() else folder
    found = sorted(file for file in folder.iterdir() if file.is_file())
    for stem in STEMS[part]:
        for pattern in (r"\.safetensors\.index\.json", r"-00001-of-\d{5}\.safetensors"):
            match = [f for f in found if re.fullmatch(re.escape(stem) + pattern, f.name)]
            if match:
                return match[0]
        for suffix in (".safetensors", *TORCH_SUFFIXES):
            if folder / f"{stem}{suffix}" in found:
                return folder / f"{stem}{suffix}"
    kinds = (".safetensors", *TORCH_SUFFIXES)
    other = [f for f in found if f.suffix in kinds and not SHARD.fullmatch(f.name)]
    if len(other) == 1:
        return other[0]
    if other:
        names = ", ".join(file.name for file in other[:5])
        raise UserError(f"{folder}: holds several checkpoints ({names}); give the file itself")
    raise UserError(
        f"{folder}: holds no checkpoint: no {' or '.join(STEMS[part])} nor any other file that "
        f"ends in {', '.join(kinds)}"
    )


def _sharded(index: Path) -> SafetensorsFiles:
    places = read_json(index).get("weight_map")
    if not isinstance(places, dict) or not all(_plain(name) for name in places.values()):
        raise UserError(f"{index}: has no weight_map of tensors to files beside it")
    by_name = {str(name): index.with_name(file) for name, file in places.items()}
    return SafetensorsFiles(dict.fromkeys(by_name.values()), by_name)


def _plain(name: object) -> bool:
    """Whether *name* is that of a file in the same folder, not a path to elsewhere."""
    return isinstance(name, str) and Path(name).name == name
