"""Where do a run's temporary files lie, and who clears away what a killed launcher left?

Every folder holds a file that its launcher keeps locked. The kernel drops the lock with the
process, whatever ended it, so the next run can tell a folder in use from a forgotten one.
"""

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

PREFIX = "streamtwin-"
OWNER = "owner"


@contextmanager
def scratch_folder(kind: str = "run") -> Iterator[Path]:
    """A new temporary folder, removed at the end; forgotten ones of this user go first."""
    parent = Path(tempfile.gettempdir())
    sweep(parent)
    folder = Path(tempfile.mkdtemp(prefix=f"{PREFIX}{kind}-", dir=parent))
    draft = folder / f".{OWNER}"
    handle = os.open(draft, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        draft.rename(folder / OWNER)  # from now on it can be swept: it is locked before
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(handle)


def sweep(parent: Path) -> None:
    """Remove the folders in *parent* whose launcher is gone."""
    for owner in parent.glob(f"{PREFIX}*/{OWNER}"):
        with suppress(OSError):  # in use, another user's, or gone meanwhile
            handle = os.open(owner, os.O_RDWR)
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(owner.parent, ignore_errors=True)
            finally:
                os.close(handle)
