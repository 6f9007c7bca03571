"""What is written above the records of a run?"""

from collections.abc import Mapping, Sequence

from streamtwin.core.capacity import UNBOUNDED, sessions_of_rank
from streamtwin.core.plan import Plan
from streamtwin.core.policies.partition import StageCosts
from streamtwin.core.records import Decision, RankInfo, RunInfo, Source

ENVIRONMENT = "environment"
"""Key of a real run's provenance: machine and software, all fields as one line of JSON."""


def run_info(
    plan: Plan,
    source: Source,
    provenance: Mapping[str, str],
    memory: Sequence[Mapping[str, int]],
) -> RunInfo:
    """Describe a run of *plan*; *memory* has the bytes of each rank by purpose."""
    stages = [plan.stage_of(rank) for rank in range(plan.ranks)]
    known, cards = dict(enumerate(plan.capacity_bytes)), dict(enumerate(plan.cards))
    ranks = tuple(
        RankInfo(
            rank,
            (stage.blocks.start, stage.blocks.stop),
            dict(held),
            known.get(rank),
            _most_sessions(plan, rank, known.get(rank)),
            cards.get(rank),
        )
        for rank, (stage, held) in enumerate(zip(stages, memory, strict=True))
    )
    return RunInfo(
        source=source,
        scenario=plan.scenario.model_dump(mode="json"),
        provenance=dict(provenance),
        ranks=ranks,
        warmup_chunks=plan.warmup_chunks,
        tail_chunks=plan.tail_chunks,
        lanes=plan.lanes,
    )


def _most_sessions(plan: Plan, rank: int, capacity_bytes: float | None) -> int | None:
    """Sessions that *rank* has room for; None where that is not known, or they take no room."""
    if capacity_bytes is None:
        return None
    fits = sessions_of_rank(plan, rank, capacity_bytes)
    return None if fits == UNBOUNDED else max(0, fits)


NO_COSTS = StageCosts((), ())


def partition_decision(plan: Plan) -> Decision:
    """The partition that the plan was laid out with, as a decision at the start of the run."""
    counts = "/".join(str(len(stage.blocks)) for stage in plan.stages)
    return Decision(
        time_s=0.0,
        rank=0,
        family="partition",
        policy=_partition_name(plan),
        session=0,
        chunk=-1,
        saw={"blocks": plan.model.blocks, "ranks": plan.ranks, **(plan.costs or NO_COSTS).saw()},
        chose=counts,
    )


def _partition_name(plan: Plan) -> str:
    partition = plan.scenario.deployment.partition
    return partition.policy if partition.blocks is None else "given"
