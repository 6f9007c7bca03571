"""Which devices are there, and how much do they hold?"""

import os
from pathlib import Path

from streamtwin.core.deployment import Deployment
from streamtwin.core.errors import UserError

MEMINFO, CGROUP = Path("/proc/meminfo"), Path("/sys/fs/cgroup")
"""Where Linux tells of the host's memory, and of the limit of the container we may be in."""


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


def host_free_bytes(meminfo: Path = MEMINFO, group: Path = CGROUP) -> float:
    """Bytes that processes may still take here: what the kernel can free, within a container's limit.

    Memory that only caches files counts as free, which the number of free pages does not.
    """
    free = float(os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    if meminfo.exists():
        found = dict(line.split(":", 1) for line in meminfo.read_text("ascii").splitlines())
        free = float(found["MemAvailable"].split()[0]) * 1024 if "MemAvailable" in found else free
    limit, used = group / "memory.max", group / "memory.current"
    if limit.exists() and used.exists() and (text := limit.read_text("ascii").strip()) != "max":
        free = min(free, max(0.0, float(text) - float(used.read_text("ascii"))))
    return free


def check_speed(deployment: Deployment, device: str) -> None:
    """Refuse ways of running faster that *device*, or the deployment's ranks, do not have.

    Raises:
        UserError: names the key and what it needs.
    """
    if deployment.cuda_graph and device == "cpu":
        raise UserError("deployment.cuda_graph = true needs --device cuda; on cpu set it to false")
    if deployment.cuda_graph and deployment.members > 1:
        raise UserError(
            f"deployment.cuda_graph = true with {deployment.members} ranks a stage "
            f"(deployment.parallelism = {deployment.parallelism}): passes that ranks share are not "
            "recorded; set it to false, or choose parallelism = pipeline"
        )
    try:
        check_attention(deployment.attention, device)
    except UserError as error:
        raise UserError(f"deployment.attention: {error}") from error


def check_attention(choice: str, device: str) -> None:
    """Refuse what cannot compute attention on *device* in the type that stages use there.

    Raises:
        UserError: names what can.
    """
    if choice == "auto":
        return
    import torch  # noqa: PLC0415

    from streamtwin.kernels.attention import chosen_backends  # noqa: PLC0415 - loads torch

    dtype = torch.float32 if device == "cpu" else torch.bfloat16
    chosen_backends(choice, torch.device(device), dtype)


def tune(device: str) -> None:
    """Set what a process should set once for the card it computes on.

    Shapes are fixed, so cuDNN may try its convolution algorithms out when it first meets one.
    """
    if device != "cpu":
        import torch  # noqa: PLC0415

        torch.backends.cudnn.benchmark = True


def free_bytes(device: str, ranks: int) -> float:
    """Bytes that each of *ranks* ranks may use: an equal share of the host's, or its card's."""
    if device == "cpu":
        return host_free_bytes() / ranks
    import torch  # noqa: PLC0415

    return float(min(torch.cuda.mem_get_info(rank)[0] for rank in range(ranks)))
