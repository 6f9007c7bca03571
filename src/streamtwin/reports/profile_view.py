"""What does a report know of a profile, and what limits each of its cases?

Plain data: whoever has a profile turns it into this. Times in seconds, work in FLOP and bytes.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from streamtwin.reports.pace_view import PaceView
from streamtwin.reports.unmeasured import AnswerView, AssumedView, FigureView

FLOOR_SHARE = 0.5
"""Share of a predicted time that must not depend on the work for launches to limit it."""

_UNITS = {
    "pass": "s/pass",
    "blocks": "s/block",
    "block_tokens": "s/(block token)",
    "block_tokens_beyond": "s/(block token)",
    "block_pairs": "s/(block pair)",
    "block_flops": "s/FLOP",
    "bytes": "s/B",
    "bytes_beyond": "s/B",
}


def unit_of(term: str) -> str:
    """Unit of a parameter, by the term that it belongs to."""
    if term in _UNITS:
        return _UNITS[term]
    if term.startswith("blocks,"):
        return "s/block"
    return "s/B" if term.endswith("bytes") else "s/token" if term.endswith("tokens") else "s"


def grows(term: str) -> bool:
    """Whether a term grows with the work or the bytes, rather than with the number of launches."""
    return any(word in term for word in ("token", "pair", "flop", "byte"))


@dataclass(frozen=True, slots=True)
class TermView:
    """One parameter of a fit; no standard error where it rests at its bound, 0, or is assumed."""

    name: str
    value: float
    stderr: float | None
    assumed: AssumedView | None = None

    @property
    def unit(self) -> str:
        """Its unit."""
        return unit_of(self.name)


@dataclass(frozen=True, slots=True)
class CaseView:
    """One configuration: measured, predicted with its 90 % interval, and its work.

    `x` is where it stands on the axis of its fit, `series` the curve that it belongs to. `shares`
    are the terms' shares of the predicted time. `floor`: its work is below the fit's floor.
    """

    label: str
    series: str
    x: float
    measured_s: float
    predicted_s: float
    low_s: float
    high_s: float
    held_out: bool
    stable: bool
    times: int
    flops: float | None
    bytes: float | None
    shares: tuple[tuple[str, float], ...]
    floor: bool = False
    on_curve: bool = True
    throttled: bool = False

    @property
    def error(self) -> float:
        """Signed relative error of the prediction."""
        return self.predicted_s / self.measured_s - 1

    @property
    def inside(self) -> bool:
        """Whether the measured time lies in the interval."""
        return self.low_s <= self.measured_s <= self.high_s

    @property
    def intensity(self) -> float | None:
        """Arithmetic intensity, FLOP per byte."""
        return None if self.flops is None or not self.bytes else self.flops / self.bytes

    @property
    def flops_per_s(self) -> float | None:
        """Achieved rate."""
        return None if self.flops is None else self.flops / self.measured_s

    @property
    def state(self) -> str:
        """Which marker its point gets."""
        if self.throttled:
            return "throttled"
        if not self.stable:
            return "unstable"
        return "held out" if self.held_out else "fitted"


@dataclass(frozen=True, slots=True)
class CurveView:
    """What a fit predicts along its axis, with the 90 % interval."""

    series: str
    xs: tuple[float, ...]
    mean_s: tuple[float, ...]
    low_s: tuple[float, ...]
    high_s: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class FitView:
    """One fit: what it is of, its formula, how wrong it is, its cases and curves.

    `axis` names what `x` counts; empty: cases stand side by side.
    """

    family: str
    subject: str
    ranks: int
    form: str
    knob: str
    axis: str
    terms: tuple[TermView, ...]
    alternatives: tuple[tuple[str, float], ...]
    held_out_errors: tuple[float, ...]
    left_out_errors: tuple[float, ...]
    half_width: float
    provenance: str
    cases: tuple[CaseView, ...]
    curves: tuple[CurveView, ...]
    coverage: tuple[int, int] | None = None
    """How many held-out operations lie in intervals made without them, and how many there are."""

    @property
    def title(self) -> str:
        """What it is of, in a few words."""
        ranks = f", {self.ranks} ranks at once" if self.ranks > 1 else ""
        return f"{self.family} of {self.subject}{ranks}"


@dataclass(frozen=True, slots=True)
class CeilingView:
    """A bound of the device, FLOP/s or bytes/s, and who says so."""

    name: str
    source: str
    flops_per_s: float | None = None
    bytes_per_s: float | None = None


@dataclass(frozen=True, slots=True)
class ProfileView:
    """A profile as its report shows it."""

    name: str
    provenance: str
    environment: dict[str, str]
    requests: tuple[dict[str, str], ...]
    fits: tuple[FitView, ...]
    ceilings: tuple[CeilingView, ...] = ()
    answers: tuple[AnswerView, ...] = ()
    """What it says of a deployment's operations, where no case was measured."""
    figures: tuple[FigureView, ...] = ()
    paces: tuple[PaceView, ...] = ()
    """How the host's pace changed while it was measured."""

    @property
    def ridge(self) -> float | None:
        """FLOP per byte from which on the device's arithmetic limits, by its data sheet."""
        flops = [one.flops_per_s for one in self.ceilings if one.flops_per_s]
        rates = [one.bytes_per_s for one in self.ceilings if one.bytes_per_s]
        return flops[0] / rates[0] if flops and rates else None


@dataclass(frozen=True, slots=True)
class Limit:
    """What limits a case, and the evidence."""

    what: str
    why: str


def limit_of(case: CaseView, ceilings: Sequence[CeilingView], ridge: float | None) -> Limit:
    """What limits *case*: launches, arithmetic, memory, or a link; and how one can tell."""
    term, share = max(case.shares, key=lambda pair: pair[1], default=("", 0.0))
    fixed = sum(share for name, share in case.shares if not grows(name))
    evidence = f"{term}: {100 * share:.0f} % of the predicted time"
    if case.flops is None and len(case.shares) > 1:
        return Limit("bytes" if fixed < FLOOR_SHARE else "fixed cost", evidence)
    if case.floor:
        return Limit("launch floor", f"{evidence}, below the floor of its form")
    if len(case.shares) > 1 and fixed >= FLOOR_SHARE:
        return Limit("launch floor", f"{100 * fixed:.0f} % does not grow with the work; {evidence}")
    own = evidence if len(case.shares) > 1 else "one time for the whole operation"
    if case.intensity is None:
        return Limit("not known", f"{own}; its work is not counted")
    if ridge is None:
        return Limit("compute or memory", f"{own}; the device's ceilings are not known")
    side = "compute" if case.intensity >= ridge else "memory"
    return Limit(
        side, f"{own}; {case.intensity:.0f} FLOP/B, ridge {ridge:.0f}{_reached(case, ceilings)}"
    )


def _reached(case: CaseView, ceilings: Sequence[CeilingView]) -> str:
    top = next((one.flops_per_s for one in ceilings if one.flops_per_s), None)
    if top is None or case.flops_per_s is None:
        return ""
    return f"; {100 * case.flops_per_s / top:.0f} % of the arithmetic"


def median_of(errors: Sequence[float]) -> float | None:
    """Median absolute error; None without any."""
    return median(map(abs, errors)) if errors else None


def worst_of(errors: Sequence[float]) -> float | None:
    """Largest absolute error; None without any."""
    return max(map(abs, errors), default=None)
