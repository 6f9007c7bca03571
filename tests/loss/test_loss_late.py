"""A rank dies when nothing is left to do: that changes nothing, and is told."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from loss_cases import FREE, STATES, dying, shapes

from builders import FlatLatency, latencies, make_plan
from streamtwin.core.metrics import compute_metrics
from streamtwin.core.records import Decision, Records
from streamtwin.core.recovery import FAMILY
from streamtwin.reports.tables import metrics_tables
from streamtwin.sim.replicas import simulate_deployment
from streamtwin.sim.simulate import simulate


def told(records: Records) -> list[Decision]:
    return [one for one in records.decisions if one.family == FAMILY]


@given(shapes(), latencies(), STATES, st.floats(0.5, 2.0))
@settings(deadline=None, max_examples=40)
def test_a_death_has_an_effect_as_long_as_there_is_work(
    shape: dict[str, Any], latency: FlatLatency, state: str, share: float
) -> None:
    calm = simulate(make_plan(**shape), latency)
    ends_s = max(span.ended_s for span in calm.spans)
    at_s = share * ends_s
    records = simulate(dying(shape, at_s=at_s, state=state), latency)
    events = told(records)
    if at_s <= ends_s:
        assert events[0].chose == "died"
        return
    (event,) = events
    assert (event.time_s, event.rank, event.chose) == (at_s, 0, "no_effect")
    assert ends_s <= event.saw["ended_s"] <= at_s
    assert (records.spans, records.chunks) == (calm.spans, calm.chunks)
    assert [one for one in records.decisions if one is not event] == list(calm.decisions)


def test_metrics_and_their_table_tell_of_it() -> None:
    shape = {"gpus": 2, "chunks": 20}
    deaths = [{**FREE, "rank": rank, "at_s": at_s} for rank, at_s in ((0, 1.0), (1, 90.0))]
    metrics = compute_metrics(
        simulate(make_plan(**shape, trouble={"lost_ranks": deaths}), FlatLatency())
    )
    first, second = metrics["recoveries"]
    assert (first["rank"], second["rank"]) == (0, 1)
    assert first["resumed_s"] == 1.0
    assert {name: second[name] for name in ("died_s", "detected_s", "resumed_s", "recover_s")} == {
        "died_s": 90.0, "detected_s": None, "resumed_s": None, "recover_s": None,
    }  # fmt: skip
    cells = [
        cell
        for table in metrics_tables(metrics)
        for column in table.columns
        for cell in map(str, column.cells)
    ]
    assert "rank 1 died" in cells
    assert "at 90.00 s, when its ring had nothing left to do: no effect" in cells


@pytest.mark.parametrize("rank", [4, 5])
def test_a_copy_without_sessions_has_nothing_to_do(rank: int) -> None:
    deaths = {"lost_ranks": [{**FREE, "rank": rank, "at_s": 0.1}]}
    shape = {"gpus": 2, "replicas": 3, "sessions": 2, "chunks": 8}
    records = simulate_deployment(make_plan(**shape, trouble=deaths), FlatLatency())
    assert [(one.rank, one.chose) for one in told(records)] == [(rank, "no_effect")]
    calm = simulate_deployment(make_plan(**shape), FlatLatency())
    assert records.spans == calm.spans
