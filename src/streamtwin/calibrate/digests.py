"""Are the files that a fit follows from still those that it was made of?"""

import hashlib
from collections.abc import Iterable, Mapping
from pathlib import Path

from streamtwin.core.errors import CalibrationError


def digests_of(folder: Path, names: Iterable[str]) -> dict[str, str]:
    """SHA-256 of each file in *folder* by its name."""
    return {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in names}


def check_digests(folder: Path, known: Mapping[str, str], names: Iterable[str]) -> None:
    """Refuse files *names* that changed since the profile in *folder* was made.

    Raises:
        CalibrationError: names the first file that is missing or another one.
    """
    for name in names:
        try:
            (now,) = digests_of(folder, (name,)).values()
        except OSError as error:
            raise CalibrationError(f"{folder / name}: cannot be read: {error}") from error
        if now != known.get(name):
            raise CalibrationError(
                f"{folder / name}: is not the file that the profile was made of "
                f"(sources_sha256.{name} = {known.get(name)!r}): the fits do not follow from it"
            )
