"""Which devices are there, and how much do they hold?"""

import os

from streamtwin.core.errors import UserError
from streamtwin.core.scenario import Deployment


def check_device(device: str, ranks: int) -> None:
    """Refuse a device that is not there.

    Raises:
        UserError: says what there is.
    """
    if device == "cpu":
        return
    if device != "cuda":
        raise UserError(f"device {device!r}: choose cpu or cuda")
    import torch  # noqa: PLC0415 - a CPU run is checked without it

    found = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if found < ranks:
        raise UserError(f"device cuda: {ranks} ranks need {ranks} cards, this host has {found}")


def check_speed(deployment: Deployment, device: str) -> None:
    """Refuse ways of running faster that *device* does not have.

    Raises:
        UserError: names the key and what it needs.
    """
    if deployment.cuda_graph and device == "cpu":
        raise UserError("deployment.cuda_graph = true needs --device cuda; on cpu set it to false")


def tune(device: str) -> None:
    """Set what a process should set once for the card it computes on.

    Shapes are fixed, so cuDNN may try its convolution algorithms out when it first meets one.
    """
    if device != "cpu":
        import torch  # noqa: PLC0415

        torch.backends.cudnn.benchmark = True


def rehearses(deployment: Deployment, device: str) -> bool:
    """Whether first passes of a shape cost more than later ones: compiled, recorded or tried out."""
    return deployment.compile or device != "cpu"


def free_bytes(device: str, ranks: int) -> float:
    """Bytes that each of *ranks* ranks may use: an equal share of the host's, or its card's."""
    if device == "cpu":
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / ranks
    import torch  # noqa: PLC0415

    return float(min(torch.cuda.mem_get_info(rank)[0] for rank in range(ranks)))
