"""On the real pipeline: arrivals, classes and phases, with the decisions that the simulator makes."""

from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from builders import FlatLatency
from streamtwin.core.entrance import FAMILY, chosen
from streamtwin.core.layout import lay_out
from streamtwin.core.library import clip_path
from streamtwin.core.metrics import compute_metrics
from streamtwin.core.plan import Plan
from streamtwin.core.policies.admission import ADMISSION, QueueView
from streamtwin.core.policies.batching import BATCHING, LaneView
from streamtwin.core.policies.noise import NOISE, MotionView
from streamtwin.core.policies.session_admission import SessionView
from streamtwin.core.records import SERVICES, Decision, Records
from streamtwin.core.scenario_file import check_scenario
from streamtwin.core.sessions import clock_of
from streamtwin.runtime.run import motion_trace, run_pipeline
from streamtwin.runtime.video import Clip, read_frames
from streamtwin.sim.simulate import simulate

QUICK = FlatLatency(encode_s=0.004, block_s=0.001, decode_s=0.006, hop_s=0.001)

WORKLOAD = {
    "duration_s": 3.0,
    "arrivals": {"process": "poisson", "rate_per_s": 0.8, "max_sessions": 3},
    "classes": {
        "call": {"share": 0.5, "source_fps": 8, "slo": {"latency_s": 2}, "priority": 1},
        "film": {"share": 0.5, "source_fps": 4, "prompt": "rain"},
    },
    "phases": {"active_s": 1.2, "idle_s": 0.5, "lengths": "exponential"},
    "camera": {"jitter_s": 0.003, "loss": 0.05},
    "dispatch": "priority",
}

SPARE_S = 0.15
"""Between any two releases: more than any service here takes, also beside other work."""


@pytest.fixture(scope="module")
def clip() -> Clip:
    return read_frames(clip_path(), 32, 48)


def plan_of(workload: Mapping[str, Any], seed: int = 0, **deployment: Any) -> Plan:
    asked = {**WORKLOAD, **workload}
    data = {"resolution": [32, 48], "workload": asked, "deployment": deployment, "seed": seed}
    return lay_out(check_scenario(data, "test"))


def unhurried(**deployment: Any) -> Plan:
    """The first draw in which sessions of both classes overlap and pause, and no chunks coincide."""
    for seed in range(1000):
        plan = plan_of({}, seed, **deployment)
        scenario = plan.scenario
        visits, clocks = scenario.workload.visits, [clock_of(scenario, one) for one in range(3)]
        released = sorted(
            clock.released_s(chunk)
            for session, clock in enumerate(clocks)
            for chunk in range(scenario.chunks_of(session))
        )
        if (
            {visit.session_class for visit in visits} == {"call", "film"}
            and any(visit.idle for visit in visits)
            and visits[1].join_s < clocks[0].released_s(scenario.chunks_of(0) - 1)
            and released[-1] < 9
            and min(after - before for before, after in pairwise(released)) > SPARE_S
        ):
            return plan
    raise AssertionError("no such draw")


def hurried(records: Records) -> bool:
    """Whether some service was still under way when the next chunk came: what is seen then differs."""
    services = [span for span in records.spans if span.kind in SERVICES]
    return any(
        span.began_s < chunk.released_s < span.ended_s
        for chunk in records.chunks
        for span in services
    )


def choices(records: Records) -> list[tuple[Any, ...]]:
    """What was decided about whom, on what: all but the instants."""
    return sorted(
        (d.family, d.policy, d.session, d.chunk, tuple(sorted(d.saw.items())), d.chose)
        for d in records.decisions
    )


def asked_again(decision: Decision) -> Any:
    """What the policy says to the recorded view; None for families that take more than numbers."""
    match decision.family:
        case "admission":
            return ADMISSION[decision.policy](QueueView(**decision.saw))  # type: ignore[arg-type]
        case "batching":
            return BATCHING[decision.policy](LaneView.seen(decision.saw))
        case "noise" if decision.chunk:
            return NOISE[decision.policy](MotionView(**decision.saw))
    return None


@pytest.mark.parametrize(
    "deployment",
    [{"gpus": 1}, {"gpus": 2, "steps": 1, "stream_batch": False}, {"gpus": 2, "lanes": "sessions"}],
)
def test_the_pipeline_serves_arrivals_classes_and_phases_as_simulated(
    deployment: dict[str, Any], clip: Clip, tmp_path: Path
) -> None:
    """With time to spare between chunks both executors see the same, so they decide the same."""
    plan = unhurried(**deployment)
    virtual, scenario = simulate(plan, QUICK, motion_trace(clip, plan)), plan.scenario
    assert not hurried(virtual)
    for attempt in range(
        4
    ):  # a host that others use may stand still for longer than there is to spare
        done = run_pipeline(plan, clip, tmp_path / f"{attempt}.mp4")
        if not hurried(done.records):
            break
    real = done.records
    assert [chunk.released_s for chunk in real.chunks] == [c.released_s for c in virtual.chunks]
    assert [chunk.outcome for chunk in real.chunks] == ["emitted"] * scenario.all_chunks
    assert choices(real) == choices(virtual)
    frames = [1 + 4 * scenario.chunks_of(one) for one in range(scenario.workload.sessions)]
    assert list(done.frames_by_video.values()) == frames
    for chunk in real.chunks:
        assert chunk.released_s <= chunk.taken_s < chunk.emitted_s
    assert [one["class"] for one in compute_metrics(real)["classes"]] == ["call", "film"]


def test_a_door_and_bounded_queues_decide_in_the_pipeline_by_what_they_see(
    clip: Clip, tmp_path: Path
) -> None:
    """More come than there is room for: each decision, asked again on its view, is the same."""
    trace = tmp_path / "trace.csv"
    trace.write_text("session,join_s,duration_s\n0,0,3\n1,0,3\n2,1,2\n3,1.5,2\n4,7,2\n")
    workload = {
        "arrivals": {"process": "trace", "file": str(trace)},
        "entry": {"policy": "memory", "room": 2, "max_queued": 1, "patience_s": 9},
        "admission": "keep_newest",
        "max_waiting": 1,
        "phases": None,
        "duration_s": None,
    }
    plan = plan_of(workload, gpus=2, steps=2)
    real = run_pipeline(plan, clip, tmp_path / "out.mp4").records
    told = {d.session: d.chose for d in real.decisions if d.family == FAMILY}
    assert told == {0: "admit", 1: "admit", 2: "admit", 3: "refuse", 4: "admit"}
    waited = next(d for d in real.decisions if d.session == 2 and d.family == FAMILY)
    assert waited.chose == "queue"
    for decision in real.decisions:
        if decision.family == FAMILY:
            view = SessionView(**decision.saw)  # type: ignore[arg-type]
            assert chosen(decision.policy, view) == (decision.chose == "admit")
        elif (again := asked_again(decision)) is not None:
            assert again == decision.chose
    served = {chunk.session for chunk in real.chunks if chunk.outcome == "emitted"}
    assert served == {session for session, chose in told.items() if chose == "admit"}
    virtual = simulate(plan, QUICK, motion_trace(clip, plan))
    expected = {d.session: d.chose for d in virtual.decisions if d.family == FAMILY}
    assert told == expected


def test_a_trace_of_motion_drives_the_noise_of_the_pipeline_too(clip: Clip, tmp_path: Path) -> None:
    path = tmp_path / "motion.csv"
    path.write_text("frame,motion\n" + "".join(f"{i},{0.01 * (i % 20)}\n" for i in range(40)))
    workload = {"motion": str(path), "phases": None, "camera": {}}
    workload |= {
        "classes": {"a": {}, "b": {"prompt": "rain"}},
        "sessions": 2,
        "duration_s": 1.5,
        "arrivals": None,
    }
    plan = plan_of(workload, gpus=2, steps=2)
    real = run_pipeline(plan, clip, tmp_path / "out.mp4").records
    virtual = simulate(plan, QUICK)
    noise = [[one for one in choices(r) if one[0] == "noise"] for r in (real, virtual)]
    assert noise[0] == noise[1]
    assert len({chose for *_, chose in noise[0]}) > 3
