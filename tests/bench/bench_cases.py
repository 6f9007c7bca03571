"""What the tests of the benchmark share: a request, and times chosen by hand."""

from streamtwin.bench.machine import Ceiling, Machine
from streamtwin.bench.request import BenchRequest
from streamtwin.bench.run import Bench
from streamtwin.calibrate.environment import Environment
from streamtwin.calibrate.harness import Measurement
from streamtwin.core.ops import DitPass, VaeEncode

WAN = BenchRequest("wan2.1-1.3b", "wan2.1", (480, 832), "cuda", modes=("eager", "graph"))
HERE = Environment(
    host="h", device="d", cpu_model="c", cores=1, memory_bytes=1, governor="g", kernel="k",
    python="3", torch="2", numpy="2", date="2026-01-01T00:00:00+00:00",
)  # fmt: skip

PASS_S = {"eager": 0.020, "graph": 0.010}
"""Time of a pass a row."""


def by_hand(request: BenchRequest = WAN, gpu: str | None = "h100-sxm") -> Bench:
    """Encoding 30 ms, decoding 50 ms, passes by `PASS_S`, with one slow time among five."""

    def seconds(case):
        if isinstance(case.op, DitPass):
            return PASS_S[case.tag] * case.op.rows
        return 0.030 if isinstance(case.op, VaeEncode) else 0.050

    measured = tuple(
        Measurement(
            case,
            0,
            tuple(seconds(case) * f for f in (9.0, 1.0, 1.01, 0.99, 1.0, 3.0)),
            (1.0,) * 6,
        )
        for case in request.cases()
    )
    machine = Machine("NVIDIA H100 80GB HBM3", gpu, (Ceiling(989e12, "data sheet"),))
    return Bench(request, machine, HERE, measured)
