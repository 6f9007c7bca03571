"""Every mistake about the load is answered with file, line, key, value and what is legal."""

from pathlib import Path

import pytest

from builders import make_plan
from streamtwin.core.errors import ScenarioError
from streamtwin.core.library import find_scenario
from streamtwin.core.session_room import with_session_room

POISSON = "arrivals: {process: poisson, "

MISTAKES = {
    POISSON + "rate_per_s: 0, until_s: 5}": ["workload.arrivals.rate_per_s = 0", "greater than 0"],
    POISSON + "until_s: 5}": ["workload.arrivals", "needs rate_per_s"],
    POISSON + "rate_per_s: 1}": ["workload.arrivals", "never ends", "until_s, max_sessions"],
    POISSON + "rate_per_s: 900, until_s: 9}": ["until_s = 9", "more than 1000 sessions"],
    POISSON + "rate_per_s: 1.0e-4, until_s: 0.1}": ["until_s = 0.1", "no session joins"],
    POISSON + "rate_per_s: 1, until_s: 5, burst_size: 3}": ["burst_size = 3 means nothing"],
    POISSON + "rate_per_s: 1, max_sessions: 2000}": ["max_sessions = 2000", "equal to 1000"],
    POISSON + "rate_per_s: 1, max_sessions: 2}, sessions: 3": ["workload.sessions = 3", "give one"],
    POISSON + "rate_per_s: 1, max_sessions: 2}, visits: [{}]": ["workload.visits", "give one"],
    "arrivals: {process: nope}": ["workload.arrivals.process = 'nope'", "'bursts' or 'trace'"],
    "arrivals: {process: fixed, speed: 1}": ["'workload.arrivals.speed'", "known here: process"],
    "classes: {a: {share: -1}}": ["workload.classes.a.share = -1", "greater than 0"],
    "classes: {a: {share: 0.5}, b: {share: 0.4}}": ["(a 0.5, b 0.4) sum to 0.9", "sum to 1"],
    "classes: {a: {share: 0.5}, b: {}}": ["no share is given for b", "every class, or none"],
    "classes: {a: {slo: {fps: 0}}}": ["workload.classes.a.slo.fps = 0"],
    "classes: {a: {slo: {rate: 0}}}": ["'workload.classes.a.slo.rate'", "known here: fps"],
    "classes: {a: {chunks: 3, duration_s: 3}}": ["workload.classes.a.chunks = 3", "at most one"],
    "classes: {a: {}}, visits: [{session_class: b}]": ["session_class = 'b'", "choose one of a"],
    "visits: [{session_class: b}]": ["workload.visits.0.session_class = 'b'", "has none"],
    "visits: [{idle: [[3, 2]]}]": ["workload.visits", "[3.0, 2.0]", "in order, apart"],
    "visits: [{idle: [[0.1, 1.0e+17]]}]": ["workload.visits", "1e+17", "at most 1e+06"],
    "phases: {active_s: 1, idle_s: 1.0e+300}": ["workload.phases.idle_s", "equal to 1000000"],
    "classes: {a: {duration_s: 1.0e+300}}": [
        "workload.classes.a: a session lasts",
        "at most 1,000,000",
    ],
    "phases: {active_s: 0, idle_s: 1}": ["workload.phases.active_s = 0", "greater than 0"],
    "phases: {active_s: 1.0e-5, idle_s: 1}": ["phases.active_s = 1e-05", "make it longer"],
    "phases: {active_s: 1, idle_s: 1}, visits: [{idle: [[1, 2]]}]": ["visits.idle", "one of them"],
    "camera: {loss: 1.5}": ["workload.camera.loss = 1.5", "equal to 0.95"],
    "camera: {jitter_s: -1}": ["workload.camera.jitter_s = -1", "equal to 0"],
    "entry: {max_queued: 3}": ["workload.entry", "mean nothing", "memory_and_slack"],
    "entry: {policy: predicted_slack, room: 3}": ["workload.entry.room = 3", "choose memory"],
    "entry: {policy: nope}": ["workload.entry.policy = 'nope'", "predicted_slack"],
    "motion: nowhere.csv": ["workload.motion", "nowhere.csv: cannot be read"],
}


@pytest.mark.parametrize("text", MISTAKES)
def test_a_mistake_is_answered_with_line_key_value_and_choices(text: str, tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(f"workload:\n  {{source_fps: 16, chunks: 5,\n   {text}}}\n")
    with pytest.raises(ScenarioError) as error:
        find_scenario(str(path))
    for part in [f"{path}:3: ", *MISTAKES[text]]:
        assert part in str(error.value)


@pytest.mark.parametrize("text", ["phases: {active_s: 1, idle_s: 1}", "camera: {loss: 0.1}"])
def test_what_is_of_a_camera_needs_a_live_input(text: str, tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(f"workload: {{chunks: 5, {text}}}\n")
    with pytest.raises(ScenarioError, match=r"workload.source_fps = null: .* give a frame rate"):
        find_scenario(str(path))


HEAD = "session,join_s,duration_s\n"

TRACES = {
    HEAD + "1,2,3\n2,1.5,3\n": ["3: column join_s = '1.5'", "must not go back", "says 2"],
    HEAD + "1,x,3\n": ["2: column join_s = 'x'", "a number"],
    HEAD + "1,nan,3\n": ["2: column join_s = 'nan'", "a number of at least 0"],
    HEAD + "1,-1,3\n": ["2: column join_s = '-1'", "at least 0"],
    HEAD + "1,0,0\n": ["2: column duration_s = '0'", "more than 0"],
    HEAD + "1.5,0,1\n": ["2: column session = '1.5'", "a whole number"],
    HEAD + "1,1,3\n\n1,2,3\n": ["4: column session = '1'", "earlier line"],
    HEAD + "1,1\n": ["2: has 2 values, its header 3"],
    HEAD + "1,0,1e300\n": ["2: column duration_s = '1e300'", "at most 1e+06"],
    HEAD + "1,1e300,1\n": ["2: column join_s = '1e300'", "at most 1e+06"],
    HEAD + "1,0," + 200_000 * "1" + "\n": ["2: field larger than"],
    HEAD: ["has no session below its header"],
    "": ["1: its header lacks session, join_s, duration_s"],
    "session,join_s\n": ["1: its header lacks duration_s"],
    "session,join_s,duration_s,klass\n": ["1: its header has 'klass'", "columns are"],
    "session,join_s,duration_s,class\n1,1,3,b\n": ["2: column class = 'b'", "choose one of a"],
    "session,join_s,duration_s,class\n1,1,3,\n": ["2: column class = ''", "choose one of a"],
    HEAD + "".join(f"{i},1,1\n" for i in range(1001)): ["1002: column session", "at most 1000"],
}


@pytest.mark.parametrize("trace", TRACES)
def test_a_mistake_in_a_trace_is_answered_with_line_column_and_value(
    trace: str, tmp_path: Path
) -> None:
    (tmp_path / "trace.csv").write_text(trace)
    path = tmp_path / "mine.yaml"
    path.write_text(
        "workload: {source_fps: 16, chunks: 5, classes: {a: {}},\n"
        "  arrivals: {process: trace, file: trace.csv}}\n"
    )
    with pytest.raises(ScenarioError) as error:
        find_scenario(str(path))
    where = [f"{path}:2: workload.arrivals.file: {tmp_path / 'trace.csv'}:"]
    for part in [*where, *TRACES[trace]]:
        assert part in str(error.value)


MOTIONS = {
    "frame,motion\n0,0.1\n2,0.1\n": ["3: column frame = '2'", "number 1 is next"],
    "frame,motion\n0,-0.1\n": ["2: column motion = '-0.1'", "at least 0"],
    "frame,motion\n0,3\n": ["2: column motion = '3'", "at most 2"],
    "frame,motion,session\n0,0.1,7\n": [" column session = 7", "sessions are 0"],
    "frame,motion,class\n0,0.1,b\n": ["2: column class = 'b'", "workload.classes are: a"],
    "frame,motion,class,session\n0,0.1,a,0\n": ["not both"],
    "frame,motion\n": ["has no frame"],
}


@pytest.mark.parametrize("trace", MOTIONS)
def test_a_mistake_in_a_trace_of_motion_is_answered(trace: str, tmp_path: Path) -> None:
    (tmp_path / "motion.csv").write_text(trace)
    path = tmp_path / "mine.yaml"
    path.write_text("workload: {source_fps: 16, chunks: 5, classes: {a: {}}, motion: motion.csv}\n")
    with pytest.raises(ScenarioError) as error:
        find_scenario(str(path))
    for part in [f"{path}:1: workload.motion: {tmp_path / 'motion.csv'}:", *MOTIONS[trace]]:
        assert part in str(error.value)


def test_memory_that_holds_no_session_is_refused_with_the_numbers() -> None:
    plan = make_plan(sessions=4, entry={"policy": "memory"})
    with pytest.raises(ScenarioError, match=r"rank 0 needs \d+ MiB with a single session .* 1 MiB"):
        with_session_room(plan, 2**20)
