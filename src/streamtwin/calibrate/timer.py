"""How long did the device take? By the host's clock, or by events on the device itself."""

from collections.abc import Callable
from typing import Protocol

from streamtwin.calibrate.harness import Clock


class Timer(Protocol):
    """Times one stretch of work after another."""

    def start(self) -> None:
        """The work begins now; whatever came before is done."""
        ...

    def stop(self) -> float:
        """Seconds until all work since `start` was done."""
        ...


class HostTimer:
    """Reads a *clock* of the host, after the device has done what was asked of it."""

    def __init__(self, clock: Clock, synchronize: Callable[[], None]) -> None:
        self.clock, self.synchronize = clock, synchronize
        self._began_s = 0.0

    def start(self) -> None:
        """See `Timer`."""
        self._began_s = self.clock()

    def stop(self) -> float:
        """See `Timer`."""
        self.synchronize()
        return self.clock() - self._began_s


class Event(Protocol):
    """A mark in the device's queue of work, as CUDA has them."""

    def record(self) -> None:
        """Put the mark behind the work asked for so far."""
        ...

    def synchronize(self) -> None:
        """Wait until the device has come to the mark."""
        ...

    def elapsed_time(self, end_event: "Event") -> float:
        """Milliseconds from this mark to that one."""
        ...


class EventTimer:
    """Reads the device's own clock, so that waking the host is no part of a time.

    What the host needs to launch the work still is, where the device waits for it.
    """

    def __init__(self, new_event: Callable[[], Event]) -> None:
        self._began, self._ended = new_event(), new_event()

    def start(self) -> None:
        """See `Timer`."""
        self._began.record()

    def stop(self) -> float:
        """See `Timer`."""
        self._ended.record()
        self._ended.synchronize()
        return self._began.elapsed_time(self._ended) * 1e-3
