"""What a stage whose members share its passes is predicted to take, and how it is recorded."""

from dataclasses import replace
from typing import Any

import pytest
from deployment_cases import RowLatency, fleet_of
from hypothesis import given, settings
from hypothesis import strategies as st

from builders import FlatLatency, make_plan, stream
from streamtwin.core import catalog
from streamtwin.core.errors import CalibrationError
from streamtwin.core.latency import Prediction, Provenance
from streamtwin.core.link_latency import LAUNCH_S, LinkLatency
from streamtwin.core.metrics import compute_metrics
from streamtwin.core.ops import Collective, DitPass, Op
from streamtwin.core.records import Records
from streamtwin.core.shared_latency import share_of
from streamtwin.core.shared_pass import own_bytes, pass_s, services
from streamtwin.sim.simulate import simulate
from streamtwin.sim.uncertainty import calibration_intervals

runs = settings(deadline=None)
passes = st.builds(
    DitPass,
    model=st.just("tiny"),
    blocks=st.integers(1, 6),
    rows=st.integers(1, 8),
    chunk_latents=st.integers(1, 2),
    tokens=st.just(96),
    kv_tokens=st.just(576.0),
    embeds=st.booleans(),
    unembeds=st.booleans(),
)
latencies = st.builds(
    RowLatency,
    pass_s=st.floats(0, 0.01),
    block_s=st.floats(0, 0.01),
    row_s=st.floats(1e-5, 0.01),
)


def spans_of(records: Records, rank: int, kind: str) -> list[tuple[float, float]]:
    return [(s.began_s, s.ended_s) for s in records.spans if (s.rank, s.kind) == (rank, kind)]


@pytest.mark.parametrize("parallelism", ["ulysses", "ring"])
@pytest.mark.parametrize("gpus", [1, 2, 3])
def test_stages_of_one_member_are_a_pipeline(parallelism: str, gpus: int) -> None:
    plain = make_plan(gpus=gpus)
    shared = make_plan(gpus=gpus, parallelism=parallelism, sequence_ranks=1)
    latency = RowLatency(exchanges=False, factors=(0.8, 1.0, 1.2))
    expected, got = simulate(plain, latency), simulate(shared, latency)
    assert got.spans == expected.spans
    assert got.chunks == expected.chunks


@given(passes, latencies)
def test_a_share_of_one_is_the_whole(op: DitPass, latency: RowLatency) -> None:
    assert share_of(latency, op, 1) == latency.predict(op)


@given(passes, latencies, st.integers(2, 8))
def test_a_share_lies_between_perfect_division_and_the_whole(
    op: DitPass, latency: RowLatency, members: int
) -> None:
    share, whole_s = share_of(latency, op, members), latency.predict(op).mean_s
    assert whole_s / members - 1e-12 <= share.mean_s <= whole_s + 1e-12
    assert share.provenance.kind == "derived"
    assert share_of(latency, op, members + 1).mean_s <= share.mean_s + 1e-12


@given(passes, latencies, st.integers(2, 4))
def test_a_share_of_rows_that_divide_is_a_pass_of_fewer_rows(
    op: DitPass, latency: RowLatency, members: int
) -> None:
    whole = replace(op, rows=op.rows * members)
    expected_s = latency.predict(op).mean_s
    assert share_of(latency, whole, members).mean_s == pytest.approx(expected_s, rel=1e-12)


def exchanged(parallelism: str, op: DitPass, gpus: int = 2) -> dict[Op, int]:
    plan = make_plan(gpus=gpus, parallelism=parallelism)
    return {part: count for part, count in services(plan, op) if isinstance(part, Collective)}


PASS = DitPass("tiny", 6, 2, 1, 96, 576.0, embeds=True, unembeds=True)
OWN = 2 * 96 // 2 * 256 * 4
"""Two rows, half of 96 tokens, 256 wide, 4 bytes."""


def test_ulysses_exchanges_queries_keys_and_values_and_the_result_in_each_block() -> None:
    found = exchanged("ulysses", PASS)
    assert found[Collective("all_to_all", 2, 3 * OWN)] == 6
    assert found[Collective("all_to_all", 2, OWN)] == 6
    assert not any(op.exchange == "ring_shift" for op in found)
    assert own_bytes(make_plan(gpus=2, parallelism="ulysses"), PASS) == OWN


def test_ring_passes_queries_on_and_sends_parts_home_with_their_weights() -> None:
    found = exchanged("ring", PASS, 4)
    own = OWN // 2
    weights = own // (128 * 4) * 4  # a float32 for 128 numbers of a head
    assert found[Collective("ring_shift", 4, own)] == 6 * 3
    assert found[Collective("all_to_all", 4, 4 * (own + weights))] == 6


def test_sinks_that_are_compared_cost_an_exchange_a_row() -> None:
    never = make_plan(gpus=2, parallelism="ulysses")
    asked = make_plan(gpus=2, parallelism="ulysses", conditioning={"sink_refresh": "kv_similarity"})
    more = set(services(asked, PASS)) - set(services(never, PASS))
    assert more == {(Collective("all_gather", 2, 6 * 2 * 4 * 128 * 4), 2)}


@pytest.mark.parametrize("parallelism", ["ulysses", "ring"])
def test_the_period_of_one_shared_stage_is_the_sum_of_its_services(parallelism: str) -> None:
    plan, latency = make_plan(gpus=2, parallelism=parallelism, steps=2), RowLatency()
    metrics = compute_metrics(simulate(plan, latency))
    whole = DitPass("tiny", 6, 2, 1, 96, 576.0, embeds=True, unembeds=True)
    share_s = 0.001 + 6 * (0.002 + 1 * 0.003)  # of two rows, one
    exchanges_s = sum(
        count * latency.predict(op).mean_s for op, count in exchanged(parallelism, whole).items()
    )
    assert metrics["period_s"] == pytest.approx(0.02 + share_s + exchanges_s + 0.02, rel=1e-9)


def test_members_serve_while_their_leader_does_and_wait_in_between() -> None:
    plan = make_plan(gpus=6, parallelism="ring", sequence_ranks=2)
    records = simulate(plan, RowLatency())
    metrics = compute_metrics(records)
    assert [rank["rank"] for rank in metrics["ranks"]] == list(range(6))
    for leader in (0, 2, 4):
        led, member = spans_of(records, leader, "dit"), spans_of(records, leader + 1, "dit")
        assert member == led
        assert not spans_of(records, leader + 1, "hop")
        peers = {s.peer for s in records.spans if (s.rank, s.kind) == (leader + 1, "wait_hop")}
        assert peers == {leader}
        told = [*member, *spans_of(records, leader + 1, "wait_hop")]
        assert sum(ended - began for began, ended in told) == pytest.approx(led[-1][1], rel=1e-9)
        assert metrics["ranks"][leader + 1]["bubbles"]["host"] == pytest.approx(0, abs=1e-9)


def test_the_slowest_member_holds_its_stage_up() -> None:
    even = simulate(make_plan(gpus=2, parallelism="ulysses"), RowLatency())
    slowed = simulate(make_plan(gpus=2, parallelism="ulysses", slowdown={1: 2.0}), RowLatency())
    for kind, factor in (("dit", 2), ("encode", 1)):
        (began, ended), (start, end) = (spans_of(one, 0, kind)[0] for one in (even, slowed))
        assert end - start == pytest.approx(factor * (ended - began), rel=1e-9)


@pytest.mark.parametrize("exchange", ["all_to_all", "ring_shift", "all_gather"])
@given(st.integers(1, 10**9), st.integers(0, 10**9), st.integers(2, 8))
def test_more_bytes_and_worse_links_are_never_faster(exchange, size, more, members) -> None:
    def mean_s(name: str, size_bytes: int) -> float:
        op = Collective(exchange, members, size_bytes)
        return LinkLatency(catalog.link(name)).predict(op).mean_s

    assert mean_s("nvlink4", size) <= mean_s("nvlink4", size + more)
    assert mean_s("nvlink4", size) <= mean_s("pcie4-no-p2p", size) <= mean_s("ethernet-25g", size)


def test_an_all_to_all_over_a_link_is_its_launch_latency_and_what_leaves_the_member() -> None:
    link = catalog.link("nvlink4")
    op = Collective("all_to_all", 4, 4_000_000)
    expected_s = LAUNCH_S + link.latency_s + 3_000_000 / link.bytes_per_s
    found = LinkLatency(link).predict(op)
    assert found.mean_s == pytest.approx(expected_s, rel=1e-12)
    assert found.provenance.kind == "derived"
    assert LinkLatency(catalog.link("ethernet-25g")).provenance.kind == "assumed"


def test_exchanges_come_from_the_profile_else_from_the_link_else_from_nowhere() -> None:
    plan = make_plan(gpus=2, parallelism="ulysses")
    host = Provenance("measured", "host", "2026-01-01")
    measured, silent = RowLatency(provenance=host), RowLatency(exchanges=False, provenance=host)
    with pytest.raises(CalibrationError, match=r"no calibrated costs .*calibrate"):
        simulate(plan, silent)
    modelled = simulate(plan, fleet_of(plan, silent))
    assert "collective derived" in modelled.info.provenance["service_times"]
    told = simulate(plan, fleet_of(plan, measured))
    assert told.info.provenance["service_times"] == "measured; dit derived"
    named = make_plan(gpus=2, parallelism="ulysses", links={"cards": "ethernet-25g"})
    slow = simulate(named, fleet_of(named, measured))
    assert "collective assumed" in slow.info.provenance["service_times"]


def test_members_of_different_cards_go_at_the_pace_of_the_slowest() -> None:
    plan = make_plan(gpus=2, parallelism="ulysses")
    fast, slow = RowLatency(), RowLatency(row_s=0.006)
    mixed = compute_metrics(simulate(plan, fleet_of(plan, fast, slow)))
    alike = compute_metrics(simulate(plan, fleet_of(plan, slow)))
    assert mixed["period_s"] == pytest.approx(alike["period_s"], rel=1e-12)


def test_policies_that_weigh_times_weigh_shared_passes() -> None:
    plan = make_plan(gpus=4, parallelism="ring", sequence_ranks=2)
    whole = plan.dit_pass(plan.stages[0], stream(plan, 12)[-1])
    parts = services(plan, whole)
    assert pass_s(plan, whole, RowLatency()) == pytest.approx(
        sum(count * RowLatency().predict(part).mean_s for part, count in parts)
    )
    with pytest.raises(CalibrationError):
        pass_s(plan, whole, FlatLatency())


@pytest.mark.parametrize("in_a_fleet", [False, True])
def test_intervals_know_how_unsure_a_share_of_a_pass_is(in_a_fleet: bool) -> None:
    """Profiles without any error: what is left open is where a share of one row lies."""

    class Exact(RowLatency):
        def predict(self, op: Op) -> Prediction:
            told = super().predict(op)
            return replace(told, low_s=told.mean_s, high_s=told.mean_s)

    def relative_width(**shape: Any) -> float:
        plan = make_plan(**shape, chunks=16, service_noise=False)
        latency = fleet_of(plan, Exact()) if in_a_fleet else Exact()
        found = {"period_s": compute_metrics(simulate(plan, latency))["period_s"]}
        low, high = calibration_intervals(plan, latency, (), found)["period_s"]
        return (high - low) / found["period_s"]

    together = {"gpus": 2, "parallelism": "ulysses", "sequence_ranks": 2}
    assert relative_width(gpus=2, steps=1) < 1e-9
    assert relative_width(**together, steps=2) < 1e-9  # half of two rows is one row, and exact
    assert relative_width(**together, steps=1) > 0.1
