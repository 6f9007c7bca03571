"""The command line: the only place where all parts meet.

Each command imports what it needs when it runs, so that simulating never loads torch. Results
go to stdout, progress and errors to stderr. Exit status: 0; 1 when --check finds a bound broken, or a
policy that is asked again does not choose what it chose; 2 for a mistake of the user; 3 when a
real run failed; 130 when interrupted, 143 when terminated.
"""

import os
import signal
import sys
from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import typer

from streamtwin.cli.bench import bench as bench_command
from streamtwin.cli.calibrate import calibrate as calibrate_command
from streamtwin.cli.catalog import catalog as catalog_command
from streamtwin.cli.catalog import schema as schema_command
from streamtwin.cli.options import before_command
from streamtwin.cli.output import complain
from streamtwin.cli.report import compare as compare_command
from streamtwin.cli.report import report as report_command
from streamtwin.cli.run import run as run_command
from streamtwin.cli.seated import find_seat
from streamtwin.cli.simulate import simulate as simulate_command
from streamtwin.cli.validate import validate as validate_command
from streamtwin.core.brief import cut
from streamtwin.core.errors import RunError, StreamtwinError

INTERRUPTED, BROKEN_PIPE, TERMINATED = 130, 141, 143
"""Exit statuses of a process that SIGINT, SIGPIPE or SIGTERM ended, as shells give them."""


MAX_TOLD = 8000
"""Most characters of a message about what the user gave: memory of many ranks, rank by rank, fits."""


@runtime_checkable
class WrongUsage(Protocol):
    """What the framework raises for a command line that it cannot read, in whichever version."""

    exit_code: int

    def show(self) -> None:
        """Print the message with the command's usage."""
        ...


class Stopped(BaseException):
    """SIGINT or SIGTERM arrived: unwind, so that ranks stop and temporary files go.

    An exception of our own, because the framework turns KeyboardInterrupt into a bare status.
    """

    status = INTERRUPTED


class Terminated(Stopped):
    """SIGTERM arrived."""

    status = TERMINATED


def build() -> typer.Typer:
    """Assemble the commands."""
    app = typer.Typer(
        name="streamtwin",
        help="A calibrated twin of a streaming video-diffusion deployment.",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
    )
    app.callback()(before_command)
    app.command("calibrate")(calibrate_command)
    app.command("bench")(bench_command)
    app.command("simulate")(simulate_command)
    app.command("run")(run_command)
    app.command("validate")(validate_command)
    app.command("compare")(compare_command)
    app.command("report")(report_command)
    app.command("catalog")(catalog_command)
    app.command("schema")(schema_command)
    return app


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one command and exit with its status."""
    signal.signal(signal.SIGTERM, _terminate)
    signal.signal(signal.SIGINT, _interrupt)
    try:
        status = build()(args=None if arguments is None else list(arguments), standalone_mode=False)
        sys.stdout.flush()
    except SystemExit as end:
        status = BROKEN_PIPE if _is_broken_pipe(end.__context__) else end.code
    except (Exception, Stopped) as error:
        status = BROKEN_PIPE if _is_broken_pipe(error) else _explain(error)
    if status == BROKEN_PIPE:
        # whoever read stdout has gone; nothing more can be said there, not even on exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    if status and find_seat() is not None:
        # the thread of a rank's work may hang in a receive that never returns
        sys.stderr.flush()
        os._exit(status if isinstance(status, int) else 1)
    sys.exit(status or 0)


def _explain(error: BaseException) -> int:
    """Say what went wrong in one message; returns the exit status. Our own bugs are raised."""
    if isinstance(error, WrongUsage):
        error.show()
        return error.exit_code
    if isinstance(error, Stopped):
        complain(str(error) or "stopped")
        return error.status
    if isinstance(error, RunError):  # stacks of ranks that hang are long, and wanted
        complain(str(error))
        return 3
    if isinstance(error, StreamtwinError):
        complain(cut(str(error), MAX_TOLD))
        return 2
    if isinstance(error, OSError):
        complain(f"{cut(str(error.filename or 'output'))}: {error.strerror or error}")
        return 2
    raise error


def _is_broken_pipe(error: BaseException | None) -> bool:
    return isinstance(error, BrokenPipeError)


def _interrupt(_signal: int, _frame: object) -> None:
    raise Stopped


def _terminate(_signal: int, _frame: object) -> None:
    raise Terminated
