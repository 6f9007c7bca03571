"""Which non-negative parameters make a sum of terms meet measured times, and how surely?"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import nnls

from streamtwin.calibrate.forms import Terms

COVERAGE = 0.9
"""Share of configurations whose typical time is to lie inside the interval."""


@dataclass(frozen=True, slots=True)
class Solution:
    """Non-negative parameters by term, with standard errors and the sum of squared errors."""

    values: dict[str, float]
    stderr: dict[str, float | None]
    squares: float


def solve(rows: Sequence[Terms], seconds: Sequence[float]) -> Solution:
    """Minimise the squared relative errors of sum(parameter * term) over parameters >= 0."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    times = np.asarray(seconds)
    design = np.array([[row.get(name, 0.0) for name in names] for row in rows]) / times[:, None]
    # Terms span ten orders of magnitude; columns of equal length keep the solver exact.
    scale = np.where(design.any(axis=0), np.linalg.norm(design, axis=0), 1.0)
    scaled, residual = nnls(design / scale, np.ones(len(times)))
    stderr = _stderr(design / scale, scaled, residual**2)
    return Solution(
        values={name: float(v) for name, v in zip(names, scaled / scale, strict=True)},
        stderr={
            name: None if np.isnan(e) else float(e)
            for name, e in zip(names, stderr / scale, strict=True)
        },
        squares=float(residual**2),
    )


def _stderr(
    design: NDArray[np.float64], values: NDArray[np.float64], squares: float
) -> NDArray[np.float64]:
    """Standard errors of the parameters that are off their bound; NaN for the others."""
    free = values > 0
    stderr = np.full(len(values), np.nan)
    degrees = len(design) - int(free.sum())
    if degrees > 0 and free.any():
        active = design[:, free]
        stderr[free] = np.sqrt(squares / degrees * np.diag(np.linalg.pinv(active.T @ active)))
    return stderr


def half_width(errors: Sequence[float]) -> float:
    """Half-width of the interval from relative *errors*: their split-conformal quantile.

    With too few errors for the coverage the largest one stands, a little enlarged.
    """
    ordered = sorted(map(abs, errors))
    rank = ceil(COVERAGE * (len(ordered) + 1))
    if rank <= len(ordered):
        return ordered[rank - 1]
    return ordered[-1] * rank / len(ordered) if ordered else 1.0
