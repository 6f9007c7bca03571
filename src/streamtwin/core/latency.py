"""How long will an operation take, and how does anybody know?"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from streamtwin.core.ops import Op
from streamtwin.core.replayed import PaceTrace

ProvenanceKind = Literal["measured", "published", "derived", "assumed"]


@dataclass(frozen=True, slots=True)
class Provenance:
    """Where a number comes from. It is printed wherever the number is; no `date`: of no day."""

    kind: ProvenanceKind
    source: str
    date: str
    extrapolated: bool = False

    def __str__(self) -> str:
        """`measured: HOST, DATE`, marked when the number lies outside the calibrated range."""
        mark = ", extrapolated" if self.extrapolated else ""
        date = f", {self.date}" if self.date else ""
        return f"{self.kind}: {self.source}{date}{mark}"


@dataclass(frozen=True, slots=True)
class Prediction:
    """A predicted time in seconds with its 90 % interval for the mean service time of a run."""

    mean_s: float
    low_s: float
    high_s: float
    provenance: Provenance

    def __post_init__(self) -> None:
        assert 0 <= self.low_s <= self.mean_s <= self.high_s, self


@dataclass(frozen=True, slots=True)
class HostState:
    """What services on one host have in common; by default nothing is known.

    `trace` is how its pace changed while it was measured. `common` is the share of the variance
    between runs that all that is computed on it has in common: a run that encodes slowly decodes
    slowly. `of_all`: all ranks are on it, as on the cores of a CPU; else each has a card of its own.
    """

    trace: PaceTrace | None = None
    common: float = 0.0
    of_all: bool = False


class LatencyModel(Protocol):
    """L(op): the one oracle that the simulator asks."""

    @property
    def provenance(self) -> Provenance:
        """Where the model comes from."""
        ...

    def predict(self, op: Op) -> Prediction:
        """Predict the service time of *op*.

        Raises:
            CalibrationError: *op* lies outside the calibrated range.
        """
        ...

    def noise(self, op: Op) -> Sequence[float]:
        """Relative service times seen when *op* was repeated in one run: a sample around 1.0."""
        ...

    def between(self, op: Op) -> float:
        """Relative standard deviation of the mean time of *op* from one run to the next."""
        ...

    def host(self, rank: int) -> HostState:
        """What is known of the host of *rank*; `noise` is what services scatter by beside it."""
        ...
