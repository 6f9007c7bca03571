"""What does a latency model say of a plan? Costs of its stages, and of turns of so many rows."""

from dataclasses import replace

from streamtwin.core.forecast import Forecast
from streamtwin.core.latency import LatencyModel
from streamtwin.core.plan import Plan, Stage
from streamtwin.core.policies.partition import StageCosts
from streamtwin.core.ring import Item, Row


def stage_costs(plan: Plan, latency: LatencyModel) -> StageCosts:
    """Predicted steady time in seconds of each block, and of what a rank of blocks does besides."""
    item = _steady_item(plan, plan.max_rows)
    blocks, stages = plan.model.blocks, [stage for stage in plan.stages if not stage.vae_only]

    def pass_s(stage: Stage, count: int) -> float:
        part = replace(stage, blocks=range(count))
        return latency.predict(plan.dit_pass(part, item)).mean_s

    block_s = (pass_s(stages[0], blocks) - pass_s(stages[0], 1)) / (blocks - 1)
    fixed = [
        max(0.0, pass_s(stage, 1) - block_s) + _exposed_hop_s(plan, stage, latency, item)
        for stage in stages
    ]
    fixed[0] += latency.predict(plan.encode(1)).mean_s * stages[0].encodes
    fixed[-1] += latency.predict(plan.decode(1)).mean_s * stages[-1].decodes
    return StageCosts((block_s,) * blocks, tuple(fixed))


def forecast(plan: Plan, latency: LatencyModel) -> Forecast:
    """What *latency* predicts for turns of *plan* of up to as many rows as a lane may carry.

    Raises:
        CalibrationError: the latency model cannot answer for so many rows.
    """
    turns = [_turn(plan, latency, rows) for rows in range(1, plan.max_rows + 1)]
    return Forecast((0.0, *(turn for turn, _ in turns)), (0.0, *(ring for _, ring in turns)))


def _turn(plan: Plan, latency: LatencyModel, rows: int) -> tuple[float, float]:
    """Seconds of a turn of *rows* rows on the busiest rank, and of its way round the ring."""
    item = _steady_item(plan, rows)
    encode_s = latency.predict(plan.encode(1)).mean_s
    decode_s = latency.predict(plan.decode(1)).mean_s
    passes_s = [
        latency.predict(plan.dit_pass(stage, item)).mean_s if not stage.vae_only else 0.0
        for stage in plan.stages
    ]
    # each row takes one of its chunk's steps, so a turn brings rows / steps chunks in and out
    chunks = rows / plan.steps
    loads_s = [
        pass_s
        + _exposed_hop_s(plan, stage, latency, item)
        + chunks * (encode_s * stage.encodes + decode_s * stage.decodes)
        for stage, pass_s in zip(plan.stages, passes_s, strict=True)
    ]
    ring = [edge for edge in plan.edges if not edge.results]
    hops_s = sum(latency.predict(plan.hop(item, edge)).mean_s for edge in ring)
    return max(loads_s), sum(passes_s) + hops_s + (encode_s + decode_s) / plan.steps


def _exposed_hop_s(plan: Plan, stage: Stage, latency: LatencyModel, item: Item) -> float:
    """What a transfer takes of a rank's time: nothing where it is alone or transfers hide."""
    edge = plan.inward(stage.rank)
    if edge is None or plan.scenario.deployment.overlaps:
        return 0.0
    return latency.predict(plan.hop(item, edge)).mean_s


def _steady_item(plan: Plan, rows: int) -> Item:
    """A turn of *rows* rows, all so late in their streams that they attend the full window."""
    late, steps = 1 + plan.scenario.deployment.window, plan.steps
    return Item(late, tuple(Row(i // steps, late, late, i % steps) for i in range(rows)))
