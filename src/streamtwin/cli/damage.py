"""Which result folder is damaged, when what stands in it makes no sense?"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from streamtwin.core.errors import RunError, StreamtwinError, UserError

MAX_RUNS = 3
"""Folders that a message names; others are counted."""


@contextmanager
def sound(*runs: Path) -> Iterator[None]:
    """Say which folder is at fault where a complaint does not, and is damaged if it makes no sense."""
    try:
        yield
    except (
        LookupError,
        TypeError,
        ValueError,
        ArithmeticError,
        AttributeError,
        RecursionError,
    ) as error:
        raise UserError(
            f"{_listed(runs)}: damaged, or not a result of this program "
            f"({type(error).__name__}: {error})"
        ) from error
    except StreamtwinError as error:
        named = any(str(error).startswith((f"{run}:", f"{run}/")) for run in runs)
        kind = UserError if isinstance(error, RunError) else type(error)
        raise kind(str(error) if named else f"{_listed(runs)}: {error}") from error


def _listed(runs: Sequence[Path]) -> str:
    more = f" and {len(runs) - MAX_RUNS} more" if len(runs) > MAX_RUNS else ""
    return ", ".join(map(str, runs[:MAX_RUNS])) + more
