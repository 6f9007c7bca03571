"""How near does the twin come to published results of whole pipelines? The view of one comparison."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

from streamtwin.core.checks import UNITS, Bounds, Cell, Metric, Publication


@dataclass(frozen=True, slots=True)
class CellView:
    """A published value beside its prediction, in frames/s or seconds.

    `low` to `high`: the prediction with every service time at an end of its 90 % interval.
    `provenance` says whose service times those are. `note`: what else there is to say.
    """

    cell: Cell
    predicted: float
    low: float
    high: float
    provenance: str
    note: str = ""

    @property
    def error(self) -> float | None:
        """Relative error; None beside a published 0."""
        value = self.cell.value
        return (self.predicted - value) / value if value else None

    @property
    def inside(self) -> bool:
        """Whether the published value lies inside the prediction's interval."""
        return self.low <= self.cell.value <= self.high

    def scaled(self, value: float) -> float:
        """*value* in the unit in which people read it."""
        return 1e3 * value if UNITS[self.cell.metric] == "ms" else value


@dataclass(frozen=True, slots=True)
class Verdict:
    """What was found of one bound, both as shares."""

    what: str
    found: float
    bound: float

    @property
    def kept(self) -> bool:
        """Whether the bound holds."""
        return self.found <= self.bound


@dataclass(frozen=True, slots=True)
class PublishedView:
    """All cells of one publication."""

    publication: Publication
    profile: str
    cells: tuple[CellView, ...]

    def of(self, metric: Metric) -> list[CellView]:
        """The cells of *metric*."""
        return [one for one in self.cells if one.cell.metric == metric]

    @property
    def verdicts(self) -> tuple[Verdict, ...]:
        """Every bound of the publication that a cell says something of."""
        bounds: Bounds = self.publication.bounds
        fps, first = _errors(self.of("fps")), _errors(self.of("first_frame_s"))
        found = []
        if fps:
            found.append(Verdict("mean error of frame rates", fmean(fps), bounds.fps_mean))
            found.append(Verdict("worst error of frame rates", max(fps), bounds.fps_worst))
        if first:
            found.append(Verdict("worst error of first frames", max(first), bounds.first_frame))
        return tuple(found)

    @property
    def ok(self) -> bool:
        """Whether every bound is kept."""
        return all(one.kept for one in self.verdicts)

    @property
    def inside(self) -> int:
        """Cells whose published value lies inside the interval."""
        return sum(one.inside for one in self.cells)


def _errors(cells: Sequence[CellView]) -> list[float]:
    return [abs(one.error) for one in cells if one.error is not None]
