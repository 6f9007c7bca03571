"""Which profile follows from a trace of torch.profiler whose ranges carry our names?

A range lasted as long as its device worked, from the start of the first kernel launched in it to
the end of the last, gaps between launches included; where the trace has no work of a device, as
long as the host was in it.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from streamtwin.calibrate.bounds import RANKS, SECONDS, said
from streamtwin.calibrate.gathered import (
    Origin,
    Timed,
    check_enough,
    collected,
    naming,
    profile_of,
    source_of,
)
from streamtwin.calibrate.profile import Profile
from streamtwin.calibrate.ranges import PREFIX, convention, op_of
from streamtwin.calibrate.trace_about import environment_of, seat_of
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
from streamtwin.core.ops import family_of

IN_A_TRACE = "in a trace"
"""Tag of a hop: a trace does not say who waited."""


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
    if ranks is not None and not RANKS.holds(ranks):
        raise CalibrationError(f"{path}: ranks = {said(ranks)}: {RANKS.words()}")
    trace = read_trace(path)
    lasted = list(ranges_of(trace))
    device = next((one.device for one in lasted if one.device is not None), None)
    world, rank = seat_of(trace)
    told = ranks if ranks is not None else world if device is None else 1
    kind = "cpu" if device is None else "cuda"
    with naming(path):
        measurements = collected(_timed(trace, one, told, rank) for one in lasted)
        check_enough(measurements)
        origin = Origin(source_of(path, trace.content), environment_of(trace, device), kind)
        return profile_of(name, origin, measurements)


def ranges_of(trace: Trace) -> Iterator[Lasted]:
    """Our ranges with their times, in order of time.

    Raises:
        CalibrationError: there are none, two of them overlap, or they are of two devices.
    """
    ours = [event for event in trace.of(RANGES) if event.name.startswith(PREFIX)]
    if not ours:
        found = ", ".join(map(said, list(other_names(trace, PREFIX))[:8])) or "none"
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
                f"{trace.at(after)}: is of process {said(after.lane[0])}, the range before of "
                f"{said(before.lane[0])}: give one trace a process"
            )
        if after.began_us < before.ended_us:
            how = "lies in" if after.ended_us <= before.ended_us else "overlaps"
            raise CalibrationError(
                f"{trace.at(after)}: {how} traceEvents[{before.place}] ({said(before.name)}), which "
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
    if not SECONDS.holds(one.seconds):
        what = "dur" if one.device is None else "its work on the device"
        raise CalibrationError(
            f"{trace.at(one.event)}: {what} = {one.seconds:g} s: {SECONDS.words(one.seconds)}"
        )
    tag = IN_A_TRACE if family_of(op) == "hop" else ""
    return Timed(op, one.seconds, ranks, rank, tag=tag)
