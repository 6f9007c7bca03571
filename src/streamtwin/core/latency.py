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

    def pace(self, rank: int) -> PaceTrace | None:
        """How the host's pace changed on *rank* while it was measured; None: nothing tells it.

        `noise` is what services scatter by beside it.
        """
        ...
