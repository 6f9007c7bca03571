"""How do the tensors of a checkpoint become a stage's weights, and does all of it fit?

A checkpoint is held against the whole model before anything of it is used: every tensor that the
model has must be there in its shape, and no other. Then a stage reads what it owns and no more.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from streamtwin.core.errors import UserError
from streamtwin.core.specs import ModelSpec, Resolution, VaeSpec
from streamtwin.kernels.checkpoint_files import check_config, open_files
from streamtwin.kernels.checkpoint_names import Layout, Part, dit_layouts, vae_layouts
from streamtwin.kernels.dit import DiTStage
from streamtwin.kernels.seeding import give_storage
from streamtwin.kernels.taehv import TaehvDecoder, TGrow
from streamtwin.kernels.taehv_files import DecoderFiles
from streamtwin.kernels.tensor_files import TensorFiles
from streamtwin.kernels.vae import StreamVae, VaeDecoder, VaeEncoder

Shapes = Mapping[str, tuple[int, ...]]

MAX_TOLD = 4
"""Tensors of each kind of mistake that a message names; the others are counted."""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A checkpoint that fits its model: where each of our parameters is in it."""

    files: TensorFiles
    names: Mapping[str, str]
    """The checkpoint's name of each parameter, by ours."""

    @torch.no_grad()
    def fill(self, module: nn.Module, device: torch.device | str, dtype: torch.dtype) -> None:
        """Give *module*, built on the meta device, its storage and weights; for inference.

        Reads the tensors of *module* only. Its state-dict keys must be the whole model's names.

        Raises:
            UserError: the files are damaged.
        """
        give_storage(module, device, dtype)
        module.eval().requires_grad_(False)
        ours = {self.names[name]: value for name, value in module.named_parameters()}
        for name, value in self.files.read(ours):
            ours[name].copy_(value)


def open_dit(path: Path, spec: ModelSpec) -> Checkpoint:
    """The checkpoint of a DiT at *path*, held against *spec*.

    Raises:
        UserError: it cannot be read, or it is no checkpoint of *spec*.
    """
    return _open(path, "dit", spec, dit_shapes(spec), dit_layouts())


def open_vae(path: Path, spec: VaeSpec) -> Checkpoint:
    """The checkpoint of a VAE at *path*, held against *spec*.

    Raises:
        UserError: it cannot be read, or it is no checkpoint of *spec*.
    """
    return _open(path, "vae", spec, vae_shapes(spec), vae_layouts(spec))


def open_taehv(path: Path, spec: VaeSpec) -> Checkpoint:
    """The checkpoint of a TAEHV decoder at *path*, held against *spec*.

    Raises:
        UserError: it cannot be read, or it is no checkpoint of *spec*'s decoder.
    """
    with torch.device("meta"):
        decoder = TaehvDecoder(spec)
    grows = {
        f"{name}.conv.weight": layer.conv.out_channels
        for name, layer in decoder.named_modules()
        if isinstance(layer, TGrow)
    }
    files = DecoderFiles(open_files(path, "taehv"), grows)
    return _held(path, files, spec, _shapes(decoder), {"taew2_1": lambda name: name})


def dit_shapes(spec: ModelSpec) -> Shapes:
    """Shapes of all parameters of the whole model, by our names."""
    with torch.device("meta"):
        # no parameter's shape depends on the resolution
        whole = DiTStage(spec, Resolution(16, 16), range(spec.blocks), embeds=True, heads_out=True)
    return _shapes(whole)


def vae_shapes(spec: VaeSpec) -> Shapes:
    """Shapes of all parameters of both halves, by our names."""
    with torch.device("meta"):
        whole = StreamVae(VaeEncoder(spec), VaeDecoder(spec))
    return _shapes(whole)


def _shapes(module: nn.Module) -> Shapes:
    return {name: tuple(value.shape) for name, value in module.named_parameters()}


def _open(
    path: Path,
    part: Part,
    spec: ModelSpec | VaeSpec,
    shapes: Shapes,
    layouts: Mapping[str, Layout],
) -> Checkpoint:
    if path.is_dir():
        check_config(path, part, spec)
    return _held(path, open_files(path, part), spec, shapes, layouts)


def _held(
    path: Path,
    files: TensorFiles,
    spec: ModelSpec | VaeSpec,
    shapes: Shapes,
    layouts: Mapping[str, Layout],
) -> Checkpoint:
    label, names = _layout(shapes, layouts, files)
    mistakes = _mistakes(files, {names[ours]: shape for ours, shape in shapes.items()})
    if mistakes:
        what = f"not a checkpoint of {spec.name} (names as in {label}{_size(files, spec)})"
        raise UserError(f"{path}: {what}: {'; '.join(mistakes)}")
    return Checkpoint(files, names)


def _layout(
    shapes: Shapes, layouts: Mapping[str, Layout], files: TensorFiles
) -> tuple[str, dict[str, str]]:
    """The layout that explains most names of *files*, and our names in it."""
    tables = {label: {name: rule(name) for name in shapes} for label, rule in layouts.items()}
    known = files.entries.keys()
    best = max(tables, key=lambda label: len(known & set(tables[label].values())))
    return best, tables[best]


def _size(files: TensorFiles, spec: ModelSpec | VaeSpec) -> str:
    """The size of what *files* hold beside that of *spec*, where it tells that they differ."""
    entries = files.entries
    first = re.compile(r"(.*\.)?(patch_embedding|encoder\.conv1|encoder\.conv_in)\.bias")
    widths = [entries[name].shape for name in entries if first.fullmatch(name)]
    if len(widths) != 1 or len(widths[0]) != 1:
        return ""
    if isinstance(spec, VaeSpec):
        found, wanted = (
            f"a base of {width} channels" for width in (widths[0][0], spec.base_channels)
        )
    else:
        indices = [re.search(r"\bblocks\.(\d+)\.", name) for name in entries]
        blocks = max((int(match[1]) + 1 for match in indices if match), default=0)
        found = f"{blocks} blocks of width {widths[0][0]}"
        wanted = f"{spec.blocks} blocks of width {spec.dim}"
    return "" if found == wanted else f"; it holds {found}, not {wanted}"


def _mistakes(files: TensorFiles, expected: Shapes) -> list[str]:
    """What of *files* does not fit *expected*, in words, each kind bounded in number."""
    entries = files.entries
    missing = [f"{name} {_text(shape)}" for name, shape in expected.items() if name not in entries]
    extra, wrong, alien = [], [], []
    for name, stored in entries.items():
        place = f"{name} in {stored.file.name}"
        if name not in expected:
            extra.append(f"{place} {_text(stored.shape)}")
        elif stored.shape != expected[name]:
            shapes = f"{_text(stored.shape)}, expected {_text(expected[name])}"
            wrong.append(f"{place} is {shapes}")
        elif not stored.floats:
            alien.append(f"{place} is {stored.kind}")
    kinds = {"missing": missing, "extra": extra, "wrong shape": wrong, "no plain floats": alien}
    return [f"{kind}: {_some(told)}" for kind, told in kinds.items() if told]


def _some(told: Iterable[str]) -> str:
    """The first few of *told*, and how many more there are."""
    lines = sorted(told, key=_natural)
    more = [f"and {len(lines) - MAX_TOLD} more"] if len(lines) > MAX_TOLD else []
    return ", ".join([*lines[:MAX_TOLD], *more])


def _natural(line: str) -> list[tuple[int, int | str]]:
    """Sorts blocks.2 before blocks.10."""
    parts = line.replace(" ", ".").split(".")
    return [(0, int(part)) if part.isdecimal() else (1, part) for part in parts]


def _text(shape: tuple[int, ...]) -> str:
    return f"[{', '.join(str(size) for size in shape)}]"
