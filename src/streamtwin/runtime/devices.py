"""Which devices are there, and how much do they hold?"""

import os

from streamtwin.core.errors import UserError


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


def free_bytes(device: str, ranks: int) -> float:
    """Bytes that each of *ranks* ranks may use: an equal share of the host's, or its card's."""
    if device == "cpu":
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / ranks
    import torch  # noqa: PLC0415

    return float(min(torch.cuda.mem_get_info(rank)[0] for rank in range(ranks)))
