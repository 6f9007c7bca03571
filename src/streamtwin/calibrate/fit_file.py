"""How do fits become a file, and a file fits again?"""

from collections.abc import Sequence
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from streamtwin.calibrate.fitted import Fit
from streamtwin.calibrate.meta import explain
from streamtwin.core.errors import CalibrationError


def dump_fits(fits: Sequence[Fit]) -> bytes:
    """The fits as JSON, without the points, which follow from the raw times."""
    return TypeAdapter(tuple[Fit, ...]).dump_json(tuple(fits), indent=1)


def read_fits(path: Path) -> tuple[Fit, ...]:
    """Read and check fits.

    Raises:
        CalibrationError: names file, field and value.
    """
    try:
        return TypeAdapter(tuple[Fit, ...]).validate_json(path.read_bytes())
    except OSError as error:
        raise CalibrationError(f"{path}: cannot be read: {error}") from error
    except ValidationError as error:
        raise CalibrationError(f"{path}: {explain(error)}") from error
