"""How are the figures of several simulations worded, for terminal and page alike?"""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from rich.table import Table

from streamtwin.core.bubbles import CAUSES
from streamtwin.reports.session_sheets import session_sheets
from streamtwin.reports.sheet import Sheet, as_table
from streamtwin.reports.words import (
    cause_name,
    metric_name,
    milliseconds,
    quantity,
    service_name,
    share,
    unit_name,
)

_Metrics = Mapping[str, Any]

SEVERAL = ("intervals", "replications", "sensitivity")
"""Keys of a run's metrics that its own records cannot tell."""


class _Spread(Protocol):
    @property
    def mean(self) -> float: ...
    @property
    def low(self) -> float: ...
    @property
    def high(self) -> float: ...


class _Difference(Protocol):
    @property
    def paired(self) -> _Spread: ...
    @property
    def unpaired(self) -> _Spread: ...


def of_several_runs(metrics: _Metrics) -> dict[str, Any]:
    """What of stored *metrics* further simulations have told."""
    return {"intervals": {}} | {key: metrics[key] for key in SEVERAL if metrics.get(key)}


def sheets(metrics: _Metrics) -> list[Sheet]:
    """The tables of *metrics* that go beyond one run's figures, of those that are there."""
    made = (_cycle(metrics), _links(metrics), _scatter(metrics), _sensitivity(metrics))
    return [sheet for sheet in made if sheet is not None]


def page_sheets(metrics: _Metrics) -> list[Sheet]:
    """Those of a page: what sessions got, and intervals in a table of their own."""
    intervals = _intervals(metrics)
    return [*session_sheets(metrics), *([intervals] if intervals else []), *sheets(metrics)]


def paired_table(pairs: Mapping[str, _Difference]) -> Table:
    """Differences of two scenarios, run by run, beside what unpaired runs would tell."""
    rows = tuple(
        (
            _named(name),
            _value(name, each.paired.mean),
            _range(name, each.paired),
            _range(name, each.unpaired),
        )
        for name, each in pairs.items()
    )
    head = ("second less first run", "mean", "95 %, pair by pair", "95 %, unpaired")
    note = "Replications with the same number drew the same random numbers."
    return as_table(Sheet("paired replications", head, rows, note))


def _intervals(metrics: _Metrics) -> Sheet | None:
    told = metrics.get("intervals")
    if not told:
        return None
    rows = tuple(
        (_named(name), _value(name, low), _value(name, high)) for name, (low, high) in told.items()
    )
    note = (
        "Where 90 of 100 runs lie, given how wrong the calibration may be and what runs differ by."
    )
    return Sheet("intervals", ("90 % of runs", "from", "to"), rows, note)


def _cycle(metrics: _Metrics) -> Sheet | None:
    cycle = metrics.get("critical_cycle")
    if not cycle:
        return None
    seconds: dict[str, list[float]] = {}
    for step in cycle["steps"]:
        seconds.setdefault(_step(step), []).append(step["seconds"])
    rows = tuple(
        (
            name if len(own) == 1 else f"{len(own)} x {name}",
            milliseconds(sum(own)),
            share(sum(own) / cycle["seconds"]),
        )
        for name, own in seconds.items()
    )
    turns = f"{cycle['turns']} turn{'s' if cycle['turns'] > 1 else ''}"
    total = (f"once round, {turns}", milliseconds(cycle["seconds"]), "100.0")
    note = (
        f"{milliseconds(cycle['period_s'])} ms a chunk; the walk back from the last steady emission "
        f"spends {share(cycle['share'])} % of its time in this cycle."
    )
    if len(seconds) < len(cycle["steps"]):
        note = f"In order: {cycle['text']}. {note}"
    return Sheet("what sets the pace", ("critical cycle", "ms", "%"), (*rows, total), note)


def _step(step: _Metrics) -> str:
    if step["kind"] == "hop":
        return f"{'wrap hop' if step['rank'] == 0 else 'hop'} {step['peer']} to {step['rank']}"
    if step["kind"] == "input":
        return f"camera of session {step['peer']}"
    return f"{service_name(step['kind'])} on rank {step['rank']}"


def _links(metrics: _Metrics) -> Sheet | None:
    links = [link for link in metrics.get("links", ()) if "bubbles" in link]
    if not links:
        return None
    causes = [cause for cause in CAUSES if any(link["bubbles"][cause] for link in links)]
    head = ("link", "busy", *map(cause_name, causes))
    rows = tuple(
        (
            f"{link['from_rank']} to {link['to_rank']}",
            *(
                f"{seconds:.3f}"
                for seconds in (link["busy_s"], *(link["bubbles"][c] for c in causes))
            ),
        )
        for link in links
    )
    return Sheet("links, busy and idle by cause, s", head, rows)


def _scatter(metrics: _Metrics) -> Sheet | None:
    sure, told = metrics.get("intervals") or {}, metrics.get("replications") or {}
    if not told:
        return None
    rows = tuple(
        (
            _named(name),
            _value(name, own["mean"]),
            _value(name, own["std"]),
            f"{_value(name, own['low'])} to {_value(name, own['high'])}",
            _between(name, sure.get(name)),
        )
        for name, own in told["figures"].items()
    )
    percent = f"{100 * told['confidence']:.0f} %"
    head = ("", "mean", "std", f"mean, {percent}", "a run, 90 %")
    note = (
        f"mean, {percent}: {told['method']}; {told['covers']}. a run, 90 %: where one run lies, given "
        "how wrong the calibration may be and what runs differ by."
    )
    if not any(own["std"] for own in told["figures"].values()):
        note = f"All runs are alike: nothing here scatters. {note}"
    return Sheet(f"{told['count']} replications", head, rows, note)


def _sensitivity(metrics: _Metrics) -> Sheet | None:
    told = metrics.get("sensitivity")
    if not told:
        return None
    rows = tuple(
        (
            service_name(gain["what"]),
            quantity(gain["fps"], "frames/s"),
            share(gain["fps_change"], sign=True),
            _elasticity(gain["fps_elasticity"]),
            "-" if gain["on_path"] is None else share(gain["on_path"]),
            milliseconds(gain["latency_p95_s"]),
            share(gain["latency_p95_change"], sign=True),
            _elasticity(gain["latency_p95_elasticity"]),
        )
        for gain in told["gains"]
    )
    head = (
        "10 % less of", "fps", "%", "elast.", "critical, %", "p95, ms", "%", "elast.",
    )  # fmt: skip
    note = (
        "Simulated again with the same draws. %: change. Elasticity: relative gain for the relative "
        "cut. Critical: share of the critical path, which is fps's elasticity to a small cut."
    )
    return Sheet("sensitivity", head, rows, note)


def _elasticity(value: float) -> str:
    # adding zero takes the sign off what rounds to nothing
    return f"{round(value, 2) + 0.0:.2f}"


def _named(name: str) -> str:
    return f"{metric_name(name)}, {unit_name(_unit(name))}".replace("_", " ")


def _unit(name: str) -> str:
    return {"fps": "frames/s", "deadline_miss_rate": "1"}.get(name, "s")


def _value(name: str, value: float) -> str:
    return quantity(value, _unit(name))


def _range(name: str, own: _Spread) -> str:
    return f"{_value(name, own.low)} to {_value(name, own.high)}"


def _between(name: str, interval: Sequence[float] | None) -> str:
    return f"{_value(name, interval[0])} to {_value(name, interval[1])}" if interval else "-"
