"""Moves of blocks are seen in the tables and on the page."""

from rich.console import Console

from builders import FlatLatency, make_plan
from streamtwin.core.metrics import compute_metrics
from streamtwin.reports.page import render_run
from streamtwin.reports.tables import metrics_tables
from streamtwin.sim.simulate import simulate


def test_a_move_is_told_where_people_look() -> None:
    plan = make_plan(gpus=2, chunks=40, partition={"schedule": {20: [5, 1]}})
    records = simulate(plan, FlatLatency())
    console = Console(record=True, width=120)
    for table in metrics_tables(compute_metrics(records)):
        console.print(table)
    text = console.export_text()
    assert "blocks moved behind item 20" in text
    assert "5/1 at" in text
    assert "0 to 4" in text  # the blocks that rank 0 holds at the end
    assert "rebalancing" in text
    assert "blocks moved behind item 20" in render_run(records)


def test_without_moves_nothing_is_told() -> None:
    records = simulate(make_plan(gpus=2, chunks=24), FlatLatency())
    assert compute_metrics(records)["moves"] == []
    assert "blocks moved" not in render_run(records)
