"""Which text embedding does a prompt have?

A prompt source maps a prompt to its embedding [text_len, text_dim] in float32 on the host, the
same in every process and every call. Ranks look embeddings up in a small file that the launcher
has written, so that no rank holds a text encoder.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor

from streamtwin.core.errors import UserError
from streamtwin.core.specs import ModelSpec
from streamtwin.kernels.seeding import stable_seed
from streamtwin.kernels.tensor_files import SafetensorsFiles, load_torch

PromptSource = Callable[[str], Tensor]
"""Prompt -> embedding [text_len, text_dim], float32, in host memory."""

_KEY = "prompt: "
"""Stands before each prompt in a handed-over file, where some bare names have a meaning."""


@dataclass(frozen=True, slots=True)
class SeededPrompts:
    """Embeddings drawn from a seed and the prompt; they stand in for a text encoder's."""

    spec: ModelSpec
    seed: int

    def __call__(self, prompt: str) -> Tensor:
        """The embedding of *prompt*, normal with deviation 1 in every row."""
        said = (prompt,) if prompt else ()
        key = stable_seed("prompt", self.seed, *said)
        shape = (self.spec.text_len, self.spec.text_dim)
        return torch.randn(shape, generator=torch.Generator().manual_seed(key))


@dataclass(frozen=True, slots=True)
class HandedPrompts:
    """Embeddings from a file that `hand_over` has written."""

    path: Path

    def __call__(self, prompt: str) -> Tensor:
        """The embedding of *prompt*; UserError when the file has none for it."""
        files = SafetensorsFiles([self.path])
        name = _KEY + prompt
        if name not in files.entries:
            raise UserError(f"prompt {prompt!r}: no embedding was prepared for it")
        # a copy, so that nothing stays mapped to the file
        return dict(files.read([name]))[name].clone()


def hand_over(embeddings: Mapping[str, Tensor], path: Path) -> HandedPrompts:
    """Write *embeddings* by prompt to *path* for the ranks to read."""
    save_file({_KEY + prompt: value.contiguous() for prompt, value in embeddings.items()}, path)
    return HandedPrompts(path)


def read_embedding(path: Path, spec: ModelSpec) -> Tensor:
    """The one embedding in *path*, .pt, .safetensors or .npy, [(1,) up to text_len, text_dim].

    Missing rows are zero, as the rows after a prompt's end are.

    Raises:
        UserError: it cannot be read, holds something else, or has another shape.
    """
    return padded(_tensor_in(path), spec, str(path))


def padded(embedding: Tensor, spec: ModelSpec, origin: str) -> Tensor:
    """*embedding* [(1,) n, text_dim] with zero rows up to text_len, float32.

    Raises:
        UserError: it has another shape or numbers that are not finite; names *origin*.
    """
    shape = tuple(embedding.shape)
    rows = embedding[0] if len(shape) == 3 and shape[0] == 1 else embedding
    fits = rows.ndim == 2 and 1 <= rows.shape[0] <= spec.text_len
    if not fits or rows.shape[1] != spec.text_dim or not rows.is_floating_point():
        raise UserError(
            f"{origin}: has shape {list(shape)} of {str(embedding.dtype).removeprefix('torch.')}, "
            f"{spec.name} takes floats [1 to {spec.text_len} tokens, {spec.text_dim}]"
        )
    if not bool(torch.isfinite(rows).all()):
        raise UserError(f"{origin}: holds numbers that are not finite")
    whole = torch.zeros(spec.text_len, spec.text_dim)
    whole[: rows.shape[0]] = rows
    return whole


def _tensor_in(path: Path) -> Tensor:
    if not path.is_file():
        raise UserError(f"{path}: no such file")
    if path.suffix == ".npy":
        return _array_in(path)
    if path.suffix == ".safetensors":
        files = SafetensorsFiles([path])
        return _only(dict(files.read(files.entries)), path)
    if path.suffix not in {".pt", ".pth"}:
        raise UserError(f"{path}: unknown kind of file; choose .pt, .pth, .safetensors or .npy")
    loaded = load_torch(path)
    return loaded if isinstance(loaded, Tensor) else _only(loaded, path)


def _array_in(path: Path) -> Tensor:
    try:
        array = np.load(path, allow_pickle=False)
        return torch.from_numpy(np.asarray(array))
    except (OSError, ValueError, EOFError, TypeError) as error:
        raise UserError(f"{path}: cannot be read as an array: {error}") from error


def _only(loaded: object, path: Path) -> Tensor:
    """The one tensor of a mapping."""
    if isinstance(loaded, dict):
        found = [value for value in loaded.values() if isinstance(value, Tensor)]
        if len(found) == 1:
            return found[0]
    raise UserError(f"{path}: holds not one tensor, the embedding, but something else")
