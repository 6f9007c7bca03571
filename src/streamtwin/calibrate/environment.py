"""On which machine and with which software were times taken, and may they be put together?"""

import hashlib
import json
import os
import platform
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from pydantic import TypeAdapter

MUST_AGREE = (
    "host",
    "device",
    "cpu_model",
    "cores",
    "kernel",
    "python",
    "torch",
    "numpy",
    "driver",
    "cuda",
    "cudnn",
    "flash_attn",
    "attention",
)
"""Fields that must be equal for times to stand in one profile."""


@dataclass(frozen=True, slots=True)
class Environment:
    """Machine and software; `memory_bytes` of the host, `date` the UTC instant in ISO 8601.

    `driver` to `attention` are those of a card, `none` on a CPU: versions of what its kernels come
    from, and the attention backends in the order in which they are tried. Cards of one name are
    alike, so no card's own number is among the fields.
    """

    host: str
    device: str
    cpu_model: str
    cores: int
    memory_bytes: int
    governor: str
    kernel: str
    python: str
    torch: str
    numpy: str
    date: str
    driver: str = "none"
    cuda: str = "none"
    cudnn: str = "none"
    flash_attn: str = "none"
    attention: str = "none"

    @property
    def key(self) -> str:
        """A short digest of the fields that must agree; every raw time carries it."""
        text = "/".join(str(getattr(self, name)) for name in MUST_AGREE)
        return hashlib.sha256(text.encode()).hexdigest()[:12]

    def as_dict(self) -> dict[str, str | int]:
        """All fields by name."""
        return asdict(self)

    def stated(self) -> str:
        """All fields as one line of JSON, as records keep them; `environment_of` reads it."""
        return json.dumps(self.as_dict())

    def differences(self, here: "Environment") -> list[str]:
        """Fields that must agree with those *here* and do not, each with both values."""
        return [
            f"{name} = {getattr(self, name)!r} (here {getattr(here, name)!r})"
            for name in MUST_AGREE
            if getattr(self, name) != getattr(here, name)
        ]


def environment_of(stated: str) -> Environment:
    """The environment that `Environment.stated` put into words.

    Raises:
        ValidationError: it is none, or of other fields.
    """
    return TypeAdapter(Environment).validate_json(stated)


def read_environment(device: str | None = None) -> Environment:
    """Describe this host; *device* names an accelerator, the CPU itself when it is None."""
    cpu = cpu_model()
    software = {} if device is None else _card_software()
    return Environment(
        host=platform.node(),
        device=device or cpu,
        cpu_model=cpu,
        cores=usable_cores(),
        memory_bytes=_memory_bytes(),
        governor=_first_line("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"),
        kernel=platform.release(),
        python=platform.python_version(),
        torch=version("torch"),
        numpy=version("numpy"),
        date=datetime.now(UTC).isoformat(timespec="seconds"),
        **software,
    )


def elsewhere(device: str, date: str) -> Environment:
    """The environment of figures that others published of *device*: most of it is unknown."""
    unknown = "unknown"
    return Environment(
        host=unknown,
        device=device,
        cpu_model=unknown,
        cores=0,
        memory_bytes=0,
        governor=unknown,
        kernel=unknown,
        python=unknown,
        torch=unknown,
        numpy=unknown,
        date=date,
    )


def _card_software() -> dict[str, str]:
    from streamtwin.calibrate.accelerator import card_software  # noqa: PLC0415 - loads torch

    return card_software()


def usable_cores() -> int:
    """Cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def cpu_model() -> str:
    """The processor's name as the operating system tells it."""
    for line in _lines("/proc/cpuinfo"):
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _memory_bytes() -> int:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (ValueError, OSError, AttributeError):
        return 0


def _first_line(path: str) -> str:
    return next(iter(_lines(path)), "unknown").strip()


def _lines(path: str) -> list[str]:
    try:
        return Path(path).read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        return []
