"""How does the state of a card stand in a row of raw times?

One column a value, empty where the card did not tell it, all empty where nothing was read. Reasons
are joined by +; `none` and `unknown` say that there was none, and that the card did not tell.
"""

from collections.abc import Callable

from streamtwin.calibrate.device_state import OTHER, REASONS, DeviceState
from streamtwin.core.errors import CalibrationError

NUMBERS = ("sm_clock_mhz", "memory_clock_mhz", "power_w", "temperature_c")
REASON_COLUMN = "throttle_reasons"
STATE_COLUMNS = (*NUMBERS, REASON_COLUMN)

NONE, UNKNOWN = "none", "unknown"


def state_cells(state: DeviceState | None) -> dict[str, str]:
    """The cells of *state*."""
    if state is None:
        return dict.fromkeys(STATE_COLUMNS, "")
    numbers = {name: getattr(state, name) for name in NUMBERS}
    cells = {name: "" if value is None else repr(value) for name, value in numbers.items()}
    reasons = UNKNOWN if state.reasons is None else "+".join(state.reasons) or NONE
    return {**cells, REASON_COLUMN: reasons}


def read_state(
    row: dict[str, str],
    number: Callable[[str], float],
    wrong: Callable[[str, str], CalibrationError],
) -> DeviceState | None:
    """The state in *row*. *number* reads and checks a column, *wrong* makes the error about one.

    Raises:
        CalibrationError: a value is no number of at least 0, or a reason is unknown.
    """
    if not row[REASON_COLUMN]:
        for name in NUMBERS:
            if row[name]:
                raise wrong(REASON_COLUMN, f"is missing beside {name} = {row[name]!r}")
        return None
    numbers = {name: number(name) if row[name] else None for name in NUMBERS}
    return DeviceState(**numbers, reasons=_reasons(row[REASON_COLUMN], wrong))


def _reasons(text: str, wrong: Callable[[str, str], CalibrationError]) -> tuple[str, ...] | None:
    if text in (NONE, UNKNOWN):
        return () if text == NONE else None
    names, known = tuple(text.split("+")), (*REASONS.values(), OTHER)
    if not set(names) <= set(known):
        raise wrong(REASON_COLUMN, f"join some of {', '.join(known)}, or say {NONE} or {UNKNOWN}")
    return names
