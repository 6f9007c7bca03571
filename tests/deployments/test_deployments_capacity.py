"""What ranks hold beside what their cards have, and the deployments and baselines that ship."""

from dataclasses import replace

import pytest
from deployment_cases import RowLatency
from hypothesis import given, settings
from hypothesis import strategies as st

from builders import FlatLatency, make_plan, stream
from streamtwin.cli.checks import check_simulated_only
from streamtwin.core.capacity import (
    UNBOUNDED,
    check_capacity,
    most_sessions,
    need_bytes,
    sessions_at_once,
    sessions_of_rank,
)
from streamtwin.core.errors import CalibrationError, ScenarioError
from streamtwin.core.library import find_scenario, shipped_names
from streamtwin.core.long_chunks import LongChunks
from streamtwin.core.memory import rank_memory, with_room
from streamtwin.core.metrics import compute_metrics
from streamtwin.core.moves import block_bytes
from streamtwin.core.ops import Op, VaeDecode
from streamtwin.sim.simulate import simulate

WAN = {"model": "wan2.1-14b", "vae": "wan2.1", "resolution": [480, 832]}


@given(st.integers(1, 4), st.integers(0, 40), st.booleans(), st.booleans())
@settings(deadline=None)
def test_as_many_sessions_fit_as_are_said_and_one_more_does_not(gpus, extra, prompts, dedicated):
    asked = {"vae_placement": "dedicated"} if dedicated else {}
    visits = [{"prompts": {0: "a", 3: "b"}}] if prompts else []
    plan = make_plan(gpus=gpus + 2 * dedicated, visits=visits, **asked)
    capacity = need_bytes(plan, 0, 1) + extra * 2**20
    for rank in range(plan.ranks):
        fits = sessions_of_rank(plan, rank, capacity)
        if fits == -1:
            assert need_bytes(plan, rank, 0) > capacity
        elif fits < UNBOUNDED:
            assert need_bytes(plan, rank, fits) <= capacity < need_bytes(plan, rank, fits + 1)


def test_the_fullest_rank_bounds_the_sessions() -> None:
    plan = make_plan(gpus=2)
    assert most_sessions(plan) is None
    sizes = tuple(float(need_bytes(plan, rank, count)) for rank, count in ((0, 5), (1, 3)))
    known = replace(plan, capacity_bytes=sizes)
    assert most_sessions(known) == 3
    metrics = compute_metrics(simulate(known, FlatLatency()))
    assert [rank["most_sessions"] for rank in metrics["ranks"]] == [5, 3]
    assert [rank["capacity_bytes"] for rank in metrics["ranks"]] == list(sizes)


def test_what_does_not_fit_is_refused_with_the_numbers_of_every_rank() -> None:
    plan = replace(make_plan(**WAN, gpus=2, steps=2), capacity_bytes=(20e9, 80e9))
    with pytest.raises(ScenarioError) as error:
        simulate(plan, FlatLatency())
    need = sum(rank_memory(plan, plan.stages[0]).values()) / 2**20
    for part in (f"rank 0 needs {need:,.0f} MiB", "weights", "has 19,073", "gpus ="):
        assert part in str(error.value)
    assert "rank 1 needs" not in str(error.value)


def test_it_says_how_many_ranks_or_sessions_would_fit() -> None:
    small = replace(make_plan(**WAN, gpus=2, steps=2), capacity_bytes=(24e9,) * 2)
    with pytest.raises(ScenarioError, match=r"deployment.gpus = (\d+) would fit") as error:
        check_capacity(small)
    ranks = int(str(error.value).rpartition("gpus = ")[2].split()[0])
    for count, fits in ((ranks, True), (ranks - 1, False)):
        plan = replace(make_plan(**WAN, gpus=count, steps=2), capacity_bytes=(24e9,) * count)
        if fits:
            check_capacity(plan)
        else:
            with pytest.raises(ScenarioError):
                check_capacity(plan)
    several = make_plan(sessions=4)
    several = replace(several, capacity_bytes=(float(need_bytes(several, 0, 2)),))
    with pytest.raises(ScenarioError, match=r"4 session\(s\) do not fit.*room for 2 session"):
        check_capacity(several)
    check_capacity(several, 2)


def test_sessions_that_never_meet_need_room_for_one() -> None:
    length_s = 30 * 4 / 16
    visits = [{"join_s": start * (length_s + 0.1)} for start in range(3)]
    apart = make_plan(sessions=3, visits=visits, source_fps=16)
    together = make_plan(sessions=3, source_fps=16)
    assert sessions_at_once(apart.scenario) == 1
    assert sessions_at_once(together.scenario) == 3
    fits_one = replace(apart, capacity_bytes=(float(need_bytes(apart, 0, 1)),))
    simulate(fits_one, FlatLatency())
    with pytest.raises(ScenarioError, match="3 session"):
        simulate(replace(together, capacity_bytes=fits_one.capacity_bytes), FlatLatency())


def test_replicated_weights_are_those_of_the_whole_model_on_every_rank() -> None:
    alone = make_plan(gpus=1)
    model = rank_memory(alone, alone.stages[0])["weights"]
    plan = make_plan(gpus=3, weights="replicated", vae="tiny")
    held = [rank_memory(plan, stage)["weights"] for stage in plan.stages]
    sharded = make_plan(gpus=3)
    split = [rank_memory(sharded, stage)["weights"] for stage in sharded.stages]
    assert all(whole > part for whole, part in zip(held, split, strict=True))
    assert held[1] < model  # all blocks, and no VAE
    assert held[0] + held[2] - held[1] == model


def test_weights_that_every_rank_holds_stay_when_a_block_moves() -> None:
    sharded, replicated = (make_plan(gpus=2, weights=one) for one in ("sharded", "replicated"))
    weights = sharded.model.block_parameters * sharded.itemsize
    assert block_bytes(sharded, 2, 1) - block_bytes(replicated, 2, 1) == weights


def test_each_rank_has_room_for_the_blocks_of_its_own_memory() -> None:
    plan = make_plan(
        gpus=3, partition={"policy": "optimal", "blocks": [2, 2, 2], "rebalance": "continuous"}
    )
    need = [need_bytes(plan, rank, 1) for rank in range(3)]
    block = need_bytes(make_plan(gpus=2, partition={"blocks": [3, 3]}), 0, 1) - need_bytes(
        make_plan(gpus=2, partition={"blocks": [2, 4]}), 0, 1
    )
    assert with_room(plan, [need[0], need[1] + block, need[2] + 2 * block]).room == (2, 3, 4)
    assert with_room(plan, max(need)).room == with_room(plan, [max(need)] * 3).room


@pytest.mark.parametrize("latents", [1, 3, 20])
def test_a_chunk_that_attends_itself_alone_attends_its_own_frames(latents: int) -> None:
    plan = make_plan(chunk_latents=latents, context="chunk", chunks=4)
    tokens = plan.scenario.size.tokens
    records = simulate(plan, FlatLatency())
    assert len([chunk for chunk in records.chunks if chunk.emitted_s is not None]) == 4
    items = {item.rows[0].ordinal: item for item in stream(plan, 3)}
    assert plan.attended_tokens(items[0]) == tokens * (latents + 1)
    assert plan.attended_tokens(items[1]) == tokens * latents
    assert rank_memory(plan, plan.stages[0])["kv"] == 0


def test_long_chunks_without_that_still_have_to_fit_the_window() -> None:
    with pytest.raises(ScenarioError, match="does not fit"):
        make_plan(chunk_latents=20)


class ShortChunks(RowLatency):
    """Knows the VAE for the shortest chunks only."""

    def predict(self, op: Op):
        if isinstance(op, VaeDecode) and op.latents > 1 + op.first:
            raise CalibrationError("nothing was measured of long chunks")
        return super().predict(op)


def test_the_vae_of_a_long_chunk_takes_what_its_latents_take() -> None:
    op = VaeDecode("wan2.1", 480, 832, 21, first=True)
    with pytest.raises(CalibrationError):
        ShortChunks().predict(op)
    found = LongChunks(ShortChunks()).predict(op)
    assert found.mean_s == pytest.approx(0.02 + 19 * 0.02)
    assert (found.provenance.kind, found.provenance.extrapolated) == ("derived", True)
    short = replace(op, latents=2)
    assert LongChunks(ShortChunks()).predict(short) == ShortChunks().predict(short)
    plan = make_plan(chunk_latents=20, context="chunk", chunks=4, extrapolate=True)
    assert simulate(plan, ShortChunks()).info.provenance["extrapolated"] == "true"


BASELINES = [name for name in shipped_names() if name.startswith("baseline-")]


@pytest.mark.parametrize(
    ("override", "key"),
    [
        ("deployment.replicas=2", "deployment.replicas = 2"),
        ("deployment.context=chunk", "deployment.context = chunk"),
        ("deployment.weights=replicated", "deployment.weights = replicated"),
        ("deployment.gpus=[{gpu: l40s}]", "deployment.gpus = a list of cards"),
    ],
)
def test_what_only_the_simulator_does_is_refused_by_a_run(override: str, key: str) -> None:
    with pytest.raises(ScenarioError) as error:
        check_simulated_only(find_scenario("cpu-tiny", (override,)), "cpu")
    assert key in str(error.value)
    assert "simulated only" in str(error.value)
    check_simulated_only(find_scenario("cpu-tiny"), "cpu")


def test_a_fleet_runs_where_there_are_cards() -> None:
    check_simulated_only(find_scenario("cpu-tiny", ("deployment.gpus=[{gpu: l40s}]",)), "cuda")


def test_there_is_a_baseline_of_every_kind_that_users_compare_with() -> None:
    assert [
        f"baseline-{kind}"
        for kind in (
            *("decoupled", "image-stream-batch", "naive-pipeline", "sequence-parallel"),
            *("sequential", "whole-clip"),
        )
    ] == BASELINES
    for name in BASELINES:
        assert find_scenario(name).question.endswith("?")
