"""What do all ranks together say of one configuration?"""

from collections.abc import Iterable
from dataclasses import dataclass
from statistics import fmean, median

from streamtwin.calibrate.cases import Case
from streamtwin.calibrate.harness import UNSTABLE, Measurement, relative_iqr, undisturbed
from streamtwin.core.ops import Hop


@dataclass(frozen=True, slots=True)
class Observed:
    """One configuration with its raw times after warm-up, those of every rank together.

    `clean` are the times that no other process disturbed (see `harness.undisturbed`), `times` all
    of them.
    """

    case: Case
    times: tuple[float, ...]
    clean: tuple[float, ...]

    @property
    def typical_s(self) -> float:
        """Median of the clean times over all ranks; of a hop, their mean.

        A hop out of a core that computes waits for none or some of a scheduler's slice. Its median
        jumps between the two, while a pipeline pays the mean.
        """
        return fmean(self.clean) if isinstance(self.case.op, Hop) else median(self.clean)

    @property
    def ratios(self) -> tuple[float, ...]:
        """All times as shares of the typical one."""
        return tuple(time / self.typical_s for time in self.times)

    @property
    def stable(self) -> bool:
        """Whether the clean times spread little enough to trust the typical one."""
        return relative_iqr(self.clean) <= UNSTABLE


def observe(measurements: Iterable[Measurement]) -> list[Observed]:
    """Put the ranks' measurements of each case together."""
    ranks: dict[Case, list[Measurement]] = {}
    for measurement in measurements:
        ranks.setdefault(measurement.case, []).append(measurement)
    return [_pool(case, each) for case, each in ranks.items()]


def _pool(case: Case, ranks: list[Measurement]) -> Observed:
    times = tuple(time for one in ranks for time in one.steady)
    shares = [share for one in ranks for share in one.core_shares[one.warmups :]]
    return Observed(case, times, undisturbed(times, shares))
