"""In which state was the card while a time was taken, and may the time be trusted?"""

from dataclasses import dataclass
from typing import Protocol

REASONS: dict[int, str] = {
    0x001: "gpu_idle",
    0x002: "applications_clocks_setting",
    0x004: "sw_power_cap",
    0x008: "hw_slowdown",
    0x010: "sync_boost",
    0x020: "sw_thermal_slowdown",
    0x040: "hw_thermal_slowdown",
    0x080: "hw_power_brake_slowdown",
    0x100: "display_clock_setting",
    0x200: "board_limit",
    0x400: "reliability",
}
"""Why clocks are not at their highest, by bit (NVML API reference, nvmlClocksEventReasons)."""

OTHER = "other"
"""A bit that has no name here."""

SLOWING = frozenset(
    {
        "sw_power_cap",
        "hw_slowdown",
        "sw_thermal_slowdown",
        "hw_thermal_slowdown",
        "hw_power_brake_slowdown",
    }
)
"""Reasons that come and go with heat and power, and make the same work slower than a moment ago.
Idling ends when work comes; a clock that somebody has set stays as it is."""


@dataclass(frozen=True, slots=True)
class DeviceState:
    """One reading of a card; None where the card does not tell.

    Clocks are MHz, the power is W (averaged by the card over up to a second), the temperature
    degrees Celsius, `reasons` names why clocks are held down.
    """

    sm_clock_mhz: float | None
    memory_clock_mhz: float | None
    power_w: float | None
    temperature_c: float | None
    reasons: tuple[str, ...] | None

    @property
    def throttled(self) -> bool:
        """Whether heat or power slowed the card down."""
        return not SLOWING.isdisjoint(self.reasons or ())


class Gauge(Protocol):
    """Tells the state of a card, in well under a millisecond."""

    def read(self) -> DeviceState:
        """The state at this moment."""
        ...


def reasons_of(bits: int) -> tuple[str, ...]:
    """Names of the reasons that are set in *bits*, in the order of the bits."""
    named = tuple(name for bit, name in REASONS.items() if bits & bit)
    return (*named, OTHER) if bits & ~sum(REASONS) else named
