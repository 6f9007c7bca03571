"""A rank dies: which engine computes it, who refuses it, and what every other question makes of it."""

from dataclasses import replace
from pathlib import Path

import pytest
from loss_cases import FREE, dying

from builders import FlatLatency, make_plan
from streamtwin.cli.checks import check_can_run
from streamtwin.core.errors import ScenarioError
from streamtwin.core.metrics import compute_metrics
from streamtwin.core.recovery import PROVENANCE
from streamtwin.core.scenario_file import check_scenario, parse_scenario
from streamtwin.reports.page import render_run
from streamtwin.reports.perfetto import timeline
from streamtwin.reports.records_file import read_records, write_records
from streamtwin.reports.recovery_words import recovery_rows
from streamtwin.sim.replicas import simulate_deployment
from streamtwin.sim.replications import compare_plans, figures_of, replicate
from streamtwin.sim.screen import screen, walks
from streamtwin.sim.sensitivity import sensitivity
from streamtwin.sim.simulate import simulate
from streamtwin.sim.uncertainty import calibration_intervals

RING = {"gpus": 2, "chunks": 60, "source_fps": 16.0}

SCATTERS = FlatLatency(factors=(0.9, 1.0, 1.1), between_rel_std=0.02)


def test_events_compute_it_and_the_recurrence_says_why_not() -> None:
    plan = dying(RING, at_s=4.0, start_s=1)
    with pytest.raises(
        ScenarioError, match=r"'recurrence' does not apply: trouble.lost_ranks ends"
    ):
        simulate(plan, FlatLatency(), engine="recurrence")
    auto, asked = (simulate(plan, FlatLatency(), engine=engine) for engine in ("auto", "simpy"))
    assert auto.info.provenance["engine"] == "simpy"
    assert auto.info.provenance["recurrence"].startswith("does not apply: trouble.lost_ranks ends")
    assert "recurrence" not in asked.info.provenance
    assert replace(auto, info=asked.info) == asked
    assert "one by one" in str(walks(plan))
    assert make_plan(**RING).scenario.trouble.stands is False


def test_screening_simulates_it() -> None:
    plans = [dying(RING, at_s=4.0, start_s=1), make_plan(**RING)]
    hurt, calm = screen(plans, lambda _: FlatLatency())
    asked = compute_metrics(simulate(plans[0], FlatLatency()))
    assert hurt.figures.latency_p95_s == pytest.approx(asked["latency_s"]["p95"])
    assert hurt.figures.latency_p95_s > calm.figures.latency_p95_s


@pytest.mark.parametrize("state", ["lost", "restored"])
def test_runs_scatter_and_are_compared_with_those_in_which_nothing_happens(state: str) -> None:
    plan = dying(RING, at_s=5.0, start_s=2, state=state)
    values = replicate(plan, SCATTERS, count=4)
    assert values == replicate(plan, SCATTERS, count=4)
    assert len(set(values["latency_s p95"])) == 4
    longer = dying(RING, at_s=5.0, start_s=3, state=state)
    found = compare_plans((plan, longer), (SCATTERS, SCATTERS), count=4)
    # both dice are the same, so only the second more of standing is left
    assert found["latency_s p95"].paired.low > 0
    assert found["latency_s p95"].paired.std < found["latency_s p95"].unpaired.std


def test_what_a_faster_service_brings_and_how_sure_all_is() -> None:
    plan = dying(RING, at_s=5.0, start_s=2, state="restored")
    gains = {one.what: one for one in sensitivity(plan, FlatLatency())}
    assert gains["dit"].latency_p95_s < gains["encode"].latency_p95_s
    found = figures_of(compute_metrics(simulate(plan, SCATTERS)))
    low, high = calibration_intervals(plan, SCATTERS, (), found)["latency_s p95"]
    assert low < found["latency_s p95"] < high


def test_records_pages_and_timelines_show_it(tmp_path: Path) -> None:
    plan = dying({**RING, "gpus": 3}, rank=2, at_s=6.0, start_s=1, state="restored")
    records = simulate(plan, FlatLatency())
    write_records(records, tmp_path / "r")
    assert read_records(tmp_path / "r") == records
    metrics = compute_metrics(records)
    assert metrics == compute_metrics(read_records(tmp_path / "r"))
    rows = recovery_rows(metrics)
    assert rows[0][0] == "rank 2 died"
    assert "at 6.00 s, noticed 6.00, started 7.00" in rows[0][1]
    assert "chunks again; next frame after 1." in rows[1][1]
    page = render_run(records)
    assert "rank 2 died" in page
    assert "was being replaced" in page
    named = [event["name"] for event in timeline({"run": records})["traceEvents"]]
    assert named.count("recovery") >= 6  # a wait and idle time on each rank
    assert records.info.provenance[PROVENANCE].startswith(
        "detect_s, start_s, load_bytes_per_s, res"
    )


def test_a_death_in_each_of_two_copies_at_the_same_time() -> None:
    shape = {**RING, "sessions": 2, "replicas": 2}
    deaths = [{**FREE, "rank": rank, "at_s": 4.0, "start_s": 1} for rank in (1, 2)]
    both, one_dies = (
        make_plan(**shape, trouble={"lost_ranks": dead}) for dead in (deaths, deaths[:1])
    )
    told = simulate_deployment(one_dies, FlatLatency(), engine="auto").info.provenance
    assert told["engine"] == "recurrence, simpy"
    assert "lost_ranks" in told["recurrence"]
    records = simulate_deployment(both, FlatLatency())
    assert [one["rank"] for one in compute_metrics(records)["recoveries"]] == [1, 2]


def test_two_deaths_may_not_overlap() -> None:
    for first_s in (0.0, 4.0):
        deaths = [
            {**FREE, "rank": 0, "at_s": at_s, "start_s": 3} for at_s in (first_s, first_s + 2.5)
        ]
        plan = make_plan(**RING, trouble={"lost_ranks": deaths})
        told = (
            rf"unnamed: .* at_s = {first_s + 2.5:g}: .* already, since {first_s:g} s, when one died"
        )
        with pytest.raises(ScenarioError, match=told):
            simulate(plan, FlatLatency())


MISTAKES = {
    "{rank: 2, at_s: 1}": "lost_ranks.0.rank = 2: with deployment.gpus = 2 ranks are numbered 0 to 1",
    "{rank: -1, at_s: 1}": "trouble.lost_ranks.0.rank",
    "{rank: 0, at_s: -1}": "trouble.lost_ranks.0.at_s",
    "{rank: 0}": "trouble.lost_ranks.0.at_s",
    "{rank: 0, at_s: 1, detect_s: -0.1}": "trouble.lost_ranks.0.detect_s",
    "{rank: 0, at_s: 1, start_s: .inf}": "trouble.lost_ranks.0.start_s",
    "{rank: 0, at_s: 1, start_s: 1.0e+17}": "start_s = 1e+17: Input should be less than or equal to",
    "{rank: 0, at_s: 1, load_bytes_per_s: 1.0e-300}": "load_bytes_per_s = 1e-300: Input should be",
    "{rank: 0, at_s: 1, load_bytes_per_s: 0}": "trouble.lost_ranks.0.load_bytes_per_s",
    "{rank: 0, at_s: 1, restore_bytes_per_s: -1}": "trouble.lost_ranks.0.restore_bytes_per_s",
    "{rank: 0, at_s: 1, state: gone}": "'lost' or 'restored'",
}


@pytest.mark.parametrize("text", MISTAKES)
def test_impossible_deaths_are_refused(text: str) -> None:
    with pytest.raises(ScenarioError) as error:
        parse_scenario(f"deployment: {{gpus: 2}}\ntrouble: {{lost_ranks: [{text}]}}", "mine.yaml")
    assert MISTAKES[text] in str(error.value)
    assert "mine.yaml" in str(error.value)


def test_ranks_are_counted_through_all_copies() -> None:
    trouble = "trouble: {lost_ranks: [{rank: 3, at_s: 1}]}"
    text = f"deployment: {{gpus: 2, replicas: 2}}\nworkload: {{chunks: 9}}\n{trouble}"
    assert parse_scenario(text, "mine.yaml").trouble.lost_ranks[0].rank == 3
    with pytest.raises(ScenarioError, match=r"gpus = 2 and replicas = 2 .* 0 to 3"):
        parse_scenario(text.replace("rank: 3", "rank: 4"), "mine.yaml")


@pytest.mark.parametrize(
    "partition", [{"rebalance": "continuous", "policy": "optimal"}, {"schedule": {5: [1, 5]}}]
)
def test_blocks_may_not_be_on_their_way(partition: dict) -> None:
    data = {"deployment": {"gpus": 2, "partition": partition}, "workload": {"chunks": 9}}
    data["trouble"] = {"lost_ranks": [{"rank": 0, "at_s": 1}]}
    with pytest.raises(ScenarioError, match="belong to nobody; let blocks stay"):
        check_scenario(data, "mine.yaml")
    cold = {**data, "trouble": {"cold_start": {}}}
    assert check_scenario(cold, "mine.yaml").trouble.cold_start is not None


def test_a_real_run_refuses_it_and_says_why() -> None:
    plan = dying(RING, at_s=1.0)
    with pytest.raises(ScenarioError, match=r"lost_ranks can be simulated only.*a rank dies"):
        check_can_run(plan.scenario, "cpu")


def test_defaults_are_marked_as_assumed() -> None:
    plan = make_plan(**RING, trouble={"lost_ranks": [{"rank": 1, "at_s": 4.0}]})
    told = simulate(plan, FlatLatency()).info.provenance[PROVENANCE]
    for assumed in ("detect_s = 0.1", "start_s = 10", "load_bytes_per_s = 1e+09"):
        assert f"{assumed} assumed (" in told
    assert "restore_bytes_per_s" not in told  # nothing is restored
    (lost,) = plan.scenario.trouble.lost_ranks
    restored = lost.model_copy(update={"state": "restored"})
    trouble = plan.scenario.trouble.model_copy(update={"lost_ranks": [restored]})
    scenario = plan.scenario.model_copy(update={"trouble": trouble})
    records = simulate(replace(plan, scenario=scenario), FlatLatency())
    assert "restore_bytes_per_s = 2.5e+10 assumed" in records.info.provenance[PROVENANCE]
