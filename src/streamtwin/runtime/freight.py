"""How does a value that is full of tensors travel to another rank?

A message says how long the note is, the note says everything but the tensors, and each tensor is
a message of its own: nothing is copied into one. What the value is made of does not matter, so
that what belongs to a block may change without this file.
"""

import io
import pickle
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

NOTES = 2
"""Messages before the first tensor."""

Manifest = list[tuple[tuple[int, ...], torch.dtype]]


class _Packer(pickle.Pickler):
    """Writes a number where a tensor stands."""

    def __init__(self, file: io.BytesIO) -> None:
        super().__init__(file)
        self.tensors: list[Tensor] = []

    def persistent_id(self, obj: Any) -> int | None:  # noqa: ANN401 - anything may stand in a value
        """Number of *obj* among the tensors, if it is one."""
        if not isinstance(obj, Tensor):
            return None
        self.tensors.append(obj.detach().contiguous())
        return len(self.tensors) - 1


class _Unpacker(pickle.Unpickler):
    """Reads a tensor where its number stands."""

    def __init__(self, file: io.BytesIO, tensors: list[Tensor]) -> None:
        super().__init__(file)
        self.tensors = tensors

    def persistent_load(self, pid: Any) -> Tensor:  # noqa: ANN401 - as the base class has it
        """The tensor number *pid*."""
        tensor: Tensor = self.tensors[pid]
        return tensor


def pack(value: object) -> list[Tensor]:
    """The messages that *value* is sent as, in order; the first has one number."""
    file = io.BytesIO()
    packer = _Packer(file)
    packer.dump(value)
    manifest = [(tuple(tensor.shape), tensor.dtype) for tensor in packer.tensors]
    note = torch.frombuffer(bytearray(pickle.dumps((manifest, file.getvalue()))), dtype=torch.uint8)
    return [torch.tensor([len(note)]), note, *packer.tensors]


def unpack(receive: Callable[[tuple[int, ...], torch.dtype], Tensor]) -> Any:  # noqa: ANN401
    """The value whose messages *receive* returns one by one, given shape and dtype of each."""
    length = int(receive((1,), torch.int64).item())
    note = receive((length,), torch.uint8).cpu().numpy().tobytes()
    manifest: Manifest
    manifest, frozen = pickle.loads(note)  # noqa: S301 - written by another rank of this run
    return _Unpacker(io.BytesIO(frozen), [receive(*spec) for spec in manifest]).load()
