"""How is a case performed in its mode?"""

from collections.abc import Callable

from streamtwin.bench.speeds import MODES
from streamtwin.calibrate.accelerator import timer_of
from streamtwin.calibrate.cases import Case
from streamtwin.calibrate.harness import Clock
from streamtwin.calibrate.kernel_runner import KernelRunner
from streamtwin.core.plan import Plan
from streamtwin.kernels.compiled import compiled_parts
from streamtwin.kernels.dit_layers import EAGER, BlockParts
from streamtwin.kernels.graphs import CudaRecord, Record, RecordedPasses
from streamtwin.kernels.stage import Frames


class Discarded:
    """Takes decoded frames and keeps none: what is timed is the device, not a disk."""

    def append(self, frames: Frames) -> None:
        """Let go of *frames*."""


class BenchRunner:
    """Performs the cases of a request on one set of weights, each in the mode of its tag.

    The first performance of a case compiles and records; the harness does not count it.
    """

    def __init__(
        self,
        plan: Plan,
        device: str,
        modes: tuple[str, ...],
        *,
        record: Callable[[], Record] | None = None,
        compiler: Callable[[], BlockParts] = compiled_parts,
    ) -> None:
        self.kernels = KernelRunner(plan, Discarded(), device, timer_of(device))
        record = record or (lambda: CudaRecord(self.kernels.whole.device))
        compiled = compiler() if any(MODES[mode].compiled for mode in modes) else EAGER
        self.parts = {mode: compiled if MODES[mode].compiled else EAGER for mode in modes}
        # One book a mode: passes of two modes touch the same cache and compute differently.
        self.recorded = {
            mode: RecordedPasses(record()) if MODES[mode].recorded else None for mode in modes
        }
        for book in self.recorded.values():
            if book is not None:
                book.open = True

    def time_s(self, case: Case, clock: Clock) -> float:
        """Perform *case* once; see `KernelRunner.time_s`."""
        if case.tag:
            whole = self.kernels.whole
            whole.dit.parts, whole.passes.recorded = self.parts[case.tag], self.recorded[case.tag]
        return self.kernels.time_s(case, clock)
