"""Ranks with cards of their own, links that a scenario names, and hosts."""

from dataclasses import replace

import pytest
from deployment_cases import RowLatency, fleet_of
from hypothesis import given, settings
from hypothesis import strategies as st

from builders import make_plan
from streamtwin.core import catalog
from streamtwin.core.costs import stage_costs
from streamtwin.core.errors import ScenarioError
from streamtwin.core.layout import lay_out
from streamtwin.core.mesh import host_of, link_between
from streamtwin.core.metrics import emitted_chunks
from streamtwin.core.plan import Plan
from streamtwin.core.records import Records
from streamtwin.core.scenario import Scenario
from streamtwin.core.scenario_file import check_scenario, parse_scenario
from streamtwin.sim.simulate import simulate

runs = settings(deadline=None)
H100, ADA = {"gpu": "h100-sxm"}, {"gpu": "rtx4090"}


def last_s(records: Records) -> list[float]:
    return [chunk.emitted_s for chunk in emitted_chunks(records)]


def cards(count: int, **card: object) -> list[dict]:
    return [{**card, "count": count}]


@given(
    st.integers(1, 4),
    st.sampled_from([[4], [1, 3], [2, 1, 1]]),
    st.sampled_from([(), (0.8, 1.0, 1.3)]),
    st.sampled_from(["sdv2", "overlap"]),
    st.sampled_from(["even", "optimal"]),
)
@runs
def test_a_fleet_of_equal_cards_is_the_number_of_them(steps, counts, factors, protocol, policy):
    latency = RowLatency(factors=factors)
    asked = {"steps": steps, "protocol": protocol, "partition": {"policy": policy}}
    entries = [{**H100, "count": count} for count in counts]
    found = []
    for gpus in (4, entries):
        data = {"deployment": {**asked, "gpus": gpus}, "workload": {"chunks": 12}}
        scenario = check_scenario(data, "test")
        layout = scenario.deployment
        draft = make_plan(gpus=4) if gpus == 4 else make_plan(gpus=entries)
        fleet = latency if gpus == 4 else replace(fleet_of(draft, latency), layout=layout)
        found.append(simulate(lay_out(scenario, lambda model=fleet: model), fleet))
    assert found[0].spans == found[1].spans
    assert found[0].chunks == found[1].chunks
    assert found[0].info.provenance == found[1].info.provenance


@given(
    st.integers(2, 4),
    st.integers(0, 3),
    st.integers(1, 3),
    st.sampled_from(["sdv2", "overlap"]),
    st.floats(1, 3),
)
@runs
def test_a_faster_card_is_never_later(gpus, place, steps, protocol, factor):
    plan = make_plan(gpus=gpus, steps=steps, protocol=protocol, chunks=16)
    slow = RowLatency(vae_s=0.03)
    fast = RowLatency(0.001 / factor, 0.002 / factor, 0.003 / factor, 0.03 / factor)
    models = [slow] * gpus
    before = last_s(simulate(plan, fleet_of(plan, *models)))
    models[place % gpus] = fast
    after = last_s(simulate(plan, fleet_of(plan, *models)))
    assert all(new <= old + 1e-9 for new, old in zip(after, before, strict=True))


@given(st.sampled_from(["infiniband-ndr400", "ethernet-100g", "ethernet-25g"]), st.integers(1, 3))
@runs
def test_a_link_of_less_bandwidth_is_never_faster(name, gpus):
    def emitted(link: str) -> list[float]:
        plan = make_plan(gpus=gpus + 1, links={"cards": link}, chunks=12)
        return last_s(simulate(plan, fleet_of(plan, RowLatency())))

    better = emitted("nvlink4")
    assert all(fast <= slow + 1e-9 for fast, slow in zip(better, emitted(name), strict=True))


def test_a_hop_takes_the_link_that_the_scenario_names_and_else_the_profiles() -> None:
    plan = make_plan(
        gpus=4,
        hosts=[2, 2],
        links={"hosts": "ethernet-100g", "pairs": {"3-0": "infiniband-ndr400"}},
    )
    layout = plan.scenario.deployment
    assert [host_of(layout, rank) for rank in range(4)] == [0, 0, 1, 1]
    assert link_between(layout, (), 0, 1) is None
    assert link_between(layout, (), 1, 2) == catalog.link("ethernet-100g")
    assert link_between(layout, (), 3, 0) == catalog.link("infiniband-ndr400")
    latency = RowLatency()
    records = simulate(plan, fleet_of(plan, latency))
    for rank, name in ((2, "ethernet-100g"), (0, "infiniband-ndr400"), (1, None), (3, None)):
        hops = [s for s in records.spans if (s.rank, s.kind) == (rank, "hop")]
        assert hops
        for hop in hops:
            link = None if name is None else catalog.link(name)
            own_s = 0.001 + latency.byte_s * hop.size_bytes
            expected_s = own_s if link is None else link.hop_s(hop.size_bytes)
            assert hop.seconds == pytest.approx(expected_s, rel=1e-9)
    assert (
        "hop assumed"
        in simulate(
            plan,
            fleet_of(plan, RowLatency(provenance=replace(latency.provenance, kind="measured"))),
        ).info.provenance["service_times"]
    )


def test_cards_of_two_kinds_on_a_host_meet_on_the_slower_ones_link() -> None:
    plan = make_plan(gpus=[{**H100, "count": 2}, ADA])
    layout, known = plan.scenario.deployment, fleet_of(plan, RowLatency()).cards
    assert (layout.gpus, plan.ranks) == (3, 3)
    assert link_between(layout, known, 0, 1) is None
    slower = catalog.link(catalog.gpu("rtx4090").link)
    assert link_between(layout, known, 1, 2) == link_between(layout, known, 2, 0) == slower


def mixed(**asked: object) -> Plan:
    data = {"deployment": {"gpus": [H100, ADA], **asked}, "workload": {"chunks": 12}}
    scenario: Scenario = check_scenario(data, "test")
    slow = RowLatency(0.001, 0.004, 0.006)
    return lay_out(scenario, lambda: fleet_of(make_plan(gpus=[H100, ADA]), RowLatency(), slow))


def test_a_partition_gives_the_slower_card_fewer_blocks() -> None:
    assert [len(stage.blocks) for stage in mixed().stages] == [3, 3]
    optimal = mixed(partition={"policy": "optimal"})
    assert [len(stage.blocks) for stage in optimal.stages] == [4, 2]
    costs = stage_costs(optimal, fleet_of(optimal, RowLatency(), RowLatency(0.001, 0.004, 0.006)))
    assert costs.slower == pytest.approx((1.0, 2.0))


def test_what_a_fleet_says_of_itself_is_as_sure_as_its_worst_card() -> None:
    plan = make_plan(gpus=[H100, ADA])
    told = RowLatency().provenance
    sure, unsure = (replace(told, kind=kind, source=kind) for kind in ("measured", "derived"))
    fleet = fleet_of(plan, RowLatency(provenance=sure), RowLatency(provenance=unsure))
    assert fleet.provenance.kind == "derived"
    assert fleet.provenance.source == "measured (measured); derived (derived)"
    assert simulate(plan, fleet).info.provenance["service_times"].startswith("derived; ")


def test_records_hold_a_fleet_that_reads_back() -> None:
    plan = make_plan(gpus=[{**H100, "count": 2}, ADA])
    told = simulate(plan, fleet_of(plan, RowLatency())).info.scenario
    assert told["deployment"]["gpus"] == 3
    assert check_scenario(dict(told), "records") == plan.scenario


CHUNKS = "workload: {chunks: 12}"


@pytest.mark.parametrize(
    ("deployment", "parts"),
    [
        ("gpus: [{gpu: h101}]", ["deployment.gpus.0.gpu = 'h101'", "h100-sxm"]),
        ("gpus: []", ["deployment.gpus = []", "{gpu, count}"]),
        ("gpus: [{gpu: l40s, count: 0}]", ["deployment.gpus.0.count = 0", "greater than or equal"]),
        ("gpus: [{card: l40s}]", ["deployment.gpus.0.gpu", "an entry has gpu, count, profile"]),
        ("gpus: [{gpu: l40s, count: 7}]", ["deployment.gpus = 7: tiny has 6 blocks"]),
        ("gpus: [{gpu: l40s, count: 65}]", ["count = 65", "less than or equal to 64"]),
        ("gpus: 2\n  fleet: [{gpu: l40s}]", ["deployment.gpus = 2", "has 1 cards"]),
        ("gpus: [{gpu: l40s}]\n  fleet: [{gpu: l40s}]", ["deployment.fleet another one"]),
        ("gpus: 3\n  hosts: [2, 2]", ["hosts = [2, 2] has 4 ranks", "gpus = 3"]),
        ("gpus: 3\n  hosts: [3, 0]", ["deployment.hosts.1 = 0"]),
        ("gpus: 3\n  hosts: [2, 1]", ["deployment.links.hosts", "infiniband-ndr400"]),
        ("gpus: 2\n  links: {cards: string}", ["links.cards = 'string'", "one of", "nvlink4"]),
        ("gpus: 2\n  links: {pairs: {0-5: nvlink4}}", ["pairs.0-5", "numbered 0 to 1"]),
        ("gpus: 2\n  links: {pairs: {a-b: nvlink4}}", ["links.pairs.a-b"]),
        ("replicas: 0", ["deployment.replicas = 0", "greater than or equal to 1"]),
        ("router: random", ["router = 'random'", "round_robin, least_sessions"]),
        ("weights: shared", ["'sharded' or 'replicated'"]),
    ],
)
def test_deployments_that_cannot_be_are_refused_with_the_reason(deployment, parts) -> None:
    with pytest.raises(ScenarioError) as error:
        parse_scenario(f"deployment:\n  {deployment}\n{CHUNKS}\n", "file.yaml")
    for part in (*parts, "file.yaml"):
        assert part in str(error.value)
