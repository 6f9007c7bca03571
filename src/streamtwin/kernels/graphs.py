"""How does a pass run again without the host launching each of its kernels?

A pass is recorded once for every way in which it touches memory: which sessions' caches, which
rows of them, how much it attends. A recording reads its inputs from buffers of its own, so that
later passes of the same kind only have to fill those. It happens ahead of the clock, because it
waits for the whole device, on which a message may be due that others send only later; a pass that
was not foreseen runs kernel by kernel.
"""

import weakref
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor

Tensors = tuple[Tensor, ...]
Compute = Callable[..., Tensors]
"""A device's part of a pass: reads nothing of the host, keeps no result but what it returns."""

Record = Callable[[Callable[[], Tensors]], tuple[Callable[[], None], Tensors]]
"""Records a computation; returns what replays it, and the tensors that a replay fills."""

LIMIT = 64
"""Recordings that are kept. One session with a stream batch makes one."""

WARMUPS = 2
"""Runs ahead of a recording: libraries allocate and choose their algorithms in the first ones."""


@dataclass(slots=True)
class _Recording:
    inputs: Tensors
    replay: Callable[[], None]
    outputs: Tensors


class RecordedPasses:
    """Recordings of passes by key, of which the least recently used give way.

    Attributes:
        open: whether a pass that is not known yet may be recorded.
        replayed: passes that were replayed.
        launched: passes that ran kernel by kernel.
    """

    def __init__(self, record: Record, limit: int = LIMIT) -> None:
        self.record, self.limit = record, limit
        self.open = False
        self.replayed = self.launched = 0
        self._known: OrderedDict[tuple[Hashable, ...], _Recording] = OrderedDict()

    def __len__(self) -> int:
        return len(self._known)

    @contextmanager
    def recording(self) -> Iterator[None]:
        """Within the block, passes that are not known yet are recorded, and none is counted."""
        counts = self.replayed, self.launched
        self.open = True
        try:
            yield
        finally:
            self.open = False
            self.replayed, self.launched = counts

    def run(self, key: Hashable, owners: Tensors, compute: Compute, inputs: Tensors) -> Tensors:
        """Give compute(*inputs), from the recording for *key* if there is one.

        *owners* are the tensors that the computation reads and writes where they lie; with the
        first of them that is let go of (a session leaves, a block moves, a prompt changes) goes
        the recording. *key* must tell apart whatever else it takes from elsewhere than *inputs*.
        Results are the caller's own: a later pass does not overwrite them.
        """
        # A recording is good for its addresses and shapes only.
        shapes = ((tuple(x.shape), x.dtype) for x in inputs)
        full = (key, *map(id, owners), *shapes)
        if full not in self._known:
            if not self.open:
                return self.launch(lambda: compute(*inputs))
            self._known[full] = self._recorded(compute, inputs)
            for owner in owners:
                weakref.finalize(owner, self._known.pop, full, None).atexit = False
        self._known.move_to_end(full)
        recording = self._known[full]
        for buffer, value in zip(recording.inputs, inputs, strict=True):
            buffer.copy_(value)
        recording.replay()
        self.replayed += 1
        return tuple(output.clone() for output in recording.outputs)

    def launch(self, compute: Callable[[], Tensors]) -> Tensors:
        """Run a pass that is not to be recorded, and count it."""
        self.launched += 1
        return compute()

    def _recorded(self, compute: Compute, inputs: Tensors) -> _Recording:
        while len(self._known) >= self.limit:
            self._known.popitem(last=False)
        buffers = tuple(value.clone() for value in inputs)
        replay, outputs = self.record(lambda: compute(*buffers))
        return _Recording(buffers, replay, outputs)


class CudaRecord:
    """Records CUDA graphs; all of one recorder share the memory of their intermediate results."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.pool = torch.cuda.graph_pool_handle()
        self.stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]

    def __call__(self, compute: Callable[[], Tensors]) -> tuple[Callable[[], None], Tensors]:
        """Run *compute* a few times beside the stream of work, then record it."""
        here = torch.cuda.current_stream(self.device)
        self.stream.wait_stream(here)
        with torch.cuda.stream(self.stream):
            for _ in range(WARMUPS):
                compute()
        here.wait_stream(self.stream)
        graph = torch.cuda.CUDAGraph()
        # Other threads (NCCL's watchdog) may go on calling the driver meanwhile.
        with torch.cuda.graph(
            graph, pool=self.pool, stream=self.stream, capture_error_mode="thread_local"
        ):
            outputs = compute()
        return graph.replay, outputs
