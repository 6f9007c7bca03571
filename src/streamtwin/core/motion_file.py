"""How much does each frame move, according to a file?"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from streamtwin.core.errors import ScenarioError
from streamtwin.core.motion import Motion
from streamtwin.core.scenario import Scenario
from streamtwin.core.visit_trace import Line, lines_of

COLUMNS = ("frame", "motion", "session", "class")

Key = int | str | None
"""Of whom a trace is: a session by the number of its random numbers, a class, or everybody."""


@dataclass(frozen=True, slots=True)
class MotionTrace:
    """Motion by frame (RMS difference to the frame before, on pixels in [-1, 1]), of each key."""

    frames: Mapping[Key, tuple[float, ...]]
    sessions: tuple[tuple[int, str | None], ...]
    """What each session of the run is called in the file, and its class."""

    def of(self, session: int, last: int, count: int) -> Motion:
        """Motion of the *count* frames up to number *last*; beyond the trace the picture is still."""
        number, named = self.sessions[session]
        key: Key = number if number in self.frames else named
        trace = self.frames.get(key, self.frames.get(None, ()))
        return tuple(
            trace[frame] if 0 <= frame < len(trace) else 0.0
            for frame in range(last - count + 1, last + 1)
        )


def read_motion(scenario: Scenario) -> MotionTrace | None:
    """The trace of motion that *scenario* names; None where it names none.

    Raises:
        ScenarioError: with file, line, column and value: frames that are not 0, 1, 2, ... in order,
            motion that is no number from 0 to 2, an unknown class.
    """
    workload = scenario.workload
    if workload.motion is None:
        return None
    path, found = Path(workload.motion), dict[Key, list[float]]()
    for line in lines_of(path, COLUMNS[:2], COLUMNS):
        values = found.setdefault(_key(line, scenario), [])
        if line.whole_of("frame") != len(values):
            raise line.wrong("frame", f"frames come in order, number {len(values)} is next")
        motion = line.number_of("motion")
        if motion > 2:
            raise line.wrong("motion", "pixels lie in [-1, 1], so give at most 2")
        values.append(motion)
    if not found:
        raise ScenarioError(f"{path}: has no frame below its header")
    sessions = tuple(
        (scenario.noise_key(one), scenario.visit(one).session_class)
        for one in range(workload.sessions)
    )
    return MotionTrace({key: tuple(values) for key, values in found.items()}, sessions)


def check_sessions(trace: MotionTrace, scenario: Scenario) -> None:
    """Refuse a *trace* of sessions that *scenario* does not have.

    Raises:
        ScenarioError: names the first, and those that there are.
    """
    known = [number for number, _ in trace.sessions]
    for key in trace.frames:
        if isinstance(key, int) and key not in known:
            most = ", ".join(str(number) for number in known[:8])
            more = ", ..." if len(known) > 8 else ""
            raise ScenarioError(
                f"{scenario.workload.motion}: column session = {key}: sessions are {most}{more}"
            )


def _key(line: Line, scenario: Scenario) -> Key:
    """Of whom *line* is."""
    session, named = line.values.get("session"), line.values.get("class")
    if session and named:
        raise line.wrong("class", "name a session or a class, not both")
    if session:
        return line.whole_of("session")
    if named and named not in scenario.workload.classes:
        known = ", ".join(scenario.workload.classes) or "none"
        raise line.wrong("class", f"workload.classes are: {known}")
    return named or None
