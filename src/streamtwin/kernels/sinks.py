"""How like the stream are its sinks still?

The comparison runs on the device behind a pass and reaches the host beside the passes that
follow: what a pass finds is read before the next pass of the same KV row and no earlier. The
delay is one chunk whatever the timing, so decisions are the same in every run and on any number
of ranks.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor

from streamtwin.core.slots import Slots


def frame_means(k: Tensor, v: Tensor, sink: int, tokens: int, newest: int) -> Tensor:
    """Means over the tokens of each sink and of the frame in slot *newest*.

    Of *k* and *v* [window.frames * S, heads, head_dim], S = *tokens*; float32 [2, sink + 1, heads,
    head_dim], keys (rotated) before values.
    """
    starts = [slot * tokens for slot in (*range(sink), newest)]
    frames = torch.stack([x[s : s + tokens] for x in (k, v) for s in starts])
    return torch.unflatten(frames.mean(1, dtype=torch.float32), 0, (2, sink + 1))


def similarities(means: Tensor) -> Tensor:
    """Likeness of each sink with the newest frame, float32 [sink], from their `frame_means`.

    The cosines of keys and of values are averaged, as in StreamDiffusionV2's code.
    """
    flat = means.flatten(2)
    return F.cosine_similarity(flat[:, :-1], flat[:, -1:], dim=-1).mean(0)


@dataclass(slots=True)
class _Comparison:
    """Values [blocks, sink] in host memory, complete once *arrived* has happened."""

    values: Tensor
    arrived: torch.cuda.Event | None

    def read(self) -> list[tuple[float, ...]]:
        if self.arrived is not None:
            self.arrived.synchronize()
        return [tuple(row) for row in self.values.tolist()]


@dataclass(slots=True)
class SinkWatch:
    """The latest comparison of each KV row of one session.

    *join* makes the `frame_means` of whole frames out of those of a member of the stage, all
    blocks' in one tensor.
    """

    join: Callable[[Tensor], Tensor] | None = None
    _pending: dict[int, _Comparison] = field(default_factory=dict)
    _known: dict[int, list[tuple[float, ...]]] = field(default_factory=dict)

    def compare(
        self,
        k: Sequence[Tensor],
        v: Sequence[Tensor],
        held: Sequence[Sequence[Slots]],
        kv_row: int,
        sink: int,
    ) -> None:
        """Compare the sinks of *kv_row* with its newest frame in every block; do not wait.

        *k* and *v* have a tensor a block, [kv_rows, window.frames * S, heads, head_dim]. Blocks
        are compared one by one, so that the bits do not depend on how many share a stage.
        """
        tokens = k[0].shape[1] // len(held[0][kv_row].frames)
        means = [
            frame_means(k[b][kv_row], v[b][kv_row], sink, tokens, books[kv_row].newest)
            for b, books in enumerate(held)
        ]
        if self.join is not None:
            means = list(self.join(torch.stack(means)))
        found = torch.stack([similarities(one) for one in means])
        self._known.pop(kv_row, None)
        self._pending[kv_row] = _to_host(found)

    def read(self, kv_row: int) -> list[tuple[float, ...]] | None:
        """What the latest comparison of *kv_row* found, a tuple a block; None before the first.

        On a card this waits for that pass, which lies a whole item back, and for none after it.
        """
        if kv_row in self._pending:
            self._known[kv_row] = self._pending.pop(kv_row).read()
        return self._known.get(kv_row)

    def take(self, block: int) -> dict[int, tuple[float, ...]]:
        """Remove *block* and return what was found of it, by KV row."""
        for kv_row in list(self._pending):
            self.read(kv_row)
        return {kv_row: found.pop(block) for kv_row, found in self._known.items()}

    def put(self, block: int, found: Mapping[int, tuple[float, ...]]) -> None:
        """Insert what was *found* of a block, by KV row, as that of *block*."""
        for kv_row in list(self._pending):
            self.read(kv_row)
        for kv_row, values in found.items():
            self._known.setdefault(kv_row, []).insert(block, values)


def _to_host(values: Tensor) -> _Comparison:
    if not values.is_cuda:
        return _Comparison(values, None)
    # only pinned memory is copied to while the host goes on
    host = torch.empty(values.shape, dtype=values.dtype, pin_memory=True)
    host.copy_(values, non_blocking=True)
    arrived = torch.cuda.Event()  # type: ignore[no-untyped-call]
    arrived.record()
    return _Comparison(host, arrived)
