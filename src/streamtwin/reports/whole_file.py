"""How does a file get its content at once, so that nobody ever reads half of it?"""

import os
from collections.abc import Callable
from pathlib import Path


def write_text(path: Path, text: str) -> None:
    """Write *text* to *path*, which has the old content until it has all of the new."""
    replace_file(path, lambda draft: draft.write_text(text, encoding="utf-8"))


def replace_file(path: Path, write: Callable[[Path], object]) -> None:
    """Let *write* make a draft beside *path* and move it there once it is complete."""
    draft = path.with_name(f".{path.name}.part")
    try:
        write(draft)
        os.replace(draft, path)  # noqa: PTH105 - the atomic call, by its own name
    finally:
        draft.unlink(missing_ok=True)
