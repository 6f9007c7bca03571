"""Which profiles are there, and where is the one of a given name?

Searched in this order: a folder that exists, the user's own profiles, those that are shipped.
"""

import hashlib
import os
import platform
from collections.abc import Iterator
from pathlib import Path

from platformdirs import user_data_path

from streamtwin.calibrate.environment import cpu_model
from streamtwin.calibrate.meta import META
from streamtwin.core.errors import UserError, unknown_name

HOME = "STREAMTWIN_HOME"
"""Environment variable that replaces the folder of the user's data."""


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
    if (Path(name) / META).is_file():
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
        if base.is_dir():
            for folder in sorted(base.iterdir()):
                if (folder / META).is_file() and not folder.name.startswith("."):
                    yield folder, folder.name


def host_profile_name(model: str, vae: str, resolution: tuple[int, int]) -> str:
    """Name of this host's own profile of *model* and *vae* at *resolution* (height, width)."""
    processor = hashlib.sha256(cpu_model().encode()).hexdigest()[:8]
    height, width = resolution
    parts = dict.fromkeys((model, vae))  # a VAE of the model's name goes without saying
    return "-".join(["host", platform.node(), processor, *parts, f"{height}x{width}"])
