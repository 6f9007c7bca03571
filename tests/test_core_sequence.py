"""Which deployments can share their passes, how ranks lie over stages, and what is refused."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from builders import make_plan
from streamtwin.core.errors import ScenarioError
from streamtwin.core.memory import rank_memory
from streamtwin.core.run_info import run_info
from streamtwin.core.sequence import check_split, stage_members
from streamtwin.core.vae_layout import decoder_half, encoder_half

WAN = {"model": "wan2.1-1.3b", "vae": "wan2.1", "resolution": [480, 832]}


@given(st.integers(1, 64), st.integers(1, 64), st.sampled_from(["ulysses", "ring"]))
def test_stages_have_equally_many_members_or_are_refused(gpus, members, parallelism):
    if gpus % members == 0:
        assert stage_members(parallelism, gpus, members) == members
    else:
        with pytest.raises(ScenarioError, match=rf"sequence_ranks = {members} .*gpus = {gpus}"):
            stage_members(parallelism, gpus, members)
    assert stage_members(parallelism, gpus, None) == gpus


@given(st.integers(1, 64), st.integers(1, 64))
def test_a_stage_of_a_pipeline_is_one_rank(gpus, members):
    assert stage_members("pipeline", gpus, None) == 1
    if members > 1:
        with pytest.raises(ScenarioError, match="= ulysses or ring"):
            stage_members("pipeline", gpus, members)


@given(
    st.sampled_from(["ulysses", "ring"]),
    st.integers(1, 12),
    st.integers(1, 5),
    st.integers(1, 2000),
    st.integers(1, 48),
)
def test_what_is_refused_names_only_numbers_that_are_taken(
    parallelism, members, lanes, tokens, heads
):
    try:
        check_split(parallelism, lanes, members, tokens, heads)
    except ScenarioError as error:
        legal = [int(number) for number in str(error).rpartition("one of ")[2].split(", ")]
        assert members not in legal
        for number in legal:
            assert members * lanes % number == 0
            check_split(parallelism, members * lanes // number, number, tokens, heads)
    else:
        assert tokens % members == 0
        assert parallelism == "ring" or heads % members == 0


@pytest.mark.parametrize(
    ("changes", "parts"),
    [
        ({"gpus": 3, "parallelism": "ulysses"}, ["= 3", "2 heads", "one of 1"]),
        ({"gpus": 4, "parallelism": "ulysses"}, ["= 4", "2 heads", "one of 1, 2"]),
        ({"gpus": 5, "parallelism": "ring"}, ["= 5", "96 tokens", "one of 1"]),
        ({"gpus": 6, "parallelism": "ring", "sequence_ranks": 4}, ["= 4", "one of 1, 2, 3, 6"]),
        ({"gpus": 2, "sequence_ranks": 2}, ["= 2", "ulysses or ring"]),
        ({"gpus": 2, "parallelism": "mesh"}, ["= 'mesh'", "'pipeline', 'ulysses' or 'ring'"]),
        (
            {"gpus": 6, "parallelism": "ring", "sequence_ranks": 3, "vae_placement": "dedicated"},
            ["gpus = 6 less the 2 ranks of the VAE", "one of 1, 2, 4"],
        ),
        ({"gpus": 14, "parallelism": "ring", "sequence_ranks": 2}, ["gpus = 14", "at most 12"]),
        (
            {"gpus": 4, "parallelism": "ring", "sequence_ranks": 2, "partition": {"blocks": [6]}},
            ["[6]", "2 counts"],
        ),
        (
            {"gpus": 2, "parallelism": "ring", "partition": {"policy": "optimal"}},
            ["policy = 'optimal'", "needs a latency profile"],
        ),
    ],
)
def test_a_deployment_that_cannot_share_is_answered_with_the_choices(changes, parts):
    with pytest.raises(ScenarioError) as error:
        make_plan(**changes)
    for part in parts:
        assert part in str(error.value)


@pytest.mark.parametrize(
    ("gpus", "members", "leaders", "blocks"),
    [
        (2, 2, [0], [6]),
        (4, 2, [0, 2], [3, 3]),
        (9, 3, [0, 3, 6], [2, 2, 2]),
        (4, 1, [0, 1, 2, 3], [2, 2, 1, 1]),
    ],
)
def test_rank_r_is_member_r_mod_g_of_stage_r_div_g(gpus, members, leaders, blocks):
    plan = make_plan(gpus=gpus, parallelism="ring", sequence_ranks=members)
    assert (plan.ranks, plan.lanes, plan.members) == (gpus, len(blocks), members)
    assert [stage.rank for stage in plan.stages] == leaders
    assert [len(stage.blocks) for stage in plan.stages] == blocks
    for rank in range(gpus):
        stage, led = plan.stage_of(rank), plan.stages[rank // members]
        assert (stage.rank, stage.blocks, stage.first) == (rank, led.blocks, led.first)
        leads = rank % members == 0
        for end in ("last", "encodes", "decodes"):
            assert getattr(stage, end) == (getattr(led, end) and leads)
    info = run_info(plan, "measured", {}, [{}] * gpus)
    assert [one.rank for one in info.ranks] == list(range(gpus))
    assert info.lanes == len(blocks)


def test_ranks_of_the_vae_stand_before_and_behind_the_stages_of_members():
    plan = make_plan(gpus=8, parallelism="ring", sequence_ranks=3, vae_placement="dedicated")
    assert (plan.ranks, plan.lanes, plan.members) == (8, 3, 3)
    assert [stage.rank for stage in plan.stages] == [0, 1, 4, 7]
    roles = [
        (stage.encodes, len(stage.blocks), stage.last) for stage in map(plan.stage_of, range(8))
    ]
    assert roles == [
        *((True, 0, False), (False, 3, False), (False, 3, False), (False, 3, False)),
        *((False, 3, True), (False, 3, False), (False, 3, False), (False, 0, False)),
    ]
    assert [plan.stage_of(rank).rank for rank in range(8)] == list(range(8))
    assert [(edge.sender, edge.receiver) for edge in plan.edges] == [(0, 1), (1, 4), (4, 0), (4, 7)]
    assert [bool(plan.inward(rank)) for rank in range(8)] == [
        *(True, True, False, False, True, False, False, True)
    ]


def test_members_change_neither_warm_up_nor_what_is_left_in_the_lanes():
    alone = make_plan(gpus=3)
    shared = make_plan(gpus=6, parallelism="ring", sequence_ranks=2)
    assert shared.warmup_chunks == alone.warmup_chunks
    assert shared.tail_chunks == alone.tail_chunks


@pytest.mark.parametrize("parallelism", ["ulysses", "ring"])
@pytest.mark.parametrize("members", [2, 4])
def test_members_divide_keys_and_activations_and_repeat_weights(parallelism, members):
    alone = make_plan(**WAN)
    plan = make_plan(**WAN, gpus=members, parallelism=parallelism)
    whole = rank_memory(alone, alone.stages[0])
    lead, *others = (rank_memory(plan, plan.stage_of(member)) for member in range(members))
    assert all(other == others[0] for other in others)
    for held in (lead, others[0]):
        assert members * held["kv"] == whole["kv"]
        assert members * held["activations"] == whole["activations"]
        assert held["cross_kv"] == whole["cross_kv"]
    assert lead["weights"] == whole["weights"]
    cells = plan.model.latent_channels * plan.model.patch**2
    head = plan.model.dim * cells + cells + 2 * plan.model.dim
    vae = encoder_half(plan.vae).parameters + decoder_half(plan.vae).parameters
    assert lead["weights"] - others[0]["weights"] == plan.itemsize * (head + vae)
    assert (lead["vae"], others[0]["vae"]) == (whole["vae"], 0)
    assert whole["communication"] == 0
    share = plan.max_rows * 1560 * plan.model.dim * plan.itemsize // members  # of a hidden state
    sent = 3 if parallelism == "ulysses" else 1 + members
    assert others[0]["communication"] == 2 * sent * share
    assert lead["communication"] == 2 * (sent + members) * share
    assert sum(lead.values()) > sum(others[0].values())
