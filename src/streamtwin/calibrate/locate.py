"""Which profiles are there, and where is the one of a given name?

Searched in this order: a folder that exists, the user's own profiles, those that are shipped.
"""

import hashlib
import os
import platform
import re
from collections.abc import Iterator
from pathlib import Path

from platformdirs import user_data_path

from streamtwin.calibrate.environment import cpu_model
from streamtwin.calibrate.meta import META
from streamtwin.core.errors import UserError, unknown_name

HOME = "STREAMTWIN_HOME"
"""Environment variable that replaces the folder of the user's data."""

GRID_NAME = re.compile(r"-and-\d+-more$")
"""How the name of a host's profile of several requests ends."""


def user_profiles() -> Path:
    """Folder of the profiles that were measured by this user."""
    home = os.environ.get(HOME)
    return (Path(home) if home else user_data_path("streamtwin")) / "profiles"


def shipped_profiles() -> Path:
    """Folder of the profiles that come with the package."""
    return Path(__file__).parent / "profiles"


def profile_path(name: str) -> Path:
    """Folder where the user's profile *name* is written."""
    return user_profiles() / name


def find_profile(name: str) -> Path:
    """Folder of the profile *name*, which may itself be a folder.

    Raises:
        UserError: there is none; lists the known ones.
    """
    if _is_profile(Path(name)):
        return Path(name)
    for folder, known in _profiles():
        if known == name:
            return folder
    raise UserError(unknown_name("profile", name, list_profiles()))


def list_profiles() -> list[str]:
    """Names of all profiles, sorted."""
    return sorted({name for _, name in _profiles()})


def _profiles() -> Iterator[tuple[Path, str]]:
    for base in (user_profiles(), shipped_profiles()):
        for folder in _entries(base):
            if _is_profile(folder) and not folder.name.startswith("."):
                yield folder, folder.name


def _entries(base: Path) -> list[Path]:
    """What lies in *base*, sorted; nothing where it cannot be read."""
    try:
        return sorted(base.iterdir())
    except OSError:
        return []


def _is_profile(folder: Path) -> bool:
    """Whether *folder* has the head of a profile, whole or not: reading it tells.

    A name that no file can have, or a folder that may not be entered, is no profile.
    """
    try:
        return (folder / META).is_file()
    except OSError:
        return False


def host_profile_name(
    model: str, vae: str, resolution: tuple[int, int], device: str = "cpu"
) -> str:
    """Name of this host's own profile of *model* and *vae* at *resolution* on *device*.

    *resolution* is (height, width); the CPU goes without saying.
    """
    processor = hashlib.sha256(cpu_model().encode()).hexdigest()[:8]
    height, width = resolution
    parts = dict.fromkeys((model, vae))  # a VAE of the model's name goes without saying
    where = [] if device == "cpu" else [re.sub(r"[^A-Za-z0-9]+", "-", device).strip("-")]
    return "-".join(["host", platform.node(), processor, *where, *parts, f"{height}x{width}"])
