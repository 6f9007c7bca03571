"""What does a trace say of the machine, its software, and the rank that wrote it?

All of it is optional; what is there is of the kind that writers of traces give it, or refused.
"""

from dataclasses import fields
from datetime import UTC, datetime
from typing import Any

from pydantic import TypeAdapter, ValidationError

from streamtwin.calibrate.bounds import RANK, RANKS, Bounds, said, whole_of
from streamtwin.calibrate.environment import Environment
from streamtwin.calibrate.gathered import UNKNOWN, date_of, environment_from
from streamtwin.calibrate.meta import explain
from streamtwin.calibrate.trace_file import US_S, Trace
from streamtwin.core.errors import CalibrationError

ENVIRONMENT = "streamtwin.environment"
"""Key of a trace's metadata under which the whole environment may stand, field by field."""

_LIBRARIES = {"torch": ("torch_version", "pytorch_version"), "python": ("python_version",)}
"""Fields of the environment, and keys under which other writers of traces state them."""

_GROUP, _CARDS, _BASE = "distributedInfo", "deviceProperties", "baseTimeNanoseconds"


def seat_of(trace: Trace) -> tuple[int, int]:
    """How many ranks there were, and the number of the one that wrote *trace*.

    Raises:
        CalibrationError: they are not whole numbers, or none that ranks have.
    """
    group = trace.about.get(_GROUP, {})
    if not isinstance(group, dict):
        raise _wrong(trace, _GROUP, group, "not a mapping of keys")

    def number(key: str, default: int, bounds: Bounds) -> int:
        value = group.get(key, default)
        try:
            return whole_of(value, bounds)
        except ValueError as error:
            raise _wrong(trace, f"{_GROUP}.{key}", value, str(error)) from None

    return number("world_size", 1, RANKS), number("rank", 0, RANK)


def environment_of(trace: Trace, device: object | None) -> Environment:
    """What the trace says of the machine and its software; the rest is called unknown.

    Raises:
        CalibrationError: it states an environment of ours, cards or a date that are wrong.
    """
    about = trace.about
    stated = about.get(ENVIRONMENT)
    if stated is not None:
        try:
            return TypeAdapter(Environment).validate_python(stated)
        except ValidationError as error:
            raise CalibrationError(f"{trace.path}: {ENVIRONMENT}: {explain(error)}") from error
    known: dict[str, Any] = {"host": str(about.get("host_name", UNKNOWN)), "date": _date(trace)}
    for name, keys in _LIBRARIES.items():
        given = [str(about[key]) for key in keys if key in about]
        known |= {name: given[0]} if given else {}
    cards = _cards(trace)
    known["device"] = _card(cards.get(device, UNKNOWN), about) if device is not None else "CPU"
    known |= _versions(about)
    return environment_from(known)


def _cards(trace: Trace) -> dict[object, str]:
    """The names of the host's cards, by number."""
    found: dict[object, str] = {}
    given = trace.about.get(_CARDS, [])
    if not isinstance(given, list):
        raise _wrong(trace, _CARDS, given, "not a list of cards")
    for place, card in enumerate(given):
        number, name = (card.get("id"), card.get("name")) if isinstance(card, dict) else (None,) * 2
        if not isinstance(number, int) or not isinstance(name, str):
            complaint = "a card has an id, a whole number, and a name"
            raise _wrong(trace, f"{_CARDS}[{place}]", card, complaint)
        found[number] = name
    return found


def _card(name: str, about: dict[str, Any]) -> str:
    """The card's name; its CUDA versions too where the environment has no field for them."""
    own = {field.name for field in fields(Environment)}
    cuda = about.get("cuda_runtime_version")
    beside = f", CUDA {cuda}" if cuda and "cuda" not in own else ""
    return f"{name}{beside}"


def _versions(about: dict[str, Any]) -> dict[str, str]:
    """CUDA's and the driver's version, where the environment has fields for them."""
    own = {field.name for field in fields(Environment)}
    keys = {"cuda": "cuda_runtime_version", "driver": "cuda_driver_version"}
    return {name: str(about[key]) for name, key in keys.items() if name in own and key in about}


def _date(trace: Trace) -> str:
    """When the first event was, where the trace says from when it counts; else the file's date."""
    if _BASE not in trace.about or not trace.events:
        return date_of(trace.path)
    base_ns = trace.about[_BASE]
    try:
        if not isinstance(base_ns, int) or isinstance(base_ns, bool):
            raise TypeError
        began_s = base_ns * 1e-9 + trace.events[0].began_us * US_S
        return datetime.fromtimestamp(began_s, UTC).isoformat(timespec="seconds")
    except (TypeError, ValueError, OverflowError, OSError):
        complaint = "not a time: give whole nanoseconds since 1970"
        raise _wrong(trace, _BASE, base_ns, complaint) from None


def _wrong(trace: Trace, key: str, value: object, complaint: str) -> CalibrationError:
    return CalibrationError(f"{trace.path}: {key} = {said(value)}: {complaint}")
