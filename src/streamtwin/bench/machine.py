"""On what is it measured, and how much arithmetic could that do at most?"""

import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass, field

import torch

from streamtwin.calibrate.harness import Clock
from streamtwin.core import catalog

CPU_SIDE, CARD_SIDE = 1024, 8192
"""Sides of the square matrices whose product is the ceiling measured here."""

TRIES = 10
"""Products timed; the fastest one is the ceiling."""


@dataclass(frozen=True, slots=True)
class Ceiling:
    """FLOP/s that the device reaches at most, and who says so."""

    flops_per_s: float
    source: str


@dataclass(frozen=True, slots=True)
class Machine:
    """The device, what is worth knowing of it, and its ceilings, the one to judge by first."""

    device: str
    gpu: str | None
    """Its name in the catalogue, if it is there."""
    ceilings: tuple[Ceiling, ...]
    facts: dict[str, str] = field(default_factory=dict)


def read_machine(
    device: str, backends: tuple[str, ...], clock: Clock, synchronize: Callable[[], None]
) -> Machine:
    """Describe *device*, whose attention *backends* serve, and measure its matrix product."""
    attention = {"attention": ", ".join(backends)}
    measured = matmul_ceiling(device, clock, synchronize)
    if device == "cpu":
        return Machine("cpu", None, (measured,), attention)
    name = torch.cuda.get_device_name(device)
    card = catalog.gpu_called(name)
    known = () if card is None else (Ceiling(card.flops_bf16, f"{card.name}, {card.source}"),)
    gpu = None if card is None else card.name
    return Machine(name, gpu, (*known, measured), {**attention, **card_facts(device)})


def matmul_ceiling(device: str, clock: Clock, synchronize: Callable[[], None]) -> Ceiling:
    """FLOP/s of a product of square matrices in the type that stages use there."""
    cpu = device == "cpu"
    side, dtype = (CPU_SIDE, torch.float32) if cpu else (CARD_SIDE, torch.bfloat16)
    a, b = (torch.randn(side, side, device=device).to(dtype) for _ in range(2))
    times = []
    for _ in range(1 + TRIES):
        synchronize()
        began_s = clock()
        torch.mm(a, b)
        synchronize()
        times.append(clock() - began_s)
    kind = str(dtype).removeprefix("torch.")
    threads = f" on {torch.get_num_threads()} threads" if cpu else ""
    return Ceiling(2.0 * side**3 / min(times[1:]), f"{kind} product of {side}^2{threads}, here")


def card_facts(device: str) -> dict[str, str]:
    """Versions and properties of a card and its libraries, as far as they can be read."""
    properties = torch.cuda.get_device_properties(device)
    return {
        "driver": _driver(),
        "cuda": str(torch.version.cuda),
        "cudnn": str(torch.backends.cudnn.version()),  # type: ignore[no-untyped-call]
        "capability": f"{properties.major}.{properties.minor}",
        "memory_bytes": str(properties.total_memory),
        "multiprocessors": str(properties.multi_processor_count),
    }


def _driver() -> str:
    """The driver's version as its own tool tells it."""
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return "unknown"
    query = [tool, "--query-gpu=driver_version", "--format=csv,noheader", "--id=0"]
    done = subprocess.run(query, capture_output=True, text=True, check=False, timeout=30)  # noqa: S603
    return done.stdout.strip() or "unknown"
