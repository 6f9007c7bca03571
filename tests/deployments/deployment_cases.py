"""Service times that tests of deployments choose by hand."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from builders import BY_HAND
from streamtwin.core import catalog
from streamtwin.core.errors import CalibrationError
from streamtwin.core.fleet import Fleet
from streamtwin.core.latency import HostState, LatencyModel, Prediction, Provenance
from streamtwin.core.mesh import cards_of
from streamtwin.core.ops import Collective, DitPass, Hop, Op, VaeDecode, VaeEncode
from streamtwin.core.plan import Plan


@dataclass(frozen=True)
class RowLatency:
    """Passes by rows: a fixed time, one a block, one a block and row; transfers by bytes."""

    pass_s: float = 0.001
    block_s: float = 0.002
    row_s: float = 0.003
    vae_s: float = 0.02
    byte_s: float = 1e-9
    exchanges: bool = True
    factors: tuple[float, ...] = ()
    provenance: Provenance = field(default=BY_HAND)

    def predict(self, op: Op) -> Prediction:
        match op:
            case DitPass():
                mean_s = self.pass_s + op.blocks * (self.block_s + op.rows * self.row_s)
            case VaeEncode() | VaeDecode():
                mean_s = self.vae_s
            case Hop():
                mean_s = 0.001 + self.byte_s * op.size_bytes
            case Collective() if self.exchanges:
                mean_s = 0.0005 + self.byte_s * op.size_bytes
            case _:
                raise CalibrationError(f"nothing was measured of {op}")
        return Prediction(mean_s, 0.9 * mean_s, 1.1 * mean_s, self.provenance)

    def noise(self, op: Op) -> Sequence[float]:
        return self.factors

    def between(self, op: Op) -> float:
        return 0.0

    def host(self, rank: int) -> HostState:
        return HostState()


def fleet_of(plan: Plan, *models: LatencyModel, own_link: str = "nvlink4") -> Fleet:
    """The fleet of *plan*'s ranks; one of *models* for each, or one for all."""
    layout = plan.scenario.deployment
    each = models if len(models) > 1 else models * layout.gpus
    return Fleet(layout, tuple(each), cards_of(layout), catalog.link(own_link))
