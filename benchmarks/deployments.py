"""Which deployments are timed?"""

from dataclasses import dataclass, replace
from functools import cache
from itertools import product

from streamtwin.calibrate.locate import shipped_profiles
from streamtwin.calibrate.model import ProfileLatency
from streamtwin.calibrate.profile import read_profile
from streamtwin.core.latency import HostState, LatencyModel, Prediction, Provenance
from streamtwin.core.layout import lay_out
from streamtwin.core.library import find_scenario
from streamtwin.core.ops import DitPass, Hop, Op, VaeDecode, VaeEncode
from streamtwin.core.plan import Plan

CHUNKS_AN_HOUR = 14_400
"""Chunks of four frames in an hour at 16 frames/s."""


@cache
def paper() -> ProfileLatency:
    """The shipped profile of the reference's paper; it has no noise."""
    return read_profile(shipped_profiles() / "h100-sxm-sdv2-paper").latency_model(1)


def plan_of(*overrides: str) -> Plan:
    """The shipped scenario of four H100, with *overrides*."""
    return lay_out(
        find_scenario("sdv2-1.3b-480p", ("deployment.partition={policy: even}", *overrides)),
        itemsize=2,
    )


def hour(*overrides: str) -> Plan:
    """One hour of one session on four ranks, N = 4, T' = 1, at 16 frames/s."""
    return plan_of(f"workload.chunks={CHUNKS_AN_HOUR}", "workload.source_fps=16", *overrides)


BY_HAND = Provenance("assumed", "benchmark", "")


@dataclass(frozen=True)
class Scaled:
    """Service times of the profile's order, all a factor longer or shorter: a card like others."""

    factor: float
    provenance: Provenance = BY_HAND

    def predict(self, op: Op) -> Prediction:
        """Seconds by kind of operation and its size."""
        match op:
            case DitPass():
                mean_s = op.blocks * (2e-4 + 4e-4 * op.rows + op.kv_tokens * 4e-8)
            case VaeEncode():
                mean_s = 0.03 * op.latents
            case VaeDecode():
                mean_s = 0.04 * op.latents
            case Hop():
                mean_s = 2e-4 + op.size_bytes / 1e11
            case _:
                raise AssertionError(op)
        mean_s *= self.factor
        return Prediction(mean_s, mean_s, mean_s, self.provenance)

    def noise(self, op: Op) -> tuple[float, ...]:
        """None: what is timed is the engine."""
        return ()

    def between(self, op: Op) -> float:
        """None either."""
        return 0.0

    def host(self, rank: int) -> HostState:
        """None either."""
        return HostState()


def space(size: int) -> list[tuple[Plan, LatencyModel]]:
    """*size* deployments of 200 chunks: ranks, steps, protocols, live or not, and cards."""
    shapes = product((1, 2, 4, 8), (1, 2, 4), ("sdv2", "overlap"), (None, 16.0))
    plans = [
        plan_of(
            f"deployment.gpus={gpus}",
            f"deployment.steps={steps}",
            f"deployment.protocol={protocol}",
            f"workload.source_fps={'null' if fps is None else fps}",
        )
        for gpus, steps, protocol, fps in shapes
    ]
    return [
        (replace(plans[number % len(plans)]), Scaled(0.5 + number / size)) for number in range(size)
    ]
