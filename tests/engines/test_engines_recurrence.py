"""Two engines, one answer: the recurrence's records are those of the events, to the last bit."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from builders import FlatLatency, make_plan, normal
from streamtwin.core.errors import ScenarioError
from streamtwin.core.forecast import Forecast
from streamtwin.core.latency import HostState
from streamtwin.core.plan import Plan
from streamtwin.core.records import Records
from streamtwin.sim.recurrence import applies
from streamtwin.sim.simulate import simulate

seconds = st.floats(0.0005, 0.1)
latencies = st.builds(
    FlatLatency,
    encode_s=seconds,
    block_s=st.floats(0.0005, 0.03),
    decode_s=seconds,
    hop_s=st.floats(0.0001, 0.05),
    factors=st.sampled_from([(), (), (0.9, 1.0, 1.1), (0.5, 1.0, 3.0)]),
    between_rel_std=st.sampled_from([0.0, 0.1]),
    on=st.sampled_from(
        [HostState(), HostState(normal(0.03, (1.0, 1.6, 0.8, 1.1, 3.0)), 0.5, True)]
    ),
)
ROUND = FlatLatency(encode_s=0.02, block_s=0.01, decode_s=0.03, hop_s=0.01)
"""Times that make many instants coincide."""


@st.composite
def deployments(draw) -> Plan:
    own = draw(st.booleans())
    gpus = draw(st.integers(3, 6) if own else st.integers(1, 6))
    decode = None if own else draw(st.sampled_from([None, "after_send", "before_send"]))
    steps, sessions = draw(st.integers(1, 4)), draw(st.sampled_from([1, 1, 2, 4]))
    joins = st.fixed_dictionaries(
        {"join_s": st.sampled_from([0.0, 0.3, 2.0]), "chunks": st.sampled_from([None, 3])}
    )
    return make_plan(
        gpus=gpus,
        steps=steps,
        vae_placement="dedicated" if own else "edge",
        decode=decode,
        protocol=draw(st.sampled_from(["sdv2", "overlap"])),
        wrap_activations=draw(st.sampled_from([None, True, False])),
        stream_batch=draw(st.booleans()),
        window=draw(st.sampled_from([3, 6, 9])),
        sink=1,
        chunk_latents=draw(st.integers(1, 2)),
        slowdown=draw(st.sampled_from([{}, {0: 1.7}, {gpus - 1: 3.0}])),
        lanes=draw(st.sampled_from(["time", "sessions"])),
        batching={"batch": draw(st.integers(1, 2))},
        sessions=sessions,
        visits=draw(st.lists(joins, max_size=sessions)),
        source_fps=draw(st.sampled_from([None, 8.0, 16.0, 60.0])),
        admission=draw(st.sampled_from(["accept_all", "accept_all", "drop_oldest", "drop_newest"])),
        max_waiting=draw(st.integers(1, 3)),
        chunks=draw(st.integers(3, 20)),
        seed=draw(st.integers(0, 5)),
    )


def same(plan: Plan, latency: FlatLatency, **how) -> Records:
    """The records of both engines, which must be equal but for the engine's name."""
    events, recurrence = (
        simulate(plan, latency, engine=engine, **how) for engine in ("simpy", "recurrence")
    )
    assert recurrence.spans == events.spans
    assert recurrence.chunks == events.chunks
    assert recurrence.decisions == events.decisions
    provenance = {**recurrence.info.provenance, "engine": "simpy"}
    assert replace(recurrence.info, provenance=provenance) == events.info
    return recurrence


@given(deployments(), latencies, st.integers(0, 2))
@settings(deadline=None, max_examples=300)
def test_both_engines_write_the_same_records(plan: Plan, latency: FlatLatency, run: int) -> None:
    motion = [(0.0, 0.02 * i, 0.01 * i, 0.0) for i in range(9)]
    records = same(plan, latency, motion=motion, run=run)
    assert records.info.provenance["engine"] == "recurrence"


@given(deployments())
@settings(deadline=None, max_examples=60)
def test_instants_that_coincide_make_no_difference(plan: Plan) -> None:
    same(plan, ROUND)
    same(plan, replace(ROUND, factors=(0.5, 1.0, 1.5)))


@pytest.mark.parametrize("policy", ["slo_aware", "model_predictive"])
def test_policies_that_look_at_the_queue_decide_the_same(policy: str) -> None:
    """Rank 0 knows the queue at its own instant, whatever the order of computing."""
    plan = make_plan(gpus=3, sessions=5, source_fps=16.0, batching={"batch": 3}, chunks=9)
    deployment = plan.scenario.deployment
    batching = deployment.batching.model_copy(update={"policy": policy})
    asked = plan.scenario.model_copy(
        update={"deployment": deployment.model_copy(update={"batching": batching})}
    )
    turns = tuple(0.05 * rows for rows in range(plan.max_rows + 1))
    same(replace(plan, scenario=asked, forecast=Forecast(turns, turns)), FlatLatency())


def test_the_engine_that_ran_is_in_the_records() -> None:
    plan = make_plan(gpus=2)
    ran = {
        asked: simulate(plan, FlatLatency(), engine=asked).info.provenance["engine"]
        for asked in ("simpy", "recurrence", "auto")
    }
    assert ran == {"simpy": "simpy", "recurrence": "recurrence", "auto": "recurrence"}
    assert simulate(plan, FlatLatency()).info.provenance["engine"] == "simpy"


@pytest.mark.parametrize(
    ("partition", "reason"),
    [
        ({"schedule": {5: [4, 2]}}, "partition.schedule moves blocks"),
        ({"policy": "optimal", "blocks": [4, 2], "rebalance": "continuous"}, "measured times"),
    ],
)
def test_where_it_does_not_apply_it_is_refused_with_the_reason(partition, reason) -> None:
    plan = make_plan(gpus=2, partition=partition)
    assert reason in (applies(plan) or "")
    with pytest.raises(ScenarioError, match=reason):
        simulate(plan, FlatLatency(), engine="recurrence")


def test_auto_falls_back_on_events() -> None:
    plan = make_plan(gpus=2, partition={"policy": "sdv2_once", "blocks": [3, 3]})
    assert simulate(plan, FlatLatency(), engine="auto").info.provenance["engine"] == "simpy"
