"""What does a report know of the pace of a host?"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class PaceView:
    """How many times as long as on average work took while *ranks* computed, `step_s` by `step_s`.

    `factors` has a row for each rank; all are equally long.
    """

    ranks: int
    step_s: float
    factors: tuple[tuple[float, ...], ...]

    @property
    def title(self) -> str:
        """What the panel shows."""
        return f"{self.ranks} {'rank computes' if self.ranks == 1 else 'ranks compute'}"

    @property
    def slowest_twentieth(self) -> float:
        """By how much work takes longer than on average in the slowest twentieth of the time."""
        every = sorted(factor for row in self.factors for factor in row)
        return every[min(len(every) - 1, int(0.95 * len(every)))] - 1
