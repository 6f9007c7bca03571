"""Between which numbers may what a file or a flag says of a time or an operation lie?

A number that no machine gives is a slip of whoever wrote it; it is better refused where it stands
than met as an overflow in a fit.
"""

import math
from typing import NamedTuple

from streamtwin.calibrate.plausible import MAX_SERVICE_S

MAX_TOLD = 80
"""Characters of a value that a complaint repeats."""


class Bounds(NamedTuple):
    """The least and the largest number that may be given, both included."""

    low: float
    high: float

    def holds(self, value: float) -> bool:
        """Whether *value* lies between them; NaN does not."""
        return self.low <= value <= self.high

    def words(self, value: float = -1) -> str:
        """What to give instead of *value*."""
        if self == FLAG:
            return "choose 0 or 1"
        if self == SECONDS and value == 0:
            return "no operation takes no time"
        unit = " s" if self == SECONDS else ""
        return f"give {self.low:.16g} to {self.high:.16g}{unit}"


FLAG = Bounds(0, 1)

AMOUNT = Bounds(0, 2**53)
"""Of a field of an operation: a double counts no further without gaps (IEEE 754)."""

RANKS, RANK, RUN = Bounds(1, 4096), Bounds(0, 4095), Bounds(0, 4096)

CORE_SHARE = Bounds(0, 1e3)
"""Seconds of a process on all cores per second of the clock."""

SECONDS = Bounds(1e-9, MAX_SERVICE_S)
"""From the nanosecond in which clocks count to what a profile's fit may say."""

INSTANT = Bounds(0, 1e9)
"""By a clock that began with its host: thirty years, and a double still tells microseconds."""

COLUMNS_WITHIN = {
    "ranks": RANKS, "rank": RANK, "run": RUN, "held_out": FLAG, "warmup": FLAG,
    "core_share": CORE_SHARE, "seconds": SECONDS, "began_s": INSTANT,
}  # fmt: skip
"""Of the columns that every row of raw times has."""


def said(value: object) -> str:
    """*value* as a complaint repeats it: not more of it than one reads."""
    return repr(value[:MAX_TOLD]) if isinstance(value, str) else repr(value)[:MAX_TOLD]


def number_of(text: str, bounds: Bounds = AMOUNT, *, whole: bool = False) -> float:
    """The number that *text* says.

    Raises:
        ValueError: it is none, not finite, below 0, not *whole*, or out of *bounds*; says which.
    """
    try:
        value = float(text)
    except ValueError:
        raise ValueError("not a number") from None
    if not math.isfinite(value) or value < 0 or (whole and not value.is_integer()):
        raise ValueError(f"not a finite {'whole ' if whole else ''}number of at least 0")
    if not bounds.holds(value):
        raise ValueError(bounds.words(value))
    return value


def whole_of(value: object, bounds: Bounds) -> int:
    """*value* of a JSON file as a whole number.

    Raises:
        ValueError: it is none, or out of *bounds*; says which.
    """
    if not isinstance(value, int) or isinstance(value, bool):
        raise ValueError(f"not a whole number; {bounds.words()}")
    if not bounds.holds(value):
        raise ValueError(bounds.words())
    return value
