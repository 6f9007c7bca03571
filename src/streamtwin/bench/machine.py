"""On what is it measured, and how much arithmetic could that do at most?"""

from collections.abc import Callable
from dataclasses import dataclass, field

import torch

from streamtwin.calibrate.accelerator import card_facts
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
    return Machine(name, gpu, (*known, measured), {**card_facts(device), **attention})


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
