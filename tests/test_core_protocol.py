"""Roles, links and bytes of every protocol and placement."""

import pytest

from builders import FlatLatency, make_plan
from streamtwin.core.costs import stage_costs
from streamtwin.core.edges import Edge
from streamtwin.core.errors import ScenarioError
from streamtwin.core.layout import lay_out
from streamtwin.core.memory import rank_memory
from streamtwin.core.plan import HEADER_BYTES
from streamtwin.core.ring import Item, Row
from streamtwin.core.scenario_file import check_scenario


def edges(**deployment) -> tuple[Edge, ...]:
    return make_plan(**deployment).edges


def test_links_carry_what_their_receiver_needs() -> None:
    assert edges() == ()
    assert edges(gpus=2) == (Edge(0, 1, True), Edge(1, 0, True))
    assert edges(gpus=2, wrap_activations=False)[-1] == Edge(1, 0, False)
    assert edges(gpus=2, protocol="overlap")[-1] == Edge(1, 0, False)
    assert edges(gpus=2, protocol="overlap", wrap_activations=True)[-1] == Edge(1, 0, True)
    assert edges(gpus=4, decode="before_send")[-1] == Edge(3, 0, True, depth=3)
    assert edges(gpus=4, vae_placement="dedicated") == (
        Edge(0, 1, False),
        Edge(1, 2, True),
        Edge(2, 0, False),
        Edge(2, 3, False, results=True),
    )


def item(*steps: int, ordinal: int = 9) -> Item:
    return Item(ordinal, tuple(Row(0, ordinal - s, ordinal - s, s) for s in steps), leaving=(0,))


def test_results_are_the_rows_that_are_done() -> None:
    assert item(0, 1).results(2) == Item(9, (Row(0, 8, 8, 1),), (0,))
    assert item(0).results(2) is None


def test_a_hop_has_the_bytes_of_what_is_carried() -> None:
    plan = make_plan(gpus=4, vae_placement="dedicated", chunk_latents=2)
    entry, middle, wrap, results = plan.edges
    size = plan.scenario.size
    latents = 2 * size.latent_bytes(16, 4)
    hidden = 2 * size.tokens * plan.model.dim * 4
    both = item(0, 1)
    assert plan.hop(both, entry).size_bytes == HEADER_BYTES + 2 * latents
    assert plan.hop(both, middle).size_bytes == HEADER_BYTES + 2 * (latents + hidden)
    assert plan.hop(both).size_bytes == plan.hop(both, middle).size_bytes
    assert plan.hop(both, wrap).size_bytes == HEADER_BYTES + 2 * latents
    assert plan.hop(both, results).size_bytes == HEADER_BYTES + latents
    assert plan.hop(item(0), middle).size_bytes == HEADER_BYTES + latents + hidden


@pytest.mark.parametrize("latents", [1, 2, 3])
@pytest.mark.parametrize(("steps", "stream_batch"), [(1, True), (3, True), (3, False)])
def test_a_message_posted_ahead_has_room_for_every_item(
    steps: int, stream_batch: bool, latents: int
) -> None:
    """The fullest lane, and the first chunk with its extra latent, in one size for all."""
    ahead = make_plan(
        gpus=3, steps=steps, stream_batch=stream_batch, chunk_latents=latents, protocol="overlap"
    )
    asked = make_plan(gpus=3, steps=steps, stream_batch=stream_batch, chunk_latents=latents)
    rows = range(ahead.max_rows)
    for edge in ahead.edges:
        sizes = {ahead.hop(one, edge).size_bytes for one in (item(*rows), item(0))}
        first = asked.hop(item(0, ordinal=0), edge).size_bytes
        assert sizes == {max(first, asked.hop(item(*rows), edge).size_bytes)}


def test_a_vae_of_its_own_leaves_the_blocks_to_the_other_ranks() -> None:
    plan = make_plan(gpus=5, vae_placement="dedicated")
    assert [len(stage.blocks) for stage in plan.stages] == [0, 2, 2, 2, 0]
    assert [s.encodes for s in plan.stages] == [True, False, False, False, False]
    assert [s.first for s in plan.stages] == [False, True, False, False, False]
    assert [s.last for s in plan.stages] == [False, False, False, True, False]
    assert [s.decodes for s in plan.stages] == [False, False, False, False, True]
    latency = FlatLatency()
    assert stage_costs(plan, latency).fixed_s == pytest.approx((latency.hop_s,) * 3)
    edge = stage_costs(make_plan(gpus=2, protocol="overlap"), latency)
    assert edge.fixed_s == pytest.approx((latency.encode_s, latency.decode_s))


def test_a_partition_counts_the_ranks_that_hold_blocks() -> None:
    own = {"vae_placement": "dedicated", "gpus": 4}
    plan = make_plan(**own, partition={"blocks": [1, 5]})
    assert [stage.blocks for stage in plan.stages] == [range(0), range(1), range(1, 6), range(0)]
    with pytest.raises(ScenarioError, match="give 2 counts"):
        make_plan(**own, partition={"blocks": [1, 1, 2, 2]})
    assert make_plan(gpus=8, vae_placement="dedicated").ranks == 8
    with pytest.raises(ScenarioError, match=r"gpus = 9: tiny has 6 blocks .* at most 8"):
        make_plan(gpus=9, vae_placement="dedicated")


def test_memory_counts_every_buffer() -> None:
    def held(**deployment) -> list[int]:
        plan = make_plan(gpus=3, **deployment)
        return [rank_memory(plan, stage)["communication"] for stage in plan.stages]

    plan = make_plan(gpus=3)
    full = plan.hop(item(0, 1)).size_bytes
    small = make_plan(gpus=3, wrap_activations=False).hop(item(0, 1), Edge(2, 0, False)).size_bytes
    assert held() == [2 * full] * 3
    assert held(wrap_activations=False) == [full + small, 2 * full, full + small]
    assert held(protocol="overlap") == [full + 2 * small, 3 * full, 2 * full + small]
    assert held(decode="before_send") == [2 * full, 2 * full, 3 * full]


def test_large_models_fit_where_the_vae_has_ranks_of_its_own() -> None:
    data = {"model": "wan2.1-14b", "vae": "wan2.1", "workload": {"chunks": 3}}
    own = {**data, "deployment": {"gpus": 4, "vae_placement": "dedicated"}}
    plan = lay_out(check_scenario(own, "x"), itemsize=2)
    weights = [rank_memory(plan, stage)["weights"] for stage in plan.stages]
    assert weights[0] + weights[-1] == 2 * plan.vae.parameters
    assert weights[1] == pytest.approx(weights[2], rel=0.01)
