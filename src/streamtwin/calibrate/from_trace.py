"""Which profile follows from a trace of torch.profiler whose ranges carry our names?

A range lasted as long as its device worked, from the start of the first kernel launched in it to
the end of the last, gaps between launches included; where the trace has no work of a device, as
long as the host was in it.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from streamtwin.calibrate.environment import Environment
from streamtwin.calibrate.forms import family_of
from streamtwin.calibrate.gathered import (
    UNKNOWN,
    Origin,
    Timed,
    check_enough,
    collected,
    date_of,
    environment_from,
    profile_of,
    source_of,
)
from streamtwin.calibrate.meta import explain
from streamtwin.calibrate.profile import Profile
from streamtwin.calibrate.ranges import PREFIX, convention, op_of
from streamtwin.calibrate.trace_file import (
    DEVICE_RANGES,
    DEVICE_WORK,
    LAUNCHES,
    RANGES,
    US_S,
    Event,
    Trace,
    other_names,
    read_trace,
)
from streamtwin.core.errors import CalibrationError

ENVIRONMENT = "streamtwin.environment"
"""Key of a trace's metadata under which the whole environment may stand, field by field."""

IN_A_TRACE = "in a trace"
"""Tag of a hop: a trace does not say who waited."""

_LIBRARIES = {"torch": ("torch_version", "pytorch_version"), "python": ("python_version",)}
"""Fields of the environment, and keys under which other writers of traces state them."""


@dataclass(frozen=True, slots=True)
class Lasted:
    """One range of ours, and how long it took on which device; None: on the host."""

    event: Event
    seconds: float
    device: object | None


def profile_from_trace(path: Path, name: str, ranks: int | None = None) -> Profile:
    """The profile *name* of the trace at *path*, taken while *ranks* ranks computed at once.

    *ranks* is taken from the trace where it is None and the host's cores were shared, else 1.

    Raises:
        CalibrationError: names file, event, key and value.
    """
    trace = read_trace(path)
    lasted = list(ranges_of(trace))
    device = next((one.device for one in lasted if one.device is not None), None)
    about = trace.about.get("distributedInfo") or {}
    world = int(about.get("world_size", 1)) if device is None else 1
    where = ranks or world, int(about.get("rank", 0))
    try:
        measurements = collected(_timed(trace, one, *where) for one in lasted)
        check_enough(measurements)
    except CalibrationError as error:
        raise error if str(path) in str(error) else CalibrationError(f"{path}: {error}") from error
    kind = "cpu" if device is None else "cuda"
    origin = Origin(source_of(path, trace.content), environment_of(trace, device), kind)
    return profile_of(name, origin, measurements)


def ranges_of(trace: Trace) -> Iterator[Lasted]:
    """Our ranges with their times, in order of time.

    Raises:
        CalibrationError: there are none, two of them overlap, or they are of two devices.
    """
    ours = [event for event in trace.of(RANGES) if event.name.startswith(PREFIX)]
    if not ours:
        found = ", ".join(map(repr, list(other_names(trace, PREFIX))[:8])) or "none"
        raise CalibrationError(
            f"{trace.path}: no range is named {PREFIX}...; ranges found: {found}; name them with "
            f"streamtwin.calibrate.ranges.name_of: {convention()}"
        )
    _check_apart(trace, ours)
    works = trace.of(*DEVICE_WORK)
    if not works:
        yield from (Lasted(event, event.lasted_us * US_S, None) for event in ours)
        return
    found_work = _by_range(trace, ours, works)
    devices = {work.facts.get("device", 0) for own in found_work for work in own}
    if len(devices) > 1:
        raise CalibrationError(
            f"{trace.path}: ranges ran on devices {', '.join(sorted(map(str, devices)))}: "
            "give one trace a device"
        )
    for event, own in zip(ours, found_work, strict=True):
        began, ended = min(w.began_us for w in own), max(w.ended_us for w in own)
        yield Lasted(event, (ended - began) * US_S, *devices)


def _check_apart(trace: Trace, ours: Sequence[Event]) -> None:
    """Refuse ranges of several processes, and ranges that overlap: none has its time alone."""
    for before, after in pairwise(ours):
        if before.lane[0] != after.lane[0]:
            raise CalibrationError(
                f"{trace.at(after)}: is of process {after.lane[0]!r}, the range before of "
                f"{before.lane[0]!r}: give one trace a process"
            )
        if after.began_us < before.ended_us:
            how = "lies in" if after.ended_us <= before.ended_us else "overlaps"
            raise CalibrationError(
                f"{trace.at(after)}: {how} traceEvents[{before.place}] ({before.name!r}), which "
                "ends later than this begins: ranges of ours follow one another"
            )


def _by_range(trace: Trace, ours: Sequence[Event], works: Iterable[Event]) -> list[list[Event]]:
    """Work of the device by the range in which the host launched it."""
    by_launch: dict[object, list[Event]] = {}
    for work in works:
        by_launch.setdefault(work.facts.get("correlation"), []).append(work)
    launches = trace.of(*LAUNCHES)
    starts = [launch.began_us for launch in launches]
    found = []
    for event in ours:
        within = launches[
            bisect_left(starts, event.began_us) : bisect_right(starts, event.ended_us)
        ]
        own = [
            work
            for launch in within
            if launch.lane == event.lane
            for work in by_launch.get(launch.facts.get("correlation"), ())
        ]
        if not own:
            annotated = [e.name for e in trace.of(DEVICE_RANGES)].count(event.name)
            raise CalibrationError(
                f"{trace.at(event)}: no work of the device was launched in it (cuda_runtime events "
                f"by correlation; {annotated} ranges on the device have its name): record the "
                "activities CPU and CUDA together"
            )
        found.append(own)
    return found


def _timed(trace: Trace, one: Lasted, ranks: int, rank: int) -> Timed:
    try:
        op = op_of(one.event.name)
    except CalibrationError as error:
        raise CalibrationError(f"{trace.at(one.event)}: {error}") from error
    if one.seconds <= 0:
        raise CalibrationError(f"{trace.at(one.event)}: dur = 0: no operation takes no time")
    tag = IN_A_TRACE if family_of(op) == "hop" else ""
    return Timed(op, one.seconds, ranks, rank, tag=tag)


def environment_of(trace: Trace, device: object | None) -> Environment:
    """What the trace says of the machine and its software; the rest is called unknown.

    Raises:
        CalibrationError: it states an environment of ours that has a wrong field.
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
    cards = {card.get("id"): card for card in about.get("deviceProperties") or ()}
    known["device"] = _card(cards.get(device, {}), about) if device is not None else "CPU"
    known |= _versions(about)
    return environment_from(known)


def _card(card: dict[str, Any], about: dict[str, Any]) -> str:
    """The card's name; its CUDA versions too where the environment has no field for them."""
    own = {field.name for field in fields(Environment)}
    cuda = about.get("cuda_runtime_version")
    beside = f", CUDA {cuda}" if cuda and "cuda" not in own else ""
    return f"{card.get('name', UNKNOWN)}{beside}"


def _versions(about: dict[str, Any]) -> dict[str, str]:
    """CUDA's and the driver's version, where the environment has fields for them."""
    own = {field.name for field in fields(Environment)}
    keys = {"cuda": "cuda_runtime_version", "driver": "cuda_driver_version"}
    return {name: str(about[key]) for name, key in keys.items() if name in own and key in about}


def _date(trace: Trace) -> str:
    """When the first event was, where the trace says from when it counts; else the file's date."""
    base_ns = trace.about.get("baseTimeNanoseconds")
    if not isinstance(base_ns, int) or not trace.events:
        return date_of(trace.path)
    began_s = base_ns * 1e-9 + trace.events[0].began_us * US_S
    try:
        return datetime.fromtimestamp(began_s, UTC).isoformat(timespec="seconds")
    except (ValueError, OverflowError, OSError):
        return date_of(trace.path)
