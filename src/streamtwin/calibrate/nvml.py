"""What does NVIDIA's management library tell of a card, and who else uses it?

The library is asked through `pynvml` (nvidia-ml-py); every function takes it as an argument, so
that its answers can be given by hand. A value that a card does not tell is None; a library that
is not there is a reason in words, never a failure.
"""

from collections.abc import Callable, Container
from dataclasses import dataclass
from typing import Any

from streamtwin.calibrate.device_state import DeviceState, reasons_of

BUSY_PERCENT = 5
"""Share of the last moments, before anything was started, from which on a card counts as used."""


class NoNvmlError(Exception):
    """NVML cannot be asked; says why."""


@dataclass(frozen=True, slots=True)
class Neighbour:
    """Another process that computes on the card; `memory_bytes` is None where it is not told."""

    pid: int
    name: str
    memory_bytes: int | None

    def __str__(self) -> str:
        held = "" if self.memory_bytes is None else f", {self.memory_bytes / 2**20:.0f} MiB"
        return f"{self.name} (pid {self.pid}{held})"


class NvmlCard:
    """One card, through an initialised *library*; a `Gauge`."""

    def __init__(self, library: Any, handle: Any) -> None:  # noqa: ANN401 - a module of C calls
        self.library, self.handle = library, handle

    def read(self) -> DeviceState:
        """See `Gauge`."""
        nvml, card, told = self.library, self.handle, self._told
        power_mw = told(lambda: nvml.nvmlDeviceGetPowerUsage(card))
        # the name of drivers and packages of all ages; later ones say "event" for "throttle"
        bits = told(lambda: nvml.nvmlDeviceGetCurrentClocksThrottleReasons(card))
        return DeviceState(
            told(lambda: nvml.nvmlDeviceGetClockInfo(card, nvml.NVML_CLOCK_SM)),
            told(lambda: nvml.nvmlDeviceGetClockInfo(card, nvml.NVML_CLOCK_MEM)),
            None if power_mw is None else power_mw / 1000,
            told(lambda: nvml.nvmlDeviceGetTemperature(card, nvml.NVML_TEMPERATURE_GPU)),
            None if bits is None else reasons_of(int(bits)),
        )

    def driver(self) -> str:
        """Version of the driver."""
        return str(self._told(self.library.nvmlSystemGetDriverVersion) or "unknown")

    def neighbours(self, own: Container[int]) -> list[Neighbour]:
        """Processes that compute on the card and are not among the *own* ones."""
        nvml = self.library
        found = self._told(lambda: nvml.nvmlDeviceGetComputeRunningProcesses(self.handle)) or []
        return [
            Neighbour(one.pid, self._name(one.pid), one.usedGpuMemory)
            for one in found
            if one.pid not in own
        ]

    def busy_percent(self) -> int | None:
        """Share of the last moments during which the card computed."""
        used = self._told(lambda: self.library.nvmlDeviceGetUtilizationRates(self.handle))
        return None if used is None else int(used.gpu)

    def _name(self, pid: int) -> str:
        name = self._told(lambda: self.library.nvmlSystemGetProcessName(pid))
        return str(name or "a process")  # one of another container has no name here

    def _told(self, ask: Callable[[], Any]) -> Any:  # noqa: ANN401 - what the library says
        try:
            return ask()
        except self.library.NVMLError:
            return None


def open_card(uuid: str, library: Any = None) -> NvmlCard:  # noqa: ANN401 - see NvmlCard
    """The card of that *uuid* (`GPU-...`), through *library* or else the one installed here.

    Raises:
        NoNvmlError: there is no library, no driver, or no such card.
    """
    nvml = _installed() if library is None else library
    try:
        nvml.nvmlInit()
        return NvmlCard(nvml, nvml.nvmlDeviceGetHandleByUUID(uuid))
    except nvml.NVMLError as error:
        raise NoNvmlError(f"NVML: {error}") from error


def _installed() -> Any:  # noqa: ANN401 - a module of C calls
    try:
        import pynvml  # noqa: PLC0415 - a host without a card may lack it
    except ImportError as error:
        raise NoNvmlError(f"nvidia-ml-py is not installed: {error}") from error
    return pynvml


def busy_remarks(card: NvmlCard, own: Container[int]) -> list[str]:
    """Who uses the card beside the *own* processes, in words; nothing where nobody does."""
    others, percent = card.neighbours(own), card.busy_percent() or 0
    if others:
        names = "; ".join(map(str, others))
        return [f"another process uses the card, so its times are not the card's own: {names}"]
    if percent >= BUSY_PERCENT:
        return [f"the card is {percent} % busy before anything was started: its times suffer"]
    return []
