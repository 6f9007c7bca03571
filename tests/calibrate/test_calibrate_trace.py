"""Does a profile of a trace have the times of the trace, and is a bad trace told what is wrong?"""

import json
import time
from copy import deepcopy
from dataclasses import asdict
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.profiler import ProfilerActivity, profile, record_function
from trace_data import CARD, OPS, cuda_events, event, host_events, pass_of, write_trace

from builders import make_plan
from streamtwin.calibrate.cases import item_from
from streamtwin.calibrate.environment import read_environment
from streamtwin.calibrate.from_trace import profile_from_trace
from streamtwin.calibrate.profile import Profile, read_profile, write_profile
from streamtwin.calibrate.ranges import name_of
from streamtwin.calibrate.trace_about import ENVIRONMENT
from streamtwin.core.deployment import STEP_TIMESTEPS
from streamtwin.core.errors import CalibrationError
from streamtwin.core.ops import Op
from streamtwin.core.plan import Stage
from streamtwin.kernels.stage import StageKernels, Work


def times_of(made: Profile) -> dict[Op, tuple[float, ...]]:
    return {one.case.op: one.times for one in made.measurements}


@pytest.mark.parametrize("name", ["trace.json", "trace.json.gz"])
def test_a_card_is_timed_from_the_first_kernel_to_the_last(name: str, tmp_path: Path) -> None:
    made = profile_from_trace(write_trace(tmp_path / name, cuda_events()), "mine")
    found = times_of(made)
    assert found.keys() == dict(OPS).keys()
    for op, lasts_us in OPS:
        expected = [1e-6 * lasts_us * (1 + 0.01 * n) for n in range(5)]
        assert found[op] == pytest.approx(expected, rel=1e-6)
    assert CARD in made.environment.device
    assert (made.environment.host, made.environment.torch) == ("node-7", "unknown")
    assert made.environment.date.startswith("2026-01-02T03:00:0")
    assert made.provenance.kind == "measured"
    assert made.provenance.source.startswith(f"{name} (sha256 ")
    assert made.device == "cuda"


@settings(max_examples=25, deadline=None)
@given(st.lists(st.floats(10, 1e6), min_size=len(OPS), max_size=len(OPS)))
def test_without_a_device_a_range_lasts_as_long_as_it_says(
    tmp_path_factory: pytest.TempPathFactory, lengths: list[float]
) -> None:
    ops = [(op, us) for (op, _), us in zip(OPS, lengths, strict=True)]
    path = write_trace(tmp_path_factory.mktemp("trace") / "t.json", host_events(ops, times=4))
    for op, seconds in times_of(profile_from_trace(path, "mine")).items():
        assert seconds == pytest.approx([1e-6 * dict(ops)[op]] * 4, rel=1e-9)


def test_ranks_come_from_the_trace_unless_they_are_told(tmp_path: Path) -> None:
    about = {"distributedInfo": {"rank": 1, "world_size": 2}}
    shared = write_trace(tmp_path / "cpu.json", host_events(), **about)
    assert profile_from_trace(shared, "x").ranks == (2,)
    assert profile_from_trace(shared, "x", ranks=3).ranks == (3,)
    assert {one.rank for one in profile_from_trace(shared, "x").measurements} == {1}
    apart = write_trace(tmp_path / "cuda.json", cuda_events(), **about)
    assert profile_from_trace(apart, "x").ranks == (1,), "cards do not share"


def test_a_profile_of_a_trace_is_read_as_it_was_written(tmp_path: Path) -> None:
    made = profile_from_trace(write_trace(tmp_path / "t.json", cuda_events()), "mine")
    write_profile(made, tmp_path / "profile")
    again = read_profile(tmp_path / "profile")
    assert times_of(again) == times_of(made)
    assert (again.provenance, again.environment) == (made.provenance, made.environment)
    steady = made.latency_model(1).predict(pass_of(30, 4)).mean_s
    assert steady == pytest.approx(1e-6 * dict(OPS)[pass_of(30, 4)] * 1.025, rel=0.01)


def test_services_profiled_for_real_have_the_times_that_the_profiler_wrote(tmp_path: Path) -> None:
    plan = make_plan(resolution=[32, 48], steps=4)
    kernels = StageKernels(plan, plan.stages[0], "cpu", torch.float32)
    state = kernels.new_session(0)
    size, clocked = plan.scenario.size, []
    kernels_of = Stage(0, range(plan.model.blocks), True, True, True, True)
    with profile(activities=[ProfilerActivity.CPU]) as prof:
        for rows in [1, 2, 3] * 5:
            item = item_from(plan, rows)
            op = plan.dit_pass(kernels_of, item)
            shape = (rows, 1, plan.model.latent_channels, *size.latent)
            work = Work(torch.zeros(shape), STEP_TIMESTEPS[:rows], None)
            began_s = time.perf_counter()
            with record_function(name_of(op)):
                kernels.run({0: state}, item, work)
            clocked.append((op, time.perf_counter() - began_s))
        prof.add_metadata_json(ENVIRONMENT, json.dumps(asdict(read_environment())))
    path = tmp_path / "trace.json"
    prof.export_chrome_trace(str(path))
    made = profile_from_trace(path, "mine")
    written = [
        e for e in json.loads(path.read_text())["traceEvents"] if e["name"].startswith("str")
    ]
    assert len(written) == len(clocked) == 15
    for op, seconds in times_of(made).items():
        own = [1e-6 * e["dur"] for e in written if e["name"] == name_of(op)]
        assert seconds == pytest.approx(own, rel=1e-9)
        outside = [lasted_s for other, lasted_s in clocked if other == op]
        assert all(a <= b for a, b in zip(seconds, outside, strict=True))
        assert sum(seconds) > 0.8 * sum(outside)
    here = read_environment()
    assert made.environment.differences(here) == []
    assert made.latency_model(1).predict(op).mean_s > 0


def broken(path: Path, text: bytes) -> Path:
    path.write_bytes(text)
    return path


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        (b"not JSON", r"t.json, line 1, column 1: not valid JSON"),
        (b'{"traceEvents": [{"ph": "X"', r"line 1, column \d+: not valid JSON.*cut off"),
        (b'{"events": []}', "traceEvents is missing"),
        (b"[]", "no range is named streamtwin"),
        (b"\x1f\x8b\x08rubbish", "cannot be read"),
        (b"\xff\xfe\xfa", "not a trace"),
    ],
)
def test_what_is_no_trace_is_refused(text: bytes, complaint: str, tmp_path: Path) -> None:
    with pytest.raises(CalibrationError, match=complaint):
        profile_from_trace(broken(tmp_path / "t.json", text), "x")


def test_a_gzip_that_was_cut_off_is_refused(tmp_path: Path) -> None:
    path = write_trace(tmp_path / "t.json.gz", cuda_events())
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(CalibrationError, match=r"t.json.gz: cannot be read"):
        profile_from_trace(path, "x")


def test_ranges_of_others_are_named_beside_the_convention(tmp_path: Path) -> None:
    events = [event("user_annotation", name, 0.0, 1.0) for name in ("step", "forward")]
    with pytest.raises(CalibrationError, match=r"ranges found: 'step', 'forward'; .*blocks=\.\.\."):
        profile_from_trace(write_trace(tmp_path / "t.json", events), "x")


def spoil(events: list[dict], change: str) -> list[dict]:
    ours = [e for e in events if e["cat"] == "user_annotation"]
    match change:
        case "negative":
            ours[3]["dur"] = -5.0
        case "nan":
            ours[3]["dur"] = float("nan")
        case "no start":
            del ours[3]["ts"]
        case "text":
            ours[3]["ts"] = "soon"
        case "zero":
            ours[3]["dur"] = 0.0
        case "nested":
            ours[4].update(ts=ours[3]["ts"] + 1, dur=ours[3]["dur"] / 2)
        case "overlap":
            ours[4].update(ts=ours[3]["ts"] + 1, dur=2 * ours[3]["dur"])
        case "process":
            ours[4]["pid"] = 1
        case "name":
            ours[3]["name"] = "streamtwin.dit rows=1"
        case "devices":
            [e for e in events if e["cat"] == "kernel"][5]["args"]["device"] = 3
        case "no kernels":
            own = ours[3]["ts"]
            events = [
                e for e in events if not (e["cat"] == "cuda_runtime" and own <= e["ts"] <= own + 20)
            ]
        case "seldom":
            events = [e for e in events if e is not ours[3] and e is not ours[3 + len(OPS)]]
    return events


@pytest.mark.parametrize(
    ("make", "change", "complaint"),
    [
        (host_events, "negative", r"traceEvents\[3\] .*dur = -5.0: nothing lasts less"),
        (host_events, "nan", r"traceEvents\[3\] .*dur = nan: not a finite number"),
        (host_events, "no start", r"traceEvents\[3\] .*ts = None: not a finite number"),
        (host_events, "text", r"traceEvents\[3\] .*ts = 'soon'"),
        (host_events, "zero", r"traceEvents\[3\] .*takes no time"),
        (host_events, "nested", r"traceEvents\[4\] .*lies in traceEvents\[3\]"),
        (host_events, "overlap", r"traceEvents\[4\] .*overlaps traceEvents\[3\]"),
        (host_events, "process", r"traceEvents\[4\] .*of process 1"),
        (host_events, "name", r"traceEvents\[3\] .*'\w+' is missing; streamtwin.dit takes model"),
        (cuda_events, "devices", "devices 0, 3: give one trace a device"),
        (cuda_events, "no kernels", r"traceEvents\[\d+\] .*no work of the device"),
        (host_events, "seldom", r"t.json: DitPass.* was timed 3 times: give at least 4"),
    ],
)
def test_a_bad_range_is_told_with_its_place(make, change: str, complaint: str, tmp_path) -> None:
    path = write_trace(tmp_path / "t.json", spoil(deepcopy(make()), change))
    with pytest.raises(CalibrationError, match=complaint):
        profile_from_trace(path, "x")


def test_too_few_operations_for_a_fit_are_refused(tmp_path: Path) -> None:
    few = [(pass_of(8, rows), 100.0 * rows) for rows in (1, 2)]
    path = write_trace(tmp_path / "t.json", host_events(few))
    with pytest.raises(CalibrationError, match=r"dit of wan2.1-1.3b .*2 different .* at least 3"):
        profile_from_trace(path, "x")


def test_a_wrong_environment_is_refused(tmp_path: Path) -> None:
    path = write_trace(tmp_path / "t.json", host_events(), **{ENVIRONMENT: {"host": "h"}})
    with pytest.raises(
        CalibrationError, match=r"streamtwin.environment: .*device.*Missing|required"
    ):
        profile_from_trace(path, "x")
