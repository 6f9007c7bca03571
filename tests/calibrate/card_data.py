"""A card that is none: NVML's answers, events and clocks by hand."""
# ruff: noqa: N802 - the library's own names

from itertools import count
from types import SimpleNamespace

from streamtwin.calibrate.device_state import DeviceState

COOL = DeviceState(1980.0, 2619.0, 412.5, 51.0, ())
IDLE = DeviceState(345.0, 2619.0, 71.0, 33.0, ("gpu_idle",))
HOT = DeviceState(1410.0, 2619.0, 698.0, 87.0, ("sw_power_cap", "sw_thermal_slowdown"))


class NVMLError(Exception):
    """As the library's own."""


class FakeNvml:
    """The module `pynvml` for one card; `missing` names the calls that the card does not serve."""

    NVMLError = NVMLError
    NVML_CLOCK_SM, NVML_CLOCK_MEM, NVML_TEMPERATURE_GPU = 1, 2, 0

    def __init__(self, reasons=0, processes=(), busy=0, missing=(), broken=False):
        self.reasons, self.processes, self.busy = reasons, processes, busy
        self.missing, self.broken = missing, broken

    def nvmlInit(self):
        if self.broken:
            raise NVMLError("Driver Not Loaded")

    def nvmlDeviceGetHandleByUUID(self, uuid):
        if uuid != "GPU-1":
            raise NVMLError("Not Found")
        return uuid

    def nvmlDeviceGetClockInfo(self, handle, kind):
        return self._answer("nvmlDeviceGetClockInfo", handle, {1: 1980, 2: 2619}[kind])

    def nvmlDeviceGetPowerUsage(self, handle):
        return self._answer("nvmlDeviceGetPowerUsage", handle, 412500)

    def nvmlDeviceGetTemperature(self, handle, sensor):
        assert sensor == self.NVML_TEMPERATURE_GPU
        return self._answer("nvmlDeviceGetTemperature", handle, 51)

    def nvmlDeviceGetCurrentClocksThrottleReasons(self, handle):
        return self._answer("nvmlDeviceGetCurrentClocksThrottleReasons", handle, self.reasons)

    def nvmlDeviceGetComputeRunningProcesses(self, handle):
        found = [SimpleNamespace(pid=pid, usedGpuMemory=held) for pid, held in self.processes]
        return self._answer("nvmlDeviceGetComputeRunningProcesses", handle, found)

    def nvmlSystemGetProcessName(self, pid):
        return self._answer("nvmlSystemGetProcessName", "GPU-1", f"/bin/job-{pid}")

    def nvmlDeviceGetUtilizationRates(self, handle):
        rates = SimpleNamespace(gpu=self.busy)
        return self._answer("nvmlDeviceGetUtilizationRates", handle, rates)

    def nvmlSystemGetDriverVersion(self):
        return self._answer("nvmlSystemGetDriverVersion", "GPU-1", "580.65.06")

    def _answer(self, call, handle, value):
        assert handle == "GPU-1"
        if call in self.missing:
            raise NVMLError("Not Supported")
        return value


class Script:
    """A gauge that tells one state after another, over and over."""

    def __init__(self, *states, log=None):
        self.states, self.turn, self.log = states, count(), log if log is not None else []

    def read(self):
        self.log.append("gauge")
        return self.states[next(self.turn) % len(self.states)]


class Card:
    """A card's clock: every mark in its queue of work is one more second, whatever the host does."""

    def __init__(self, log):
        self.log, self.marks = log, count()

    def event(self):
        return CardEvent(self)


class CardEvent:
    def __init__(self, card):
        self.card, self.at_s = card, None

    def record(self):
        self.at_s = next(self.card.marks)
        self.card.log.append("mark")

    def synchronize(self):
        self.card.log.append("wait")

    def elapsed_time(self, end_event):
        return (end_event.at_s - self.at_s) * 1e3
