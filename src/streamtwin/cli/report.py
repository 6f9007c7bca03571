"""`streamtwin report` and `streamtwin compare`: read result folders again."""

from pathlib import Path
from typing import Annotated, Any

import typer

from streamtwin.cli.options import JsonOption
from streamtwin.cli.output import remark, show

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

    stored = read_run(run)
    metrics = {
        **compute_metrics(stored.records),
        "intervals": stored.metrics.get("intervals") or {},
    }
    page = run / "report.html"
    write_text(page, render_run(stored.records, scenario_yaml=stored.scenario_yaml))
    show(metrics, metrics_tables(metrics), as_json)
    remark(f"report: {page}")


def compare(runs: RunsArgument, as_json: JsonOption = False) -> None:
    """Compare the first RUN with the others, which are taken as repeats of one another."""
    from dataclasses import asdict  # noqa: PLC0415

    from streamtwin.core.errors import UserError  # noqa: PLC0415
    from streamtwin.reports.comparison import ValidationResult, compare_runs  # noqa: PLC0415
    from streamtwin.reports.store import finite_or_null, read_run  # noqa: PLC0415
    from streamtwin.reports.tables import comparison_table  # noqa: PLC0415

    if len(runs) < 2:
        raise UserError("compare takes at least two result folders")
    first, *others = (read_run(run).records for run in runs)
    name = str(first.info.scenario.get("name", runs[0]))
    result = ValidationResult(name, (compare_runs(str(runs[0]), (), first, others),))
    rows: list[Any] = [finite_or_null(asdict(row)) for row in result.deployments[0].rows]
    show({"schema": 1, "metrics": rows}, [comparison_table(result)], as_json)
