"""Which card is it, which software drives it, and with what are times on it taken?"""

import os
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from typing import cast

import torch

from streamtwin.calibrate.nvml import NoNvmlError, NvmlCard, busy_remarks, open_card
from streamtwin.calibrate.timer import Event, EventTimer, Timer
from streamtwin.kernels.attention import FA3, chosen_backends

FA3_PACKAGES = ("flash-attn-3", "flashattn-hopper")
"""Names under which FlashAttention 3 has been packaged."""


def card_software(device: str = "cuda") -> dict[str, str]:
    """Versions of what decides how fast the card's kernels are, and who computes attention.

    `attention` lists the backends in the order in which they are tried; see `kernels.attention`.
    """
    return {
        "driver": _driver(device),
        "cuda": str(torch.version.cuda),
        "cudnn": str(torch.backends.cudnn.version()),  # type: ignore[no-untyped-call]
        "flash_attn": flash_attn_version(),
        "attention": "+".join(chosen_backends("auto", torch.device(device), torch.bfloat16)),
    }


def card_facts(device: str) -> dict[str, str]:
    """Versions and properties of a card and its libraries, as far as they can be read."""
    properties = torch.cuda.get_device_properties(device)
    return {
        **card_software(device),
        "capability": f"{properties.major}.{properties.minor}",
        "memory_bytes": str(properties.total_memory),
        "multiprocessors": str(properties.multi_processor_count),
    }


def flash_attn_version() -> str:
    """Version of FlashAttention 3, `none` where it is not installed."""
    if find_spec(FA3) is None:
        return "none"
    for name in FA3_PACKAGES:
        try:
            return version(name)
        except PackageNotFoundError:
            continue
    return "unknown"


def card_of(device: str) -> NvmlCard:
    """The card as NVML knows it, found by its UUID: NVML numbers cards otherwise than CUDA.

    Raises:
        NoNvmlError: NVML cannot be asked.
    """
    uuid = torch.cuda.get_device_properties(device).uuid
    return open_card(f"GPU-{str(uuid).removeprefix('GPU-')}")


def gauge_of(device: str) -> NvmlCard | None:
    """What tells the state of *device* beside its times; None on a CPU, or without NVML."""
    if device == "cpu":
        return None
    try:
        return card_of(device)
    except NoNvmlError:
        return None  # `card_remarks` has said so


def card_remarks(device: str) -> list[str]:
    """What the user should know before times are taken on *device*, in words."""
    if device == "cpu":
        return []
    try:
        return busy_remarks(card_of(device), {os.getpid()})
    except NoNvmlError as error:
        return [f"clocks, power and throttling of the card are not recorded: {error}"]


def timer_of(device: str) -> Timer | None:
    """Events on a card; None on a CPU, where the harness's own clock will do."""
    return None if device == "cpu" else EventTimer(_event)


def l2_bytes(device: str) -> int:
    """Size of a card's last cache; 0 on a CPU, whose caches are not asked."""
    if device == "cpu":
        return 0
    return int(torch.cuda.get_device_properties(device).L2_cache_size)


def card_count(device: str) -> int:
    """Cards of this host; none where *device* is its CPU."""
    return 0 if device == "cpu" else torch.cuda.device_count()


def _event() -> Event:
    return cast(Event, torch.cuda.Event(enable_timing=True))  # type: ignore[no-untyped-call]


def _driver(device: str) -> str:
    try:
        return card_of(device).driver()
    except NoNvmlError:
        return "unknown"
