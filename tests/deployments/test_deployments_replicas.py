"""Copies of a pipeline behind a router: each is a run of its own, and sessions stay where they are."""

from dataclasses import replace

import pytest
from deployment_cases import RowLatency
from hypothesis import given, settings
from hypothesis import strategies as st

from builders import make_plan
from streamtwin.core.capacity import need_bytes
from streamtwin.core.errors import ScenarioError
from streamtwin.core.metrics import compute_metrics
from streamtwin.core.policies.router import ROUTER, ReplicaView
from streamtwin.core.records import Records, Span
from streamtwin.core.replica_metrics import replica_records
from streamtwin.core.routing import replica_plan, route
from streamtwin.sim.engines import ENGINES
from streamtwin.sim.replicas import check_deployment, simulate_deployment
from streamtwin.sim.simulate import simulate

runs = settings(deadline=None)
views = st.lists(
    st.builds(
        ReplicaView,
        routed=st.integers(0, 5),
        open=st.integers(0, 5),
        turn_s=st.floats(0, 0.2),
        chunk_s=st.floats(0, 1),
    ),
    min_size=1,
    max_size=5,
)


def as_copy(span: Span, first: int, session: int) -> Span:
    peer = span.peer if span.peer < 0 else span.peer + first
    return replace(span, rank=span.rank + first, peer=peer, session=session)


@given(
    st.integers(1, 3), st.integers(1, 3), st.integers(1, 2), st.sampled_from([(), (0.7, 1.0, 1.3)])
)
@runs
def test_copies_with_a_session_each_are_runs_of_their_own(replicas, gpus, steps, factors):
    latency = RowLatency(factors=factors)
    common = {"gpus": gpus, "steps": steps, "chunks": 9, "sessions": replicas}
    plan = make_plan(**common, replicas=replicas)
    whole = simulate_deployment(plan, latency)
    spans: list[Span] = []
    for copy in range(replicas):
        visits = [{"noise_key": copy}]
        alone = make_plan(**{**common, "sessions": 1}, visits=visits)
        own = simulate(alone, latency, first_rank=copy * gpus)
        spans += [as_copy(span, copy * gpus, copy) for span in own.spans]
        assert [c.emitted_s for c in whole.chunks if c.session == copy] == [
            c.emitted_s for c in own.chunks
        ]
        apart = replica_records(whole, copy)
        assert [(s.rank, s.kind, s.began_s, s.ended_s) for s in apart.spans] == [
            (s.rank, s.kind, s.began_s, s.ended_s) for s in own.spans
        ]
    key = lambda s: (s.began_s, s.rank, s.ended_s, s.kind)  # noqa: E731
    assert sorted(whole.spans, key=key) == sorted(spans, key=key)


@given(st.sampled_from(sorted(ROUTER)), views)
def test_every_router_names_a_copy(name, seen):
    assert 0 <= ROUTER[name](seen) < len(seen)


@given(views)
def test_routers_choose_what_their_names_say(seen):
    assert seen[ROUTER["least_sessions"](seen)].open == min(view.open for view in seen)
    assert seen[ROUTER["most_slack"](seen)].slack_s == max(view.slack_s for view in seen)
    filled = seen[ROUTER["fill_first"](seen)]
    assert filled.slack_s >= 0 or all(view.slack_s < 0 for view in seen)
    assert ROUTER["round_robin"](seen) == sum(view.routed for view in seen) % len(seen)


@given(
    st.sampled_from(sorted(ROUTER)),
    st.integers(1, 4),
    st.lists(st.floats(0, 60), min_size=1, max_size=8),
)
@runs
def test_every_session_goes_to_one_copy_once(router, replicas, joins):
    visits = [{"join_s": join} for join in joins]
    plan = make_plan(
        replicas=replicas, router=router, sessions=len(joins), visits=visits, source_fps=16
    )
    routing = route(plan.scenario, (0.1,) * replicas)
    assert sorted(one for own in routing.sessions for one in own) == list(range(len(joins)))
    assert [d.time_s for d in routing.decisions] == sorted(joins)
    for decision in routing.decisions:
        assert decision.session in routing.sessions[int(decision.chose)]
        assert {"open.0", "routed.0", "slack_s.0"} <= decision.saw.keys()


def test_a_session_that_has_ended_is_no_load() -> None:
    """The second has ended when the third comes, and the first, which is longer, has not."""
    length_s = 30 * 4 / 16
    visits = [{"chunks": 300}, {"join_s": 1}, {"join_s": length_s + 1.5}]
    asked = {"sessions": 3, "visits": visits, "source_fps": 16, "replicas": 2}
    routed = route(make_plan(**asked, router="least_sessions").scenario)
    assert routed.sessions == ((0,), (1, 2))
    assert route(make_plan(**asked, router="round_robin").scenario).sessions == ((0, 2), (1,))
    filled = route(make_plan(**asked, router="fill_first").scenario, (0.1, 0.1))
    assert filled.sessions == ((0, 1, 2), ())
    full = route(make_plan(**asked, router="fill_first").scenario, (0.2, 0.2))
    assert full.sessions == ((0,), (1, 2))


def simulated(**asked: object) -> Records:
    return simulate_deployment(make_plan(**asked), RowLatency())


def test_metrics_are_told_of_each_copy_and_of_all() -> None:
    shape = {"gpus": 3, "chunks": 80, "slowdown": {1: 4.0}}
    records = simulated(**shape, replicas=3, sessions=2)
    metrics = compute_metrics(records)
    first, second, idle = metrics["replicas"]
    assert (first["sessions"], second["sessions"], idle["sessions"]) == ([0], [1], [])
    alone = compute_metrics(simulate(make_plan(**shape), RowLatency()))
    assert first["fps"] == second["fps"] == alone["fps"]
    assert idle["fps"] is None
    assert metrics["fps_total"] == pytest.approx(2 * alone["fps_total"], rel=0.03)
    assert [rank["rank"] for rank in metrics["ranks"]] == list(range(9))
    assert [rank["busy_fraction"] for rank in metrics["ranks"][6:]] == [0.0] * 3
    # whoever waits does so for the slow rank in the end
    assert alone["ranks"][0]["bubbles"]["imbalance"] > 0
    for rank in range(6):
        own = metrics["ranks"][rank]["bubbles"]
        assert own == pytest.approx(alone["ranks"][rank % 3]["bubbles"], abs=1e-12)
    # a copy without sessions holds its weights and no keys
    held = [rank["memory_bytes"] for rank in metrics["ranks"]]
    assert held[6]["weights"] == held[0]["weights"]
    assert (held[6]["kv"], held[0]["kv"] > 0) == (0, True)


def test_a_copy_leaves_the_whole_scenario_in_the_records() -> None:
    records = simulated(gpus=1, replicas=2, sessions=3, chunks=9)
    assert records.info.scenario["deployment"]["replicas"] == 2
    assert records.info.scenario["workload"]["sessions"] == 3
    assert {d.family for d in records.decisions} >= {"router", "partition"}
    assert {chunk.session for chunk in records.chunks} == {0, 1, 2}


def test_sessions_keep_their_noise_and_prompts_wherever_they_go() -> None:
    visits = [{}, {"prompts": {0: "rain"}, "noise_key": 7}]
    plan = make_plan(replicas=2, sessions=3, visits=visits)
    second = replica_plan(plan, (1, 2), 1).scenario
    assert [second.noise_key(one) for one in (0, 1)] == [7, 2]
    assert second.prompt_of(0, 0) == "rain"
    assert second.deployment.replicas == 1


@given(st.integers(1, 3), st.integers(1, 6), st.integers(0, 3), st.booleans())
@runs
def test_what_is_refused_beforehand_is_what_a_simulation_refuses(
    replicas: int, sessions: int, room: int, dies: bool
) -> None:
    """A copy has to hold its own sessions only, and only a copy that serves some can do without."""
    dead = [{"rank": replicas - 1, "at_s": 0.1}] if dies else []
    plan = make_plan(chunks=4, sessions=sessions, replicas=replicas, trouble={"lost_ranks": dead})
    plan = replace(plan, capacity_bytes=(float(need_bytes(plan, 0, room)),))
    for engine in ENGINES:
        said = []
        for ask in (check_deployment, simulate_deployment):
            try:
                ask(plan, RowLatency(), engine=engine)
                said.append("")
            except ScenarioError as error:
                said.append(str(error))
        assert said[0] == said[1]
