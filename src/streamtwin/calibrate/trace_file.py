"""Which events does a Chrome trace hold, and are they sound?

A trace of torch.profiler is JSON, plain or gzipped: `traceEvents` beside metadata. An event of
phase X lasted `dur` microseconds from `ts` on.
"""

import gzip
import json
import math
import zlib
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from streamtwin.calibrate.bounds import said
from streamtwin.core.errors import CalibrationError

US_S = 1e-6
"""Seconds of a microsecond, in which traces count."""

RANGES = "user_annotation"
LAUNCHES = ("cuda_runtime", "cuda_driver")
DEVICE_WORK = ("kernel", "gpu_memcpy", "gpu_memset")
DEVICE_RANGES = "gpu_user_annotation"
_TAKEN = (RANGES, DEVICE_RANGES, *LAUNCHES, *DEVICE_WORK)


@dataclass(frozen=True, slots=True)
class Event:
    """One event that lasted: its place in the file, and when it was, in microseconds.

    `lane` is the process and the thread that it ran on, or the device and the stream.
    """

    place: int
    category: str
    name: str
    lane: tuple[object, object]
    began_us: float
    lasted_us: float
    facts: dict[str, Any]

    @property
    def ended_us(self) -> float:
        """When it was over."""
        return self.began_us + self.lasted_us


@dataclass(frozen=True, slots=True)
class Trace:
    """The events that lasted, in order of time, and what else the file says."""

    path: Path
    content: bytes = field(repr=False)
    events: tuple[Event, ...]
    about: dict[str, Any]

    def of(self, *categories: str) -> list[Event]:
        """Events of these categories."""
        return [event for event in self.events if event.category in categories]

    def at(self, event: Event) -> str:
        """Words for where *event* stands."""
        return f"{self.path}, traceEvents[{event.place}] ({said(event.name)})"


def read_trace(path: Path) -> Trace:
    """Read the trace at *path* and check what is read of it.

    Raises:
        CalibrationError: it is no trace, is cut off, or an event is wrong; names file, event, key
            and value.
    """
    content = _bytes(path)
    try:
        data = json.loads(content)
    except UnicodeDecodeError as error:
        raise CalibrationError(f"{path}: not a trace: {error}") from error
    except json.JSONDecodeError as error:
        where = f"line {error.lineno}, column {error.colno}"
        cut = " (the file ends there: cut off?)" if error.pos >= len(content.rstrip()) - 1 else ""
        raise CalibrationError(f"{path}, {where}: not valid JSON: {error.msg}{cut}") from error
    except RecursionError:
        raise CalibrationError(f"{path}: not a trace: nested too deeply") from None
    except ValueError:
        raise CalibrationError(f"{path}: not a trace: a number has too many digits") from None
    about = data if isinstance(data, dict) else {}
    raw = data if isinstance(data, list) else about.get("traceEvents")
    if not isinstance(raw, list):
        raise CalibrationError(f"{path}: traceEvents is missing: not a Chrome trace")
    events = [_event(path, place, one) for place, one in enumerate(raw) if _is_taken(one)]
    events.sort(key=lambda event: event.began_us)
    rest = {key: value for key, value in about.items() if key != "traceEvents"}
    return Trace(path, content, tuple(events), rest)


def other_names(trace: Trace, known: str) -> Sequence[str]:
    """Names of ranges that do not begin as *known*, each once, in order of time."""
    names = (event.name for event in trace.of(RANGES))
    return list(dict.fromkeys(name for name in names if not name.startswith(known)))


def _bytes(path: Path) -> bytes:
    try:
        raw = path.read_bytes()
        return gzip.decompress(raw) if raw[:2] == b"\x1f\x8b" else raw
    except (OSError, EOFError, zlib.error) as error:
        raise CalibrationError(f"{path}: cannot be read: {error}") from error


def _is_taken(raw: object) -> bool:
    return isinstance(raw, dict) and raw.get("ph") == "X" and raw.get("cat") in _TAKEN


def _event(path: Path, place: int, raw: dict[str, Any]) -> Event:
    facts = raw.get("args")
    event = Event(
        place=place,
        category=str(raw["cat"]),
        name=str(raw.get("name", "")),
        lane=(raw.get("pid"), raw.get("tid")),
        began_us=_number(path, place, raw, "ts"),
        lasted_us=_number(path, place, raw, "dur"),
        facts=facts if isinstance(facts, dict) else {},
    )
    if event.lasted_us < 0:
        raise CalibrationError(
            f"{path}, traceEvents[{place}] ({said(event.name)}): dur = {event.lasted_us}: "
            "nothing lasts less than 0 microseconds"
        )
    if event.category in (*LAUNCHES, *DEVICE_WORK):
        _check_links(path, event)
    return event


def _check_links(path: Path, event: Event) -> None:
    """What ties the work of a device to its launch is a number or a word, not a structure."""
    for key in ("correlation", "device"):
        value = event.facts.get(key)
        if isinstance(value, dict | list):
            raise CalibrationError(
                f"{path}, traceEvents[{event.place}] ({said(event.name)}): args.{key} = "
                f"{said(value)}: not a number"
            )


def _number(path: Path, place: int, raw: dict[str, Any], key: str) -> float:
    value = raw.get(key)
    if isinstance(value, int | float) and not isinstance(value, bool):
        with suppress(OverflowError):  # an integer may be larger than every float
            if math.isfinite(value):
                return float(value)
    raise CalibrationError(
        f"{path}, traceEvents[{place}] ({said(raw.get('name'))}): {key} = {said(value)}: "
        "not a finite number of microseconds"
    )
