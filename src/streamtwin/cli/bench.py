"""`streamtwin bench`: how fast is this device, beside published figures?"""

import json
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from streamtwin.cli.checks import check_budget
from streamtwin.cli.options import BudgetOption, DeviceOption, JsonOption
from streamtwin.cli.output import complain, progress, remark, show
from streamtwin.core.brief import cut
from streamtwin.core.errors import RunError, UserError

if TYPE_CHECKING:
    from streamtwin.bench.request import BenchRequest
    from streamtwin.bench.run import Bench

ALL_MODELS = ("wan2.1-1.3b", "wan2.1-14b")
ALL_RESOLUTIONS = ((480, 832), (512, 512))
"""What --all measures: the sizes that the published figures speak of."""


def bench(
    model: Annotated[str, typer.Option("--model", help="model of the catalogue")] = "tiny",
    vae: Annotated[
        str | None, typer.Option("--vae", help="VAE of the catalogue [default: the model's]")
    ] = None,
    resolution: Annotated[
        tuple[int, int], typer.Option("--resolution", help="height and width in pixels")
    ] = (128, 192),
    device: DeviceOption = "cpu",
    rows: Annotated[str, typer.Option("--rows", help="rows of the passes")] = "1,2,3,4",
    steps: Annotated[str, typer.Option("--steps", help="steps to give fps for")] = "1,2,3,4",
    modes: Annotated[
        list[str] | None,
        typer.Option(
            "--mode",
            help="eager, graph, compiled or compiled-graph; repeat "
            "[default: eager, on cuda also graph; with --all also compiled-graph]",
        ),
    ] = None,
    attention: Annotated[
        str, typer.Option("--attention", help="auto, fa3, cudnn, flash, efficient or math")
    ] = "auto",
    everything: Annotated[
        bool, typer.Option("--all", help="both Wan models at 480x832 and 512x512; on cuda")
    ] = False,
    budget_s: BudgetOption = None,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="FILE", help="JSON file for the raw times")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Time passes, encoding and decoding on one device, beside published figures."""
    from streamtwin.bench.figures import document  # noqa: PLC0415
    from streamtwin.bench.request import BenchRequest  # noqa: PLC0415
    from streamtwin.runtime.devices import check_attention, check_device  # noqa: PLC0415

    check_device(device, 1)
    check_attention(attention, device)
    if everything and device == "cpu":
        raise UserError("--all measures models of billions of parameters: it needs --device cuda")
    check_budget(budget_s)
    _check_file(out)
    chosen = vae or ("tiny" if model == "tiny" and not everything else "wan2.1")
    one = BenchRequest(
        model,
        chosen,
        resolution,
        device,
        _counts("rows", rows),
        _counts("steps", steps),
        tuple(modes or _default_modes(device, everything)),
        attention,
    )
    requests = _all(one) if everything else [one]
    benches, failures = _measured(requests, budget_s, out)
    if benches:
        show(document(benches), [t for b in benches for t in _tables(b)], as_json)
    if out is not None:
        remark(f"raw times: {out}")
    if failures:
        raise RunError("; ".join(failures))


def _measured(
    requests: "list[BenchRequest]", budget_s: float | None, out: Path | None
) -> "tuple[list[Bench], list[str]]":
    """Results and, where there are several requests, what went wrong with some of them.

    The file is written after each one, so that it has what was measured if the rest is cut off.
    """
    from streamtwin.bench.figures import document  # noqa: PLC0415
    from streamtwin.bench.run import DEFAULT_BUDGET_S  # noqa: PLC0415
    from streamtwin.bench.run import bench as measure  # noqa: PLC0415
    from streamtwin.reports.whole_file import write_text  # noqa: PLC0415

    benches: list[Bench] = []
    failures: list[str] = []
    for request in requests:
        try:
            _check_memory(request)
            seconds = DEFAULT_BUDGET_S[request.device] if budget_s is None else budget_s
            with progress(f"timing {request.label}", 1.0) as bar:
                benches.append(measure(request, budget_s=seconds, on_progress=bar.at))
        except (RunError, UserError) as error:
            if len(requests) == 1:
                raise
            complain(f"{request.label}: {error}")
            failures.append(f"{request.label} failed")
            continue
        if out is not None:
            write_text(out, json.dumps(document(benches), indent=1, allow_nan=False) + "\n")
    return benches, failures


def _check_memory(request: "BenchRequest") -> None:
    from streamtwin.core.memory import check_memory  # noqa: PLC0415
    from streamtwin.runtime.devices import free_bytes  # noqa: PLC0415

    check_memory(request.plan, free_bytes(request.device, 1), request.device)


def _all(one: "BenchRequest") -> "list[BenchRequest]":
    return [
        replace(one, model=model, resolution=resolution)
        for model in ALL_MODELS
        for resolution in ALL_RESOLUTIONS
    ]


def _default_modes(device: str, everything: bool) -> tuple[str, ...]:
    if device == "cpu":
        return ("eager",)
    return ("eager", "graph", "compiled-graph") if everything else ("eager", "graph")


def _counts(name: str, text: str) -> tuple[int, ...]:
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError:
        raise UserError(f"--{name} {text!r}: give numbers with commas between, e.g. 1,2") from None


def _check_file(out: Path | None) -> None:
    if out is None:
        return
    if out.is_dir():
        raise UserError(f"--out {out}: is a folder; give a file")
    if out.exists() and not out.is_file():
        raise UserError(f"--out {out}: is no plain file and would be replaced by one")
    if not out.parent.is_dir():
        raise UserError(f"--out {out}: there is no folder {out.parent}")
    try:
        with tempfile.TemporaryFile(dir=out.parent):
            pass
    except OSError as error:
        raise UserError(f"--out {cut(str(out))}: cannot be written: {error.strerror}") from error


def _tables(bench: "Bench") -> list[Any]:
    from streamtwin.bench.figures import rate_lines, time_lines  # noqa: PLC0415
    from streamtwin.reports.bench_tables import rate_table, time_table  # noqa: PLC0415

    first = bench.machine.ceilings[0]
    title = f"{bench.request.label}: {bench.machine.device}, VAE {bench.request.vae}"
    ceiling = f"share of {first.flops_per_s / 1e12:,.4g} TFLOP/s ({first.source})"
    return [time_table(title, ceiling, time_lines(bench)), rate_table(rate_lines(bench))]
