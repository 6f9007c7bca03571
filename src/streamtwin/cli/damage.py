"""Which result folder is damaged, when what stands in it makes no sense?"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from streamtwin.core.errors import RunError, UserError


@contextmanager
def sound(*runs: Path) -> Iterator[None]:
    """Say which folder is damaged when what stands in it makes no sense."""
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
        folders = ", ".join(str(run) for run in runs)
        raise UserError(
            f"{folders}: damaged, or not a result of this program ({type(error).__name__}: {error})"
        ) from error
    except RunError as error:
        raise UserError(f"{', '.join(str(run) for run in runs)}: {error}") from error
