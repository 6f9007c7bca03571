"""What does a latency model say of a plan? Costs of its stages, and of turns of so many rows."""

from dataclasses import replace

from streamtwin.core.fleet import hop_s, stage_model
from streamtwin.core.forecast import Forecast
from streamtwin.core.latency import LatencyModel
from streamtwin.core.ops import Op, VaeDecode, VaeEncode
from streamtwin.core.plan import Plan, Stage
from streamtwin.core.policies.partition import StageCosts
from streamtwin.core.ring import Item, Row
from streamtwin.core.shared_pass import pass_s


def stage_costs(plan: Plan, latency: LatencyModel) -> StageCosts:
    """Predicted steady time in seconds of each block, and of what a rank of blocks does besides."""
    item = _steady_item(plan, plan.max_rows)
    blocks, stages = plan.model.blocks, [stage for stage in plan.stages if not stage.vae_only]

    def part_s(shape: Stage, on: Stage, count: int) -> float:
        op = plan.dit_pass(replace(shape, blocks=range(count)), item)
        return pass_s(plan, op, stage_model(plan, on, latency))

    # ranks are compared at one and the same pass, so that equal cards are exactly equal
    each_s = [
        (part_s(stages[0], on, blocks) - part_s(stages[0], on, 1)) / (blocks - 1) for on in stages
    ]
    block_s = each_s[0]
    fixed = [
        max(0.0, part_s(stage, stage, 1) - own_s) + _exposed_hop_s(plan, stage, latency, item)
        for stage, own_s in zip(stages, each_s, strict=True)
    ]
    fixed[0] += _vae_s(plan, stages[0], latency, plan.encode(1)) * stages[0].encodes
    fixed[-1] += _vae_s(plan, stages[-1], latency, plan.decode(1)) * stages[-1].decodes
    alike = len(set(each_s)) == 1 or not block_s
    slower = () if alike else tuple(own_s / block_s for own_s in each_s)
    return StageCosts((block_s,) * blocks, tuple(fixed), slower)


def steady_ops(plan: Plan) -> list[Op]:
    """What the ranks of *plan* do in a full turn of a steady stream, transfers left out."""
    item = _steady_item(plan, plan.max_rows)
    passes: list[Op] = [plan.dit_pass(stage, item) for stage in plan.stages if stage.blocks]
    return [*passes, plan.encode(1), plan.decode(1)]


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
    first, last = plan.stages[0], plan.stages[-1]
    encode_s = _vae_s(plan, first, latency, plan.encode(1))
    decode_s = _vae_s(plan, last, latency, plan.decode(1))
    passes_s = [
        0.0 if stage.vae_only else _pass_s(plan, stage, latency, item) for stage in plan.stages
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
    hops_s = sum(hop_s(plan, item, edge, latency) for edge in ring)
    return max(loads_s), sum(passes_s) + hops_s + (encode_s + decode_s) / plan.steps


def _exposed_hop_s(plan: Plan, stage: Stage, latency: LatencyModel, item: Item) -> float:
    """What a transfer takes of a rank's time: nothing where it is alone or transfers hide."""
    edge = plan.inward(stage.rank)
    if edge is None or plan.scenario.deployment.overlaps:
        return 0.0
    return hop_s(plan, item, edge, latency)


def _pass_s(plan: Plan, stage: Stage, latency: LatencyModel, item: Item) -> float:
    """Seconds of *stage*'s pass over *item*, by the model of its own card or cards."""
    return pass_s(plan, plan.dit_pass(stage, item), stage_model(plan, stage, latency))


def _vae_s(plan: Plan, stage: Stage, latency: LatencyModel, op: VaeEncode | VaeDecode) -> float:
    return stage_model(plan, stage, latency).predict(op).mean_s


def _steady_item(plan: Plan, rows: int) -> Item:
    """A turn of *rows* rows, all so late in their streams that they attend the full window."""
    late, steps = 1 + plan.scenario.deployment.window, plan.steps
    return Item(late, tuple(Row(i // steps, late, late, i % steps) for i in range(rows)))
