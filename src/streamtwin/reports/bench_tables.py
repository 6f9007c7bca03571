"""What does a person read of a benchmark? Times and frame rates beside published figures."""

from collections.abc import Sequence
from typing import Protocol

from rich.markup import escape
from rich.table import Table

from streamtwin.reports.tables import slim_table


class _Time(Protocol):
    """A line of times, as `bench.figures.TimeLine`."""

    @property
    def what(self) -> str: ...
    @property
    def mode(self) -> str: ...
    @property
    def count(self) -> int: ...
    @property
    def median_s(self) -> float: ...
    @property
    def rel_iqr(self) -> float: ...
    @property
    def stable(self) -> bool: ...
    @property
    def flops_per_s(self) -> float: ...
    @property
    def share(self) -> float: ...
    @property
    def reference_s(self) -> float | None: ...


class _Rate(Protocol):
    """A line of frame rates, as `bench.figures.RateLine`."""

    @property
    def mode(self) -> str: ...
    @property
    def steps(self) -> int: ...
    @property
    def fps(self) -> float: ...
    @property
    def reference_fps(self) -> float | None: ...


def time_table(title: str, ceiling: str, lines: Sequence[_Time]) -> Table:
    """Times of passes and of the VAE; *ceiling* says what the shares are of."""
    table = slim_table(title, ("", "mode"))
    for heading in ("ms", "spread %", "TFLOP/s", "share %", "publ. ms"):
        table.add_column(heading, justify="right")
    for line in lines:
        unit = "row" if line.what == "pass" else "latent"
        table.add_row(
            f"{line.what}, {line.count} {unit}{'s' if line.count > 1 else ''}",
            line.mode,
            f"{1e3 * line.median_s:,.2f}",
            f"{100 * line.rel_iqr:.1f}" + ("" if line.stable else " unstable"),
            f"{line.flops_per_s / 1e12:,.3g}",
            f"{100 * line.share:.1f}",
            "-" if line.reference_s is None else f"{1e3 * line.reference_s:,.1f}",
        )
    table.caption, table.caption_justify = escape(ceiling), "left"
    return table


def rate_table(lines: Sequence[_Rate]) -> Table:
    """Frames/s of one device by denoising steps."""
    table = slim_table("frames/s on one device: encode, pass, decode in turn", ("steps", "mode"))
    for heading in ("fps", "publ. fps"):
        table.add_column(heading, justify="right")
    for line in lines:
        known = "-" if line.reference_fps is None else f"{line.reference_fps:,.2f}"
        table.add_row(str(line.steps), line.mode, f"{line.fps:,.2f}", known)
    return table
