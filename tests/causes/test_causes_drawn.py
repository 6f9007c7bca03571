"""Runs on service times drawn anew: at once where that is the same, and one by one else."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from builders import FlatLatency, make_plan, normal
from streamtwin.core.latency import HostState
from streamtwin.core.plan import Plan
from streamtwin.sim import drawn
from streamtwin.sim.drawn import drawn_runs

OPEN = FlatLatency()
"""Nothing scatters; how wrong its intervals may be is all that is open."""


@st.composite
def deployments(draw) -> Plan:
    return make_plan(
        gpus=draw(st.integers(1, 4)),
        steps=draw(st.integers(1, 3)),
        protocol=draw(st.sampled_from(["sdv2", "overlap"])),
        source_fps=draw(st.sampled_from([None, 8.0, 30.0, 60.0])),
        slowdown=draw(st.sampled_from([{}, {0: 1.5}])),
        viewer={"start_buffer_s": draw(st.sampled_from([0.0, 0.5]))},
        chunks=draw(st.integers(8, 40)),
        seed=draw(st.integers(0, 3)),
    )


@pytest.fixture
def alone(monkeypatch):
    """How often runs are simulated one by one."""
    count = [0]
    simulated = drawn._simulated

    def counted(*arguments):
        count[0] += 1
        return simulated(*arguments)

    monkeypatch.setattr(drawn, "_simulated", counted)
    return count


@given(deployments())
@settings(deadline=None, max_examples=30)
def test_runs_computed_at_once_are_those_simulated_one_by_one(plan: Plan) -> None:
    at_once = drawn_runs(plan, OPEN, (), 4)
    for number, found in enumerate(at_once):
        model = drawn._drawn(plan, OPEN, drawn.FIRST + number)
        alone = drawn._simulated(plan, model, (), drawn.FIRST + number)
        assert found == pytest.approx(alone, rel=1e-9, abs=1e-9)
    assert len({found["period_s"] for found in at_once}) == 4 or plan.scenario.workload.source_fps


@pytest.mark.parametrize(
    "latency",
    [
        replace(OPEN, factors=(0.9, 1.1)),
        replace(OPEN, between_rel_std=0.1),
        replace(OPEN, on=HostState(normal(0.1, [1.0, 1.5]))),
    ],
)
def test_what_scatters_is_simulated(latency: FlatLatency, alone: list[int]) -> None:
    plan = make_plan(gpus=2, chunks=12)
    runs = drawn_runs(plan, latency, (), 3)
    assert alone == [3]
    assert len({run["period_s"] for run in runs}) == 3


@pytest.mark.parametrize(("sessions", "simulated"), [(1, 0), (2, 5)])
def test_every_run_is_told_of(alone: list[int], sessions: int, simulated: int) -> None:
    heard: list[None] = []
    drawn_runs(make_plan(gpus=2, sessions=sessions), OPEN, (), 5, lambda: heard.append(None))
    assert (len(heard), alone[0]) == (5, simulated)
