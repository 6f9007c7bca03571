"""What does a report know of a profile that nobody measured?"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class AssumedView:
    """Where a parameter surely lies (90 %) that is assumed, and why it is taken so."""

    low: float
    high: float
    reason: str


@dataclass(frozen=True, slots=True)
class AnswerView:
    """What the profile says of one operation, with its 90 % interval, and who says so."""

    operation: str
    mean_s: float
    low_s: float
    high_s: float
    provenance: str


@dataclass(frozen=True, slots=True)
class FigureView:
    """A published figure beside what the profile makes of it; `unit` is frames/s or ms."""

    label: str
    unit: str
    published: float
    predicted: float
    low: float
    high: float
    source: str

    @property
    def error(self) -> float:
        """Signed relative error of the prediction."""
        return self.predicted / self.published - 1
