"""Which sessions does a scenario have, once its arrivals, classes and phases are drawn?

The draws become `workload.visits`, before a run: both executors read the same list, and records
hold it, so that they can be read without the files and the generator it came from.
"""

from collections.abc import Sequence
from pathlib import Path

from streamtwin.core.arrivals import Arrivals
from streamtwin.core.draws import dealt_classes, drawn_classes, idle_phases, joins_s, lengths
from streamtwin.core.errors import ScenarioError
from streamtwin.core.motion_file import check_sessions, read_motion
from streamtwin.core.scenario import Scenario
from streamtwin.core.section import MAX_CHUNKS
from streamtwin.core.session_class import shares_of
from streamtwin.core.terms import class_of, terms_of, terms_of_class
from streamtwin.core.visit_trace import read_visits
from streamtwin.core.workload import Visit, Workload


def with_roster(scenario: Scenario, folder: Path) -> Scenario:
    """*scenario* with every session that it asks for; files are relative to *folder*.

    Raises:
        ScenarioError: a file is wrong, nobody joins, too many do, or what needs a live input has
            none.
    """
    workload = scenario.workload
    if workload.motion is not None:
        path = (folder / workload.motion).absolute()
        scenario = _with(scenario, motion=str(path))
    if workload.drawn is None and (workload.arrivals or workload.classes or workload.phases):
        scenario = _settled(scenario, _listed(scenario, folder), 0)
    _check_live(scenario)
    _check_motion(scenario)
    return scenario


def redrawn(scenario: Scenario, run: int) -> Scenario:
    """*scenario* as it goes in replication *run*; the same one where it draws nothing.

    What a file or the user has listed stays, and what is drawn is drawn anew.
    """
    workload = scenario.workload
    arrivals, names = workload.arrivals, workload.classes or [None]
    every = [terms_of_class(scenario, name) for name in names]
    draws = any(terms.phases or not terms.camera.exact for terms in every)
    if run == (workload.drawn or 0) or not (arrivals or draws):
        return scenario
    if arrivals is not None and arrivals.process != "trace":
        return _settled(scenario, _drawn(scenario, arrivals, run), run)
    return _settled(scenario, _all_visits(scenario), run)


def _listed(scenario: Scenario, folder: Path) -> list[Visit]:
    """Every session with the time it joins, its length and its class."""
    workload = scenario.workload
    if workload.arrivals is None:
        return _dealt(scenario)
    if workload.arrivals.file is not None:
        return _traced(scenario, folder / workload.arrivals.file)
    return _drawn(scenario, workload.arrivals, 0)


def _dealt(scenario: Scenario) -> list[Visit]:
    """The sessions that are asked for by number, each with a class."""
    workload, visits = scenario.workload, _all_visits(scenario)
    if workload.phases and any(visit.idle for visit in visits):
        raise ScenarioError("workload.phases and workload.visits.idle: give one of them")
    if not workload.classes:
        return visits
    names = list(workload.classes)
    for index, visit in enumerate(visits):
        if visit.session_class is not None and visit.session_class not in names:
            raise ScenarioError(
                f"workload.visits.{index}.session_class = {visit.session_class!r}: choose one of "
                f"{', '.join(names)}"
            )
    free = [index for index, visit in enumerate(visits) if visit.session_class is None]
    dealt = dealt_classes(shares_of(workload.classes), len(free))
    for index, one in zip(free, dealt, strict=True):
        visits[index] = visits[index].model_copy(update={"session_class": names[one]})
    return [
        visit.model_copy(update={"chunks": visit.chunks or _chunks(scenario, visit.session_class)})
        for visit in visits
    ]


def _traced(scenario: Scenario, path: Path) -> list[Visit]:
    classes = scenario.workload.classes
    try:
        lines = read_visits(path, classes)
    except ScenarioError as error:
        raise ScenarioError(f"workload.arrivals.file: {error}") from error
    dealt = dealt_classes(shares_of(classes), len(lines)) if classes else [0] * len(lines)
    visits = []
    for line, one in zip(lines, dealt, strict=True):
        name = line.session_class or (list(classes)[one] if classes else None)
        chunks = _chunks_in(scenario, name, line.duration_s)
        about = {"chunks": chunks, "session_class": name, "noise_key": line.session}
        visits.append(Visit(join_s=line.join_s, **about))
    return visits


def _drawn(scenario: Scenario, arrivals: Arrivals, run: int) -> list[Visit]:
    classes, seed = scenario.workload.classes, scenario.seed
    joins = joins_s(arrivals, seed, run)
    names: list[str | None] = [None] * len(joins)
    if classes:
        shares, known = shares_of(classes), list(classes)
        of_each = (
            dealt_classes(shares, len(joins))
            if arrivals.process == "fixed"
            else drawn_classes(shares, len(joins), seed, run)
        )
        names = [known[one] for one in of_each]
    units = lengths(arrivals, len(joins), seed, run)
    return [
        Visit(join_s=join_s, chunks=_chunks(scenario, name, unit), session_class=name)
        for join_s, name, unit in zip(joins, names, units, strict=True)
    ]


def _chunks(scenario: Scenario, name: str | None, unit: float = 1.0) -> int:
    """Chunks of a session of class *name* that lasts *unit* times its mean, at least one."""
    workload = scenario.workload
    own = workload.classes[name] if name is not None else None
    length = own if own is not None and (own.chunks or own.duration_s) else workload
    if length.duration_s is not None:
        return _chunks_in(scenario, name, unit * length.duration_s)
    assert length.chunks is not None
    return _checked(max(1, round(unit * length.chunks)), name)


def _chunks_in(scenario: Scenario, name: str | None, duration_s: float) -> int:
    frames = 1 + int(duration_s * terms_of_class(scenario, name).playout_fps)
    return _checked(max(1, scenario.shape.chunks_in(frames)), name)


def _checked(chunks: int, name: str | None) -> int:
    """*chunks* of a session of class *name*, if a run takes as many.

    Raises:
        ScenarioError: it does not.
    """
    if chunks > MAX_CHUNKS:
        where = "workload" if name is None else f"workload.classes.{name}"
        raise ScenarioError(
            f"{where}: a session lasts {chunks:.4g} chunks, and one run takes at most {MAX_CHUNKS:,} a "
            "session: shorten its chunks, its duration_s or their mean"
        )
    return chunks


def _settled(scenario: Scenario, visits: Sequence[Visit], run: int) -> Scenario:
    """*scenario* with *visits* as its sessions, their prompts and idle phases of replication *run*."""
    workload = scenario.workload
    longest = max(visit.chunks or 1 for visit in visits)
    length = {"chunks": max(3, longest)} if workload.says_no_length else {}
    listed = _with(scenario, visits=list(visits), sessions=len(visits), drawn=run, **length)
    return _with(listed, visits=[_complete(listed, one, run) for one in range(len(visits))])


def _complete(scenario: Scenario, session: int, run: int) -> Visit:
    """The visit of *session*, with what its class says and what is drawn for it."""
    visit, terms = scenario.visit(session), terms_of(scenario, session)
    prompt = class_of(scenario, session).prompt
    prompts = {} if prompt is None else {0: prompt}
    update: dict[str, object] = {"prompts": {**prompts, **visit.prompts}}
    if terms.phases is not None:
        last = scenario.shape.last_frame(scenario.chunks_of(session) - 1)
        video_s, seed, key = last / terms.playout_fps, scenario.seed, scenario.noise_key(session)
        update["idle"] = idle_phases(terms.phases, video_s, seed, run, key)
    return visit.model_copy(update=update)


def _all_visits(scenario: Scenario) -> list[Visit]:
    return [scenario.visit(session) for session in range(scenario.workload.sessions)]


def _with(scenario: Scenario, **changes: object) -> Scenario:
    workload: Workload = scenario.workload.model_copy(update=changes)
    return scenario.model_copy(update={"workload": workload})


def _check_live(scenario: Scenario) -> None:
    """Refuse what only a live input can have, where the input always waits."""
    workload = scenario.workload
    for name in workload.classes or [None]:
        terms = terms_of_class(scenario, name)
        odd = "camera" if not terms.camera.exact else "phases" if terms.phases else ""
        if terms.source_fps is None and odd:
            where = "workload" if name is None else f"workload.classes.{name}"
            raise ScenarioError(
                f"{where}.source_fps = null: {odd} is of a live input: give a frame rate"
            )
    for session, visit in enumerate(workload.visits):
        if visit.idle and terms_of(scenario, session).source_fps is None:
            raise ScenarioError(
                f"workload.visits.{session}.idle needs a live input: give workload.source_fps"
            )
        if visit.session_class is not None and not workload.classes:
            raise ScenarioError(
                f"workload.visits.{session}.session_class = {visit.session_class!r}: "
                "workload.classes has none"
            )


def _check_motion(scenario: Scenario) -> None:
    """Refuse a trace of motion that is wrong, or of sessions and classes that are not there."""
    try:
        trace = read_motion(scenario)
        if trace is not None:
            check_sessions(trace, scenario)
    except ScenarioError as error:
        raise ScenarioError(f"workload.motion: {error}") from error
