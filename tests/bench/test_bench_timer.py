"""Timers read the right clock: the host's after a wait, or the device's own."""

import pytest

from streamtwin.calibrate.timer import EventTimer, HostTimer


class Device:
    """A device that does what was asked of it in its own time."""

    def __init__(self):
        self.now_s, self.done_s = 0.0, 0.0

    def ask(self, seconds):
        """Queue work of so many seconds behind what was asked before."""
        self.done_s = max(self.done_s, self.now_s) + seconds

    def synchronize(self):
        self.now_s = max(self.now_s, self.done_s) + 0.5  # the host wakes up late


class FakeEvent:
    def __init__(self, device):
        self.device, self.at_s = device, None

    def record(self):
        self.at_s = max(self.device.done_s, self.device.now_s)

    def synchronize(self):
        self.device.now_s = max(self.device.now_s, self.at_s) + 0.5

    def elapsed_time(self, end_event):
        return (end_event.at_s - self.at_s) * 1e3


def test_the_host_s_clock_includes_waking_up():
    device = Device()
    timer = HostTimer(lambda: device.now_s, device.synchronize)
    timer.start()
    device.ask(2.0)
    assert timer.stop() == pytest.approx(2.5)


def test_events_do_not():
    device = Device()
    timer = EventTimer(lambda: FakeEvent(device))
    for seconds in (2.0, 3.0):
        timer.start()
        device.ask(seconds)
        assert timer.stop() == pytest.approx(seconds)


def test_events_include_what_the_device_waits_for_the_host():
    device = Device()
    timer = EventTimer(lambda: FakeEvent(device))
    timer.start()
    device.now_s += 1.0
    device.ask(2.0)
    assert timer.stop() == pytest.approx(3.0)
