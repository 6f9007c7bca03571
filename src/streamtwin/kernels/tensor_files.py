"""Which tensors do the files of a checkpoint hold, and how is one of them read?

Headers are read first, values only when asked for: a rank that owns a few blocks of a large model
never has the others in memory. Nothing that a file holds is ever run.
"""

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from streamtwin.core.errors import UserError

NESTED = ("generator", "generator_ema", "state_dict")
"""Keys under which training checkpoints keep the weights; the first that is there counts
(CausVid, StreamDiffusionV2)."""

ZIP_MAGIC = b"PK\x03\x04"
"""How files of torch.save begin since torch 1.6; only these can be mapped into memory."""


@dataclass(frozen=True, slots=True)
class Stored:
    """A tensor as the header of its file describes it."""

    file: Path
    shape: tuple[int, ...]
    kind: str
    """Its type by the name that its format gives it."""
    floats: bool
    """Whether it holds plain floating-point numbers of 16 to 64 bits."""


class TensorFiles(Protocol):
    """Tensors by name, read one by one."""

    @property
    def entries(self) -> Mapping[str, Stored]:
        """What is there."""

    def read(self, names: Iterable[str]) -> Iterator[tuple[str, Tensor]]:
        """The tensors *names*, in host memory; UserError when the file is damaged."""


class SafetensorsFiles:
    """One safetensors file, or the shards of one checkpoint."""

    FLOATS = ("F16", "BF16", "F32", "F64")

    def __init__(self, files: Iterable[Path], index: Mapping[str, Path] | None = None) -> None:
        """Read the headers of *files*; *index* says where each tensor has to be.

        Raises:
            UserError: a file is missing, empty, damaged, or lacks what the index promises.
        """
        self.entries: dict[str, Stored] = {}
        for file in files:
            for name, stored in self._header(file).items():
                if name in self.entries:
                    raise UserError(f"{file}: {name} is in {self.entries[name].file.name} too")
                self.entries[name] = stored
        for name, file in (index or {}).items():
            if name not in self.entries or self.entries[name].file != file:
                raise UserError(f"{file}: lacks {name}, which the index says is in it")

    def read(self, names: Iterable[str]) -> Iterator[tuple[str, Tensor]]:
        """The tensors *names* in host memory, file by file."""
        by_file: dict[Path, list[str]] = defaultdict(list)
        for name in names:
            by_file[self.entries[name].file].append(name)
        for file, wanted in by_file.items():
            try:
                with safe_open(file, framework="pt", device="cpu") as handle:
                    for name in wanted:
                        yield name, handle.get_tensor(name)
            except (OSError, SafetensorError) as error:
                raise UserError(f"{file}: cannot be read as safetensors: {error}") from error

    def _header(self, file: Path) -> dict[str, Stored]:
        _check_file(file)
        found = {}
        try:
            with safe_open(file, framework="pt", device="cpu") as handle:
                for name in handle.keys():  # noqa: SIM118 - it is no mapping
                    part = handle.get_slice(name)
                    kind = str(part.get_dtype())
                    shape = tuple(part.get_shape())
                    found[name] = Stored(file, shape, kind, kind in self.FLOATS)
        except (OSError, SafetensorError) as error:
            raise UserError(
                f"{file}: damaged or incomplete, or no safetensors file: {error}"
            ) from error
        return found


class TorchFile:
    """A file of torch.save that holds tensors by name, mapped into memory."""

    FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)

    def __init__(self, file: Path) -> None:
        """Open *file*.

        Raises:
            UserError: it is missing, empty or damaged, needs code to be loaded, or holds
                something else than tensors by name.
        """
        self._tensors = _tensors_of(load_torch(file), file)
        self.entries = {
            name: Stored(
                file,
                tuple(value.shape),
                str(value.dtype).removeprefix("torch."),
                value.dtype in self.FLOATS,
            )
            for name, value in self._tensors.items()
        }

    def read(self, names: Iterable[str]) -> Iterator[tuple[str, Tensor]]:
        """The tensors *names*; their values come from the file as they are used."""
        for name in names:
            yield name, self._tensors[name]


def load_torch(file: Path) -> Any:  # noqa: ANN401 - whatever was saved
    """What torch.save wrote to *file*, built from tensors and plain containers only.

    Raises:
        UserError: it is missing, empty or damaged, or holds anything else.
    """
    _check_file(file)
    with file.open("rb") as stream:
        mapped = stream.read(len(ZIP_MAGIC)) == ZIP_MAGIC
    try:
        return torch.load(str(file), map_location="cpu", weights_only=True, mmap=mapped)
    except Exception as error:  # whatever damaged bytes make the reader stumble over
        asked = re.search(r"GLOBAL (\S+)", str(error))
        if asked is not None:
            raise UserError(
                f"{file}: asks to load {asked[1]}, which could run code: refused, a checkpoint "
                "holds tensors and plain containers only"
            ) from error
        raise UserError(
            f"{file}: damaged or incomplete, or not written by torch.save "
            f"({type(error).__name__}: {_first_line(error)})"
        ) from error


def _tensors_of(loaded: object, file: Path) -> dict[str, Tensor]:
    """The weights in what *file* holds: under the first of the known keys, or at its top."""
    if isinstance(loaded, dict):
        loaded = next((loaded[key] for key in NESTED if key in loaded), loaded)
    if not isinstance(loaded, dict):
        raise UserError(f"{file}: holds a {type(loaded).__name__}, not tensors by name")
    for name, value in loaded.items():
        if not isinstance(name, str) or not isinstance(value, Tensor):
            what = f"{name!r} of type {type(value).__name__}"
            raise UserError(f"{file}: holds {what} among the weights, where only tensors belong")
    return loaded


def _check_file(file: Path) -> None:
    try:
        size_bytes = file.stat().st_size
    except (OSError, ValueError) as error:
        raise UserError(f"{file}: cannot be read: {_first_line(error)}") from error
    if size_bytes == 0:
        raise UserError(f"{file}: is empty")


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[0][:200]
