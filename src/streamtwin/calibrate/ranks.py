"""What does a rank process do during a calibration?

All ranks time the same cases at the same time, each in an order of its own, so that each finds
its neighbours computing. A rank that has finished goes on computing until all have.
"""

import random
import time
from collections.abc import Sequence
from pathlib import Path

import torch
from torch.distributed import FileStore  # type: ignore[attr-defined]

from streamtwin.calibrate.accelerator import gauge_of, timer_of
from streamtwin.calibrate.cases import CalibrationRequest, Case
from streamtwin.calibrate.harness import Measurement, measure
from streamtwin.calibrate.hop_runner import HopEnd
from streamtwin.calibrate.kernel_runner import KernelRunner
from streamtwin.calibrate.seats import take_seat
from streamtwin.calibrate.transfer_runner import TransferEnd
from streamtwin.runtime.devices import tune
from streamtwin.runtime.processes import RankContext
from streamtwin.runtime.spool import VideoSpool

Result = tuple[list[Measurement], str | None]
"""Measurements of a rank, and the name of its accelerator."""

Said = float | list[Measurement]
"""What a rank says while it measures: the share of its budget that is spent, or its times so far."""

CLOCK = time.monotonic
"""The ends of a transfer must read one clock."""

SAY_S = 1.0
"""A rank tells its times no more often than that: taking them down costs the ranks' cores time."""


class _Teller:
    """Tells the launcher the times so far, now and then, so that nothing is lost with a rank."""

    def __init__(self, context: RankContext) -> None:
        self.context, self.last_s = context, time.monotonic()

    def __call__(self, measured: list[Measurement]) -> None:
        if time.monotonic() - self.last_s >= SAY_S:
            self.context.progress(measured)
            self.last_s = time.monotonic()


def measure_kernels(
    context: RankContext, request: CalibrationRequest, cases: Sequence[Case], end_s: float
) -> Result:
    """Time *cases*, passes, encodings and decodings of *request*; the target of `run_ranks`.

    *end_s* is when the budget ends on the monotonic clock, which all processes share.
    """
    tune(request.device)
    spool = VideoSpool(Path(f"{context.rendezvous}-frames-{context.rank}"))
    runner = KernelRunner(request.plan(), spool, request.device, timer_of(request.device))
    done = FileStore(f"{context.rendezvous}-done", context.ranks)
    budget_s = end_s - context.ready()
    measured = measure(
        cases,
        runner,
        time.perf_counter,
        budget_s,
        context.progress,
        core_clock=time.thread_time if request.device == "cpu" else None,
        gauge=gauge_of(request.device),
        rank=context.rank,
        seed=request.seed + context.rank,
        on_round=_Teller(context),
    )
    done.add("ranks", 1)
    _keep_company(done, context, runner, cases)
    spool.close()
    name = None if request.device == "cpu" else torch.cuda.get_device_name(request.device)
    return measured, name


def _keep_company(
    done: FileStore, context: RankContext, runner: KernelRunner, cases: Sequence[Case]
) -> None:
    """Compute until all ranks have done measuring."""
    shuffled = random.Random(context.rank)  # noqa: S311 - an order of computing, no secret
    while done.add("ranks", 0) < context.ranks:
        runner.time_s(shuffled.choice(cases), time.perf_counter)


def measure_hops(
    context: RankContext, request: CalibrationRequest, cases: Sequence[Case], end_s: float
) -> Result:
    """Time *cases*, hops from rank 0 to rank 1, which receives; the target of `run_ranks`.

    *end_s* is when the budget ends on the monotonic clock, which all processes share.
    """
    seat = take_seat(context, request)
    end = HopEnd(request, seat, cases, CLOCK)
    if context.rank > 1:
        context.ready()
        seat.leave()
        return [], None
    return _measure_between(end, 1, context, request, cases, end_s)


def measure_transfers(
    context: RankContext, request: CalibrationRequest, cases: Sequence[Case], end_s: float
) -> Result:
    """Time *cases*: exchanges among all ranks, migrations of a block from rank 0 to rank 1.

    The target of `run_ranks`; *end_s* as in `measure_hops`.
    """
    end = TransferEnd(request, take_seat(context, request), cases, CLOCK)
    return _measure_between(end, 0, context, request, cases, end_s)


def _measure_between(
    end: HopEnd | TransferEnd,
    timing_rank: int,
    context: RankContext,
    request: CalibrationRequest,
    cases: Sequence[Case],
    end_s: float,
) -> Result:
    """The rank *timing_rank* times *cases* on its *end*; the others do what it orders."""
    budget_s = end_s - context.ready()
    measured: list[Measurement] = []
    if context.rank == timing_rank:
        measured = measure(
            cases,
            end,
            CLOCK,
            budget_s,
            context.progress,
            rank=timing_rank,
            seed=request.seed,
            on_round=_Teller(context),
        )
        end.stop()
    else:
        end.serve()
    end.seat.leave()
    return measured, None
