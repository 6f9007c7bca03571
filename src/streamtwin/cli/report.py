"""`streamtwin report` and `streamtwin compare`: read result folders again."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from streamtwin.cli.options import JsonOption
from streamtwin.cli.output import remark, show
from streamtwin.core.errors import RunError, UserError

RunArgument = Annotated[Path, typer.Argument(metavar="RUN", help="result folder of a run")]
RunsArgument = Annotated[
    list[Path],
    typer.Argument(metavar="RUN RUN ...", help="result folders; the first is the prediction"),
]


def report(run: RunArgument, as_json: JsonOption = False) -> None:
    """Print the metrics of RUN again and write its page anew."""
    from streamtwin.core.metrics import compute_metrics  # noqa: PLC0415
    from streamtwin.reports.page import render_run  # noqa: PLC0415
    from streamtwin.reports.store import read_run  # noqa: PLC0415
    from streamtwin.reports.tables import metrics_tables  # noqa: PLC0415
    from streamtwin.reports.whole_file import write_text  # noqa: PLC0415

    with sound(run):
        stored = read_run(run)
        intervals = stored.metrics.get("intervals") or {}
        metrics = {**compute_metrics(stored.records), "intervals": intervals}
        tables = metrics_tables(metrics)
        text = render_run(stored.records, scenario_yaml=stored.scenario_yaml)
    page = run / "report.html"
    write_text(page, text)
    show(metrics, tables, as_json)
    remark(f"report: {page}")


def compare(runs: RunsArgument, as_json: JsonOption = False) -> None:
    """Compare the first RUN with the others, which are taken as repeats of one another."""
    from dataclasses import asdict  # noqa: PLC0415

    from streamtwin.reports.comparison import ValidationResult, compare_runs  # noqa: PLC0415
    from streamtwin.reports.store import finite_or_null, read_run  # noqa: PLC0415
    from streamtwin.reports.tables import comparison_table  # noqa: PLC0415

    if len(runs) < 2:
        raise UserError("compare takes at least two result folders")
    records = []
    for run in runs:
        with sound(run):
            records.append(read_run(run).records)
    name = str(records[0].info.scenario.get("name", runs[0]))
    with sound(*runs):
        result = ValidationResult(name, (compare_runs(str(runs[0]), (), records[0], records[1:]),))
    rows: list[Any] = [finite_or_null(asdict(row)) for row in result.deployments[0].rows]
    show({"schema": 1, "metrics": rows}, [comparison_table(result)], as_json)


@contextmanager
def sound(*runs: Path) -> Iterator[None]:
    """Say which folder is damaged when what stands in it makes no sense."""
    try:
        yield
    except (LookupError, TypeError, ValueError, ArithmeticError, AttributeError) as error:
        folders = ", ".join(str(run) for run in runs)
        raise UserError(
            f"{folders}: damaged, or not a result of this program ({type(error).__name__}: {error})"
        ) from error
    except RunError as error:
        raise UserError(f"{', '.join(str(run) for run in runs)}: {error}") from error
