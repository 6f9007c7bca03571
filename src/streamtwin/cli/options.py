"""Which options do several commands share?"""

from pathlib import Path
from typing import Annotated

import typer

from streamtwin import __version__

ScenarioArgument = Annotated[
    str, typer.Argument(metavar="SCENARIO", help="a scenario file, or the name of a shipped one")
]
SetOption = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="override a key, e.g. deployment.gpus=2"),
]
OutOption = Annotated[
    Path | None, typer.Option("--out", metavar="DIR", help="folder for records, metrics, report")
]
JsonOption = Annotated[
    bool, typer.Option("--json", help="print one JSON document instead of tables")
]
InputOption = Annotated[
    Path | None,
    typer.Option("--input", metavar="VIDEO", help="input video [default: the shipped clip]"),
]
DeviceOption = Annotated[
    str, typer.Option("--device", metavar="cpu|cuda", help="where the kernels run")
]
EngineOption = Annotated[
    str,
    typer.Option(
        "--engine",
        metavar="auto|simpy|recurrence",
        help="what computes the run: events, or a recurrence, with the same result, where it applies",
    ),
]
HangOption = Annotated[
    float,
    typer.Option(
        "--hang-timeout",
        metavar="SECONDS",
        help="how long a rank may go without progress of its own before the run is stopped",
    ),
]
BudgetOption = Annotated[
    float | None,
    typer.Option("--budget", metavar="SECONDS", help="time that measuring may take in all"),
]
CheckOption = Annotated[
    bool, typer.Option("--check", help="exit with status 1 if a bound is broken")
]

SuiteOption = Annotated[
    bool,
    typer.Option(
        "--suite",
        help="score all deployments by load; without SCENARIO the shipped suite of this machine",
    ),
]
PublishedOption = Annotated[
    str | None,
    typer.Option(
        "--published",
        metavar="NAME",
        help="compare with published results of whole pipelines instead, e.g. sdv2; nothing is run",
    ),
]


def _print_version(asked: bool) -> None:
    if asked:
        typer.echo(f"streamtwin {__version__}")
        raise typer.Exit


def before_command(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="print the version and exit"
        ),
    ] = False,
) -> None:
    """A calibrated twin of a streaming video-diffusion deployment."""


def overrides(given: list[str] | None) -> tuple[str, ...]:
    """The --set options, none given being none."""
    return tuple(given or ())
