"""What do the times say: throughput, share of the ceiling, frame rates, beside published figures?"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any

from streamtwin.bench.run import Bench
from streamtwin.calibrate.harness import Measurement
from streamtwin.core.op_costs import flops_of
from streamtwin.core.ops import DitPass, VaeEncode
from streamtwin.core.plan import Plan
from streamtwin.core.published import Published, Quantity, Setting, published
from streamtwin.core.specs import TIME_STRIDE

SCHEMA = 1
"""Version of the document."""


@dataclass(frozen=True, slots=True)
class TimeLine:
    """One operation: its median time, what it computed, and what others report.

    `count` is rows of a pass, latents of the VAE; `rel_iqr` the interquartile range as a share of
    the median; `flops` of one performance, `share` of the machine's first ceiling.
    """

    what: str
    mode: str
    count: int
    median_s: float
    rel_iqr: float
    stable: bool
    times: int
    flops: float
    flops_per_s: float
    share: float
    reference_s: float | None
    reference_source: str | None


@dataclass(frozen=True, slots=True)
class RateLine:
    """Frames/s of one device that encodes, passes and decodes one after the other."""

    mode: str
    steps: int
    fps: float
    reference_fps: float | None
    reference_source: str | None


def time_lines(bench: Bench) -> list[TimeLine]:
    """A line for each operation in the order of measuring."""
    return [_time_line(bench, bench.request.plan, one) for one in bench.measurements]


def rate_lines(bench: Bench) -> list[RateLine]:
    """Frames/s by mode and steps: 4 T' / (encode + pass of N rows + decode)."""
    lines = {(line.what, line.mode, line.count): line.median_s for line in time_lines(bench)}
    latents = bench.request.plan.scenario.deployment.chunk_latents
    vae_s = lines["encode", "", latents] + lines["decode", "", latents]
    return [
        _rate_line(bench, mode, steps, TIME_STRIDE * latents / (vae_s + lines["pass", mode, steps]))
        for mode in bench.request.modes
        for steps in sorted(set(bench.request.steps))
    ]


def operation_flops(measurement: Measurement) -> float:
    """FLOPs of the measured operation: matrix products and convolutions only."""
    flops = flops_of(measurement.case.op)
    assert flops is not None, measurement.case.op
    return flops


def document(benches: Sequence[Bench]) -> dict[str, Any]:
    """All of it as plain data, raw times included."""
    return {"schema": SCHEMA, "benches": [_plain(bench) for bench in benches]}


def _time_line(bench: Bench, plan: Plan, one: Measurement) -> TimeLine:
    op = one.case.op
    what, quantity, count = _named(op, plan)
    median_s, flops = median(one.clean), operation_flops(one)
    found = _reference(bench, quantity, count)
    return TimeLine(
        what=what,
        mode=one.case.tag,
        count=count,
        median_s=median_s,
        rel_iqr=one.rel_iqr,
        stable=one.stable,
        times=len(one.clean),
        flops=flops,
        flops_per_s=flops / median_s,
        share=flops / median_s / bench.machine.ceilings[0].flops_per_s,
        reference_s=found.value if found else None,
        reference_source=found.source if found else None,
    )


def _named(op: object, plan: Plan) -> tuple[str, Quantity, int]:
    if isinstance(op, DitPass):
        return "pass", "pass_s", op.rows
    latents = plan.scenario.shape.latents_of(1)
    if isinstance(op, VaeEncode):
        return "encode", "encode_s", latents
    return "decode", "decode_s", latents


def _rate_line(bench: Bench, mode: str, steps: int, fps: float) -> RateLine:
    found = _reference(bench, "fps", steps)
    return RateLine(
        mode, steps, fps, found.value if found else None, found.source if found else None
    )


def _reference(bench: Bench, quantity: Quantity, count: int) -> Published | None:
    request = bench.request
    setting = Setting(request.model, request.vae, request.resolution, bench.machine.gpu)
    return published(setting, quantity, count)


def _plain(bench: Bench) -> dict[str, Any]:
    return {
        "request": asdict(bench.request),
        "machine": asdict(bench.machine),
        "environment": bench.environment.as_dict(),
        "times": [asdict(line) for line in time_lines(bench)],
        "rates": [asdict(line) for line in rate_lines(bench)],
        "raw": [
            {
                "what": _named(one.case.op, bench.request.plan)[0],
                "mode": one.case.tag,
                "operation": asdict(one.case.op),
                "warmups": one.warmups,
                "times_s": list(one.times),
                "core_shares": list(one.core_shares),
            }
            for one in bench.measurements
        ],
    }
