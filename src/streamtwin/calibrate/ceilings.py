"""Which device is this, and what does it do at most? Asked once before a calibration."""

import time

from streamtwin.calibrate.expected import Ceilings, card_ceilings, core_ceilings
from streamtwin.core import catalog

SIDE, TRIES = 256, 60
"""A product of square matrices that shows a core's rate to some 20 % in a few milliseconds."""


def read_ceilings(device_name: str | None) -> Ceilings:
    """Ceilings of the card that a driver calls *device_name*; None: of a core of this host.

    A card that the catalogue lacks counts as its slowest one, so that no budget is overrun.
    """
    if device_name is None:
        return core_ceilings(_product_flops_per_s(), f"float32 product of {SIDE}^2, here")
    slowest = min(map(catalog.gpu, catalog.names("gpus")), key=lambda card: card.flops_bf16)
    return card_ceilings(catalog.gpu_called(device_name) or slowest)


def card_name(device: str) -> str | None:
    """What the driver calls the card that *device* means; None for the CPU."""
    if device == "cpu":
        return None
    import torch  # noqa: PLC0415 - a CPU is named without it

    return str(torch.cuda.get_device_name(device))


def _product_flops_per_s() -> float:
    """FLOP/s of a product of matrices on one thread, as a rank has; the best of many short tries.

    A try is shorter than a scheduler's slice, so that a busy host shows its rate too.
    """
    import torch  # noqa: PLC0415

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    a = torch.ones(SIDE, SIDE)
    fastest_s = float("inf")
    for _ in range(TRIES):
        began_s = time.perf_counter()
        torch.mm(a, a)
        fastest_s = min(fastest_s, time.perf_counter() - began_s)
    torch.set_num_threads(threads)
    return 2.0 * SIDE**3 / fastest_s
