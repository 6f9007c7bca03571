"""FLOPs and bytes agree with the published tables to every digit that is printed there."""

import pytest

from builders import make_plan
from streamtwin.core import catalog
from streamtwin.core.layout import lay_out
from streamtwin.core.memory import rank_memory
from streamtwin.core.plan import HEADER_BYTES
from streamtwin.core.ring import Item, Row
from streamtwin.core.row_costs import row_costs
from streamtwin.core.scenario_file import check_scenario
from streamtwin.core.specs import Resolution

SMALL, LARGE = "wan2.1-1.3b", "wan2.1-14b"
WIDE, SQUARE = (480, 832), (512, 512)
HEADINGS = (
    "tokens", "attended_tokens", "block_flops", "attention_flops", "flops",
    "block_kv_bytes", "kv_bytes", "activation_bytes", "hop_bytes",
)  # fmt: skip
UNITS = (1, 1, 1e9, 1e9, 1e12, 1e6, 1e9, 1e6, 1e6)
PRINTED = {
    (SMALL, WIDE): ("1560", "9360", "224.7", "89.7", "6.74", "57.5", "1.73", "4.79", "4.99"),
    (SMALL, SQUARE): ("1024", "6144", "127.2", "38.7", "3.82", "37.7", "1.13", "3.15", "3.28"),
    (LARGE, WIDE): ("1560", "9360", "1247.8", "299.0", "49.9", "191.7", "7.67", "15.97", "16.17"),
    (LARGE, SQUARE): ("1024", "6144", "751.6", "128.8", "30.1", "125.8", "5.03", "10.49", "10.62"),
}
"""The reference's tables of costs a row, GFLOP, TFLOP, MB and GB, as printed.

But for 128.8, where it has 128.9: 4 * 1024 * 6144 * 5120 is 128.849e9.
"""


@pytest.mark.parametrize(("model", "resolution"), PRINTED, ids=str)
@pytest.mark.parametrize("place", range(len(HEADINGS)), ids=lambda n: HEADINGS[n])
def test_costs_of_a_row_are_the_printed_ones(model, resolution, place):
    costs = row_costs(catalog.model(model), Resolution(*resolution))
    printed = PRINTED[model, resolution][place]
    digits = len(printed.partition(".")[2])
    assert f"{getattr(costs, HEADINGS[place]) / UNITS[place]:.{digits}f}" == printed


@pytest.mark.parametrize(
    ("model", "block", "cross"), [(SMALL, "92.9", "3.15"), (LARGE, "702.8", "10.5")]
)
def test_weights_and_text_of_a_block_are_the_printed_ones(model, block, cross):
    costs = row_costs(catalog.model(model), Resolution(*WIDE))
    assert f"{costs.block_weight_bytes / 1e6:.1f}" == block
    digits = len(cross.partition(".")[2])
    assert f"{costs.block_cross_kv_bytes / 1e6:.{digits}f}" == cross


@pytest.mark.parametrize(("model", "total"), [(SMALL, 1_418_996_800), (LARGE, 14_288_491_584)])
def test_weights_are_all_parameters(model, total):
    assert row_costs(catalog.model(model), Resolution(*WIDE)).weight_bytes == 2 * total


@pytest.mark.parametrize("rows", [1, 2, 4])
@pytest.mark.parametrize(("model", "resolution"), PRINTED, ids=str)
def test_a_hop_carries_its_rows_and_a_header(model, resolution, rows):
    data = {"model": model, "vae": "wan2.1", "resolution": list(resolution)}
    scenario = check_scenario({**data, "workload": {"chunks": 3}, "deployment": {"gpus": 2}}, "x")
    plan = lay_out(scenario, itemsize=2)
    hop = plan.hop(Item(9, tuple(Row(0, 9 - step, 9 - step, step) for step in range(rows))))
    costs = row_costs(catalog.model(model), Resolution(*resolution))
    assert hop.size_bytes == HEADER_BYTES + rows * costs.hop_bytes


def test_the_plan_holds_the_same_cache():
    plan = make_plan(steps=2)
    costs = row_costs(plan.model, plan.scenario.size, itemsize=plan.itemsize)
    assert plan.row_bytes(1) == costs.hop_bytes
    assert rank_memory(plan, plan.stages[0])["kv"] == 2 * costs.kv_bytes
