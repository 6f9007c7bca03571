"""Invented measurements: what a host would show whose true costs are known."""

import random

from streamtwin.calibrate.cases import CalibrationRequest, Case, hop_cases, kernel_cases
from streamtwin.calibrate.environment import Environment
from streamtwin.calibrate.forms import FORMS
from streamtwin.calibrate.harness import WARMUPS, Measurement
from streamtwin.core.ops import DitPass, Hop

REQUEST = CalibrationRequest(resolution=(160, 256))

LINEAR = {
    "pass": 8e-4,
    "query_tokens": 5e-7,
    "embedded_tokens": 4e-7,
    "unembedded_tokens": 2e-6,
    "blocks": 9e-4,
    "block_tokens": 2.3e-5,
    "block_pairs": 1.7e-8,
}
ROOFLINE = {
    "pass": 8e-4,
    "query_tokens": 5e-7,
    "embedded_tokens": 4e-7,
    "unembedded_tokens": 2e-6,
    "block_flops": 1.6e-11,
}
HOPS = dict(
    zip(
        (
            "receiver waits, sender idle",
            "receiver waits, sender computes",
            "sender waits, sender idle",
            "sender waits, sender computes",
        ),
        (7e-4, 3e-3, 5e-4, 2e-3),
        strict=True,
    )
) | {"bytes": 4e-10}

ENVIRONMENT = Environment(
    host="bench",
    device="cpu of the bench",
    cpu_model="cpu of the bench",
    cores=2,
    memory_bytes=2**34,
    governor="unknown",
    kernel="6.1",
    python="3.11.0",
    torch="2.11.0",
    numpy="2.0.0",
    date="2026-01-02T03:04:05+00:00",
)


def true_s(case: Case, form: str, costs: dict[str, float], *knobs: float) -> float:
    terms = FORMS[form].terms(case.op, case.tag, *(knobs or (0.0,)))
    return sum(costs[name] * value for name, value in terms.items())


def cost_s(case: Case) -> float:
    """True time of *case* on the invented host."""
    if isinstance(case.op, DitPass):
        return true_s(case, "linear", LINEAR)
    if isinstance(case.op, Hop):
        return true_s(case, "hop_linear", HOPS)
    return 0.1 * case.op.latents


def measurement(case: Case, seconds: list[float], rank: int = 0, run: int = 0) -> Measurement:
    times = (2 * seconds[0],) * WARMUPS + tuple(seconds)
    return Measurement(case, rank, times, (1.0,) * len(times), run=run)


def noisy(
    cases: list[Case], spread: float, seed: int = 0, cost=cost_s, count: int = 9
) -> list[Measurement]:
    draw = random.Random(seed)
    true = {case: cost(case) for case in cases}
    return [
        measurement(case, [true[case] * (1 + draw.gauss(0, spread)) for _ in range(count)], rank)
        for case in cases
        for rank in range(case.ranks if not isinstance(case.op, Hop) else 1)
    ]


def all_cases(ranks: int = 1) -> list[Case]:
    return kernel_cases(REQUEST, ranks) + (hop_cases(REQUEST, ranks) if ranks > 1 else [])


def pass_cases() -> list[Case]:
    return [case for case in kernel_cases(REQUEST, 1) if isinstance(case.op, DitPass)]
