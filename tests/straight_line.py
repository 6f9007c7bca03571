"""What would a computation take if nothing stood between its PyTorch calls?

A computation is recorded at PyTorch's Python interface and written out as one function of
straight-line code that makes the same calls on the same data, one after the other, and lets go of
each value where the original did: no module, no loop, no bookkeeping. What the original takes
longer is what it spends outside operators.
"""

import weakref
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode


class _Recorder(TorchFunctionMode):
    """Writes every call that yields tensors or assigns to one as a line of source."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []
        self.scope: dict[str, Any] = {}
        self.calls = 0
        self._names: dict[int, str] = {}

    def __torch_function__(self, func, types, args=(), kwargs=None):
        given = [self._word(value) for value in args]
        given += [f"{key}={self._word(value)}" for key, value in (kwargs or {}).items()]
        result = func(*args, **(kwargs or {}))
        # Getters yield shapes and types: constants here.
        if _tensors(result) or func is Tensor.__setitem__:
            self.calls += 1
            self.lines.append(f"{self._target(result)}{self._constant(func)}({', '.join(given)})")
        return result

    def _target(self, result: Any) -> str:
        if isinstance(result, Tensor):
            known = id(result) in self._names  # in place
            return "" if known else f"{self._named(result)} = "
        if isinstance(result, tuple | list):
            return f"{', '.join(self._named(part) for part in result)}, = "
        return ""

    def _named(self, value: Tensor) -> str:
        name, key = f"v{len(self.lines)}_{len(self._names)}", id(value)
        self._names[key] = name
        weakref.finalize(value, self._gone, key, name)
        return name

    def _gone(self, key: int, name: str) -> None:
        del self._names[key]
        self.lines.append(f"del {name}")

    def _word(self, value: Any) -> str:
        if isinstance(value, Tensor):
            return self._names.get(id(value)) or self._constant(value)
        if isinstance(value, list | tuple) and _tensors(value):
            return f"[{', '.join(self._word(part) for part in value)}]"
        return self._constant(value)

    def _constant(self, value: Any) -> str:
        name = f"c{len(self.scope)}"
        self.scope[name] = value
        return name


def straight_line(compute: Callable[[], Any]) -> tuple[Callable[[], None], int]:
    """The calls that *compute* makes, as a function of their own, and how many they are."""
    recorder = _Recorder()
    with torch.inference_mode(), recorder:
        compute()
    lines, scope = list(recorder.lines), dict(recorder.scope)
    exec("def straight():\n" + "\n".join(f"    {line}" for line in lines) + "\n", scope)
    straight = scope["straight"]

    def run() -> None:
        with torch.inference_mode():
            straight()

    return run, recorder.calls


def _tensors(value: Any) -> bool:
    if isinstance(value, Tensor):
        return True
    if isinstance(value, dict):
        return any(_tensors(part) for part in value.values())
    return isinstance(value, list | tuple) and any(_tensors(part) for part in value)
