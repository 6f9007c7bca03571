"""How do tests give a command as a user does: as a process of its own, or within this one?

A process of its own loads all libraries anew, which takes longer than most commands. Only what a
process has is tested with one: signals, what it has loaded, its status as a shell sees it.
"""

import io
import os
import subprocess
import sys
from contextlib import chdir, redirect_stderr, redirect_stdout
from pathlib import Path
from subprocess import CompletedProcess
from unittest import mock

import pytest

from streamtwin.cli import main

SAME_CODE = {key: os.environ[key] for key in ("PYTHONPATH",) if key in os.environ}
"""Of this process's environment a command sees only where the code is."""


def process(home: Path, *arguments: str) -> CompletedProcess[str]:
    """`streamtwin *arguments` as a process in the folder *home*, which is its user's data folder."""
    return subprocess.run(
        [sys.executable, "-m", "streamtwin.cli", *arguments],
        capture_output=True,
        text=True,
        check=False,
        cwd=home,
        env={**SAME_CODE, "STREAMTWIN_HOME": str(home), "PATH": "/usr/bin:/bin", "COLUMNS": "100"},
    )


def within(home: Path, *arguments: str) -> CompletedProcess[str]:
    """What `process` gives, by the same `main` in this process; a bug of ours is raised."""
    out, errors = io.StringIO(), io.StringIO()
    around = {"STREAMTWIN_HOME": str(home), "COLUMNS": "100"}
    with (
        chdir(home),
        mock.patch.dict(os.environ, around),
        redirect_stdout(out),
        redirect_stderr(errors),
        pytest.raises(SystemExit) as ended,
    ):
        main(arguments)
    status = ended.value.code
    assert isinstance(status, int)
    return CompletedProcess([*arguments], status, out.getvalue(), errors.getvalue())
