"""Whose is a result folder at this moment?"""

import fcntl
import os
from pathlib import Path

from streamtwin.core.errors import UserError

MARK = "started"
"""The file by which a folder that a run left early is known as one of ours; who writes locks it."""


def claim(folder: Path) -> None:
    """Take *folder* for this process until it ends.

    The lock goes with the process, whatever ends it, so there are no stale ones; the number
    in the file only tells people who it is.

    Raises:
        UserError: another process writes there.
        OSError: the mark cannot be written.
    """
    handle = os.open(folder / MARK, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        # the descriptor stays open on purpose: closing it would give the lock back
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = os.pread(handle, 32, 0).decode("ascii", "replace").strip()
        os.close(handle)
        if holder != str(os.getpid()):
            raise UserError(
                f"--out {folder}: process {holder or 'of another command'} is writing there; "
                "wait for it, or give another folder"
            ) from None
        return
    except OSError:
        return  # a file system without locks: two runs there are the user's own affair
    os.ftruncate(handle, 0)
    os.pwrite(handle, f"{os.getpid()}\n".encode("ascii"), 0)


def check_entries(folder: Path, files: tuple[str, ...]) -> None:
    """Refuse to compute for a file that could not be put into its place.

    Raises:
        UserError: a folder stands where one of *files* will be written.
    """
    for name in files:
        if (folder / name).is_dir():
            raise UserError(
                f"--out {folder}: {name} is a folder, and a file of that name will be written; "
                "remove it, or give another folder"
            )
