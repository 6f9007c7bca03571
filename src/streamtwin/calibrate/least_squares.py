"""Which non-negative parameters make a sum of terms meet measured times, and how surely?"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import nnls

from streamtwin.calibrate.terms import Terms
from streamtwin.core.errors import CalibrationError

Standing = Literal["free", "at its bound", "not identified", "no degree of freedom"]
"""What is known of a parameter: with a standard error; 0, where the errors would want it lower;
one of several that the configurations cannot tell apart; met exactly, so with unknown error."""

SINGULAR = 1e-9
"""Singular values below this share of the largest one count as zero."""

TOUCHED = 1e-6
"""Component of a direction without effect from which on a parameter belongs to it."""


@dataclass(frozen=True, slots=True)
class Solution:
    """Non-negative parameters by term, and the sum of squared relative errors.

    `stderr` is None where `standing` is not `free`.
    """

    values: dict[str, float]
    stderr: dict[str, float | None]
    standing: dict[str, Standing]
    squares: float

    def predict_s(self, terms: Terms) -> float:
        """The sum of *terms*; a term that no configuration had adds nothing."""
        return sum(self.values.get(name, 0.0) * amount for name, amount in terms.items())


@dataclass(frozen=True, slots=True)
class Amounts:
    """Terms of several configurations: a row each, a column a name."""

    names: tuple[str, ...]
    values: NDArray[np.float64]
    """Shape (rows, names); 0 where the row has no such term."""
    present: NDArray[np.bool_]
    """Shape (rows, names): whether the row has the term at all, be it 0."""


def amounts_of(rows: Sequence[Terms]) -> Amounts:
    """*rows* as a matrix, names in the order of their first appearance."""
    names = tuple(dict.fromkeys(name for row in rows for name in row))
    values = np.array([[_float(row.get(name, 0.0)) for name in names] for row in rows])
    return Amounts(names, values, np.array([[name in row for name in names] for row in rows]))


def solve(rows: Sequence[Terms], seconds: Sequence[float]) -> Solution:
    """Minimise the squared relative errors of sum(parameter * term) over parameters >= 0.

    Raises:
        CalibrationError: a time is not a positive number, or a term too large for one.
    """
    amounts = amounts_of(rows)
    names = amounts.names
    design, scale = _design(names, amounts.values, _positive(seconds))
    scaled, residual = nnls(design / scale, np.ones(len(design)))
    stderr, standing = _stderr(design / scale, scaled, residual**2)
    return Solution(
        values={name: float(v) for name, v in zip(names, scaled / scale, strict=True)},
        stderr={
            name: None if np.isnan(e) else float(e)
            for name, e in zip(names, stderr / scale, strict=True)
        },
        standing=dict(zip(names, standing, strict=True)),
        squares=float(residual**2),
    )


def least_squares(amounts: Amounts, seconds: Sequence[float], kept: Sequence[int]) -> float:
    """The squares that `solve` would leave of the rows *kept*, without the rest of its answer.

    *seconds* are of all rows. A form's knobs are found by comparing hundreds of these.

    Raises:
        CalibrationError: as `solve`.
    """
    columns = np.flatnonzero(amounts.present[kept].any(axis=0))
    times = _positive([seconds[i] for i in kept])
    values = amounts.values[np.ix_(np.asarray(kept), columns)]
    design, scale = _design([amounts.names[i] for i in columns], values, times)
    return float(nnls(design / scale, np.ones(len(times)))[1] ** 2)


def _positive(seconds: Sequence[float]) -> NDArray[np.float64]:
    times = np.asarray(seconds, dtype=float)
    if not (np.isfinite(times) & (times > 0)).all():
        wrong = times[~(np.isfinite(times) & (times > 0))][0]
        raise CalibrationError(f"a time of {wrong} s cannot be fitted: give positive seconds")
    return times


def _design(
    names: Sequence[str], amounts: NDArray[np.float64], times: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Terms per second, a column each, and by what to divide the columns.

    Terms span ten orders of magnitude; columns of equal length keep the solver exact.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        design = amounts / times[:, None]
        lengths: NDArray[np.float64] = np.linalg.norm(design, axis=0)
    for name, length, column in zip(names, lengths, amounts.T, strict=True):
        if not np.isfinite(length):
            most = column.max()
            raise CalibrationError(f"term {name!r} = {most:g} cannot be fitted: too large")
    return design, np.where(design.any(axis=0), lengths, 1.0)


def _float(amount: float) -> float:
    """*amount*, or infinity where it is an integer beyond every float."""
    try:
        return float(amount)
    except OverflowError:
        return float("inf")


def _stderr(
    design: NDArray[np.float64], values: NDArray[np.float64], squares: float
) -> tuple[NDArray[np.float64], list[Standing]]:
    """Standard errors of ordinary least squares in the parameters off their bound, NaN elsewhere.

    Where columns depend on each other, only parameters that no combination without effect touches
    have one (estimable functions: Searle 1971, Linear Models, section 5.4).
    """
    standing: list[Standing] = ["at its bound"] * len(values)
    stderr = np.full(len(values), np.nan)
    free = np.flatnonzero(values > 0)
    if not len(free):
        return stderr, standing
    degrees = len(design) - int(np.linalg.matrix_rank(design[:, free], SINGULAR))
    if degrees:
        inverse = np.linalg.pinv(design[:, free], SINGULAR)
        stderr[free] = np.sqrt(squares / degrees * (inverse**2).sum(axis=1))
    for place in free:
        standing[place] = "free" if degrees else "no degree of freedom"
    for place in _exchangeable(design, values):
        stderr[place], standing[place] = np.nan, "not identified"
    return stderr, standing


def _exchangeable(design: NDArray[np.float64], values: NDArray[np.float64]) -> NDArray[np.int64]:
    """Parameters that can change together without any error changing.

    The solver rests with some of them at 0; those whose errors do not push them there count too.
    """
    pull = design.T @ (1 - design @ values)
    loose = np.flatnonzero((values > 0) | ((pull > -SINGULAR) & design.any(axis=0)))
    _, singular, directions = np.linalg.svd(design[:, loose], full_matrices=True)
    rank = int((singular > SINGULAR * singular[0]).sum())
    touched = np.abs(directions[rank:]).max(axis=0, initial=0.0) > TOUCHED
    found: NDArray[np.int64] = loose[touched]
    return found
