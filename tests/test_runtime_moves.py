"""Blocks that move between real ranks change nothing but the time that things take."""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch

from builders import FlatLatency, make_plan
from streamtwin.core.library import clip_path
from streamtwin.core.memory import rank_memory
from streamtwin.core.plan import Plan
from streamtwin.core.policies.rebalance import Hysteresis, RebalanceView, decide
from streamtwin.core.records import Decision, Recorder, Records
from streamtwin.core.stages import of_every_rank
from streamtwin.kernels.stage import StageKernels
from streamtwin.kernels.weights import stage_dit
from streamtwin.runtime import worker
from streamtwin.runtime.exchange import BlockExchange
from streamtwin.runtime.processes import RankContext, run_ranks
from streamtwin.runtime.run import motion_trace, run_pipeline
from streamtwin.runtime.spool import spool_path
from streamtwin.runtime.states import weight_bytes
from streamtwin.runtime.video import Clip, read_frames
from streamtwin.sim.simulate import simulate

SMALL: dict[str, Any] = {"resolution": [32, 48], "chunks": 12}

TWO_SESSIONS: dict[str, Any] = {
    "sessions": 2,
    "visits": [{"prompts": {0: "a", 3: "b"}}, {"join_s": 0.2, "prompts": {0: "c", 5: "d"}}],
    "chunks": 9,
}

REFRESH = {
    "sink_refresh": "kv_similarity",
    "sink_threshold": 0.98,
    "rope_refresh": "reset",
    "rope_threshold": 7,
}

CASES = {
    "there and back": (2, {}, {6: [5, 1], 9: [1, 5], 13: [3, 3]}),
    "two in a row, over two ranks": (3, {"stream_batch": False}, {6: [4, 1, 1], 7: [1, 1, 4]}),
    "one rank's blocks all change": (4, {}, {5: [3, 1, 1, 1], 6: [1, 1, 1, 3]}),
    "receives posted ahead, decoding first": (
        4,
        {"protocol": "overlap", "decode": "before_send"},
        {5: [1, 1, 1, 3], 9: [3, 1, 1, 1]},
    ),
    "a VAE with ranks of its own": (
        5,
        {"vae_placement": "dedicated", "conditioning": REFRESH, "window": 4, "sink": 2},
        {6: [1, 1, 4], 11: [4, 1, 1]},
    ),
    "both": (
        4,
        {"protocol": "overlap", "vae_placement": "dedicated", "stream_batch": False},
        {6: [5, 1], 11: [1, 5]},
    ),
    "chunks of two latents": (3, {"chunk_latents": 2}, {5: [1, 4, 1], 9: [4, 1, 1]}),
    "ranks that are left without blocks, and begin without": (
        3,
        {},
        {5: [0, 6, 0], 9: [3, 0, 3], 13: [6, 0, 0]},
    ),
    "sessions that share passes": (
        2,
        {"sessions": 2, "visits": [{"prompts": {0: "a", 3: "b"}}]},
        {9: [1, 5], 20: [4, 2]},
    ),
    "a session that joins, prompts that change": (
        3,
        {**TWO_SESSIONS, "stream_batch": False},
        {4: [1, 2, 3], 12: [3, 2, 1], 24: [1, 4, 1]},
    ),
    "sinks and positions that are refreshed": (
        3,
        {"conditioning": REFRESH, "window": 4, "sink": 2, "chunks": 20},
        {7: [1, 1, 4], 11: [4, 1, 1], 17: [1, 4, 1]},
    ),
    "sessions that leave, with refresh and a prompt that changes": (
        2,
        {
            "sessions": 3,
            "visits": [{"chunks": 4}, {"chunks": 8, "prompts": {0: "a", 5: "b"}}],
            "conditioning": REFRESH | {"sink_refresh": "prompt"},
            "window": 4,
            "sink": 2,
            "stream_batch": False,
        },
        dict(zip(range(8, 48, 5), [[5, 1], [1, 5]] * 4, strict=True)),
    ),
}


@pytest.fixture(scope="module")
def clip() -> Clip:
    return read_frames(clip_path(), 32, 48)


class Done(NamedTuple):
    """The raw bytes that each session got, what the ranks recorded, and the memory they held."""

    frames: list[np.ndarray]
    recorder: Recorder
    memory: list[dict[str, int]]


def perform(plan: Plan, clip: Clip, folder: Path) -> Done:
    folder.mkdir()
    np.save(folder / "in.npy", clip.frames)
    job = worker.Job(plan, "cpu", folder / "in.npy", clip.fps, folder)
    results = run_ranks(worker.run_rank, plan.ranks, (job,))
    sessions = range(plan.scenario.workload.sessions)
    return Done(
        [np.fromfile(spool_path(folder, session), np.uint8) for session in sessions],
        Recorder().merge([result.recorder for result in results]),
        [result.memory_bytes for result in results],
    )


def rebalancing(records: Records | Recorder) -> list[Decision]:
    return [d for d in records.decisions if d.family == "rebalance"]


@pytest.mark.parametrize("case", CASES.values(), ids=list(CASES))
def test_a_move_changes_no_bit_and_twins_move_alike(
    case: tuple, clip: Clip, tmp_path: Path
) -> None:
    gpus, changes, schedule = case
    still = make_plan(**{**SMALL, **changes}, gpus=gpus)
    least = min(1, *map(min, schedule.values()))
    asked = {"schedule": schedule, "least_blocks": least}
    moving = make_plan(**{**SMALL, **changes}, gpus=gpus, partition=asked)
    expected = perform(still, clip, tmp_path / "still")
    found = perform(moving, clip, tmp_path / "moving")
    assert len(found.frames) == len(expected.frames) == still.scenario.workload.sessions
    for frames, other in zip(found.frames, expected.frames, strict=True):
        assert frames.size
        assert np.array_equal(frames, other)
    chose = [d.chose for d in rebalancing(found.recorder)]
    deployment = moving.scenario.deployment
    everybody = [of_every_rank(counts, deployment) for counts in schedule.values()]
    assert chose == ["/".join(map(str, counts)) for counts in everybody]
    assert refreshed(found.recorder) == refreshed(expected.recorder)
    refresh = still.scenario.conditioning
    assert bool(refreshed(found.recorder)[0]) == (refresh.sink_refresh != "never")
    restarts = [d for d in found.recorder.decisions if d.family == "rope"]
    assert bool(restarts) == (refresh.rope_refresh != "never")
    if not any(visit.join_s for visit in moving.scenario.workload.visits):
        latency = FlatLatency(pass_s=1e-3)  # also a pass without blocks takes its time
        compare_twins(moving, found, simulate(moving, latency, motion_trace(clip, moving)))


def refreshed(recorder: Recorder) -> tuple[list, float]:
    """What each block replaced and on what it saw, and how often nothing was, on any rank."""
    sinks = [d for d in recorder.decisions if d.family == "sink"]
    replaced = [d for d in sinks if d.chose != "kept"]
    told = [
        (d.session, d.chunk, d.chose, sorted((k, v) for k, v in d.saw.items() if k != "kept"))
        for d in replaced
    ]
    return sorted(told), sum(d.saw["kept"] for d in sinks)


def compare_twins(plan: Plan, found: Done, virtual: Records) -> None:
    """Same decisions, same passes in the same order, and the same bytes on the same ranks."""
    chose, would_choose = (
        [(d.policy, d.chunk, dict(d.saw), d.chose) for d in rebalancing(records)]
        for records in (found.recorder, virtual)
    )
    assert chose == would_choose
    for rank in range(plan.ranks):
        did, would = (
            [
                (s.kind, s.item, s.size_bytes)
                for s in records.spans
                if s.rank == rank and (s.kind == "dit" or (s.kind == "move" and s.size_bytes))
            ]
            for records in (found.recorder, virtual)
        )
        assert did == would
        held, predicted = found.memory[rank], virtual.info.ranks[rank].memory_bytes
        # all sessions, and both prompts around a change, need not be there when blocks are most
        assert held["kv"] <= predicted["kv"]
        assert held["cross_kv"] <= predicted["cross_kv"]
        if plan.scenario.workload.sessions == 1:
            assert (held["kv"], held["cross_kv"]) == (predicted["kv"], predicted["cross_kv"])


def test_what_was_given_away_is_let_go(clip: Clip, tmp_path: Path) -> None:
    plan = make_plan(**SMALL, gpus=2, partition={"blocks": [5, 1], "schedule": {6: [1, 5]}})
    np.save(tmp_path / "in.npy", clip.frames)
    job = worker.Job(plan, "cpu", tmp_path / "in.npy", clip.fps, tmp_path)
    held = run_ranks(holding_at_end, 2, (job,))
    after = make_plan(**SMALL, gpus=2, partition={"blocks": [1, 5]})
    for stage, found in zip(after.stages, held, strict=True):
        predicted = rank_memory(after, stage)
        assert found["kv"] == predicted["kv"]
        assert found["cross_kv"] == predicted["cross_kv"]
        assert found["weights"] == weight_bytes(StageKernels(after, stage))
        assert found["sending"] == 0


def holding_at_end(context: RankContext, job: worker.Job) -> dict[str, int]:
    """Run a rank; what it holds just before its session leaves."""
    end, found = worker.States.drop, {}

    def drop(states: worker.States, sessions: Any) -> None:
        if list(sessions):
            found.update(states._bytes())
        end(states, sessions)

    settle = BlockExchange.settle

    def watched(exchange: BlockExchange) -> None:
        settle(exchange)
        found["sending"] = len(exchange._sending)

    worker.States.drop = drop  # type: ignore[method-assign]
    BlockExchange.settle = watched  # type: ignore[method-assign]
    worker.run_rank(context, job)
    return found


def test_a_throttled_rank_is_relieved_and_every_decision_can_be_repeated(
    clip: Clip, tmp_path: Path
) -> None:
    asked = {"policy": "optimal", "blocks": [3, 3], "rebalance": "continuous"}
    plan = make_plan(resolution=[32, 48], chunks=36, gpus=2, slowdown={1: 8.0}, partition=asked)
    records = run_pipeline(plan, clip, tmp_path / "out.mp4").records
    decisions = rebalancing(records)
    assert decisions
    assert int(str(decisions[-1].chose).split("/")[1]) < 3
    partition = plan.scenario.deployment.partition
    hysteresis = Hysteresis(partition.horizon_s, partition.factor, partition.margin)
    for decision in decisions:
        view = RebalanceView.seen(decision.saw)
        again = decide(decision.policy, view, hysteresis)
        assert "/".join(map(str, again)) == decision.chose
    # what rank 0 saw of the others is what they wrote down themselves
    first = RebalanceView.seen(decisions[0].saw)
    seconds = [s.seconds for s in records.spans if s.rank == 1 and s.kind == "dit"]
    assert min(seconds) <= first.dit_s[1] <= max(seconds)
    assert first.vae_s[1] > 0


def test_weights_from_a_checkpoint_move_with_their_block(clip: Clip, tmp_path: Path) -> None:
    """The receiver never had them: the seed would draw others."""
    drawn = make_plan(**SMALL, seed=7)
    dit = stage_dit(drawn, drawn.stages[0], "cpu", torch.float32)
    torch.save({"generator": dit.state_dict()}, tmp_path / "model.pt")
    given = {**SMALL, "weights": {"dit": str(tmp_path / "model.pt")}, "gpus": 2}
    still = perform(make_plan(**given), clip, tmp_path / "still")
    moving = make_plan(**given, partition={"schedule": {6: [1, 5], 9: [5, 1]}})
    found = perform(moving, clip, tmp_path / "moving")
    assert np.array_equal(found.frames[0], still.frames[0])
    other = perform(make_plan(**SMALL, gpus=2), clip, tmp_path / "other")
    assert not np.array_equal(found.frames[0], other.frames[0])
