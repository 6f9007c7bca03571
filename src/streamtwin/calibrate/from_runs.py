"""Which profile follows from the records of real runs?

Every span of a service or a hop is one time of one operation of the run's plan. A rank has run
each of its services once before the stream begins; where an operation came often, its first time
is left out all the same, as when it is measured. Operations that a run meets a few times only,
while window and lanes fill, are kept whole, because a prediction of the same run asks for them.

A hop is taken as the run had it, under one tag: the mean over a run's hops is what its prediction
needs, while a tag for each situation would weigh rare situations like frequent ones.
"""

from streamtwin.calibrate.gathered import Timed, measured
from streamtwin.calibrate.harness import MIN_TIMES, WARMUPS, Measurement
from streamtwin.core.errors import CalibrationError, RunError
from streamtwin.core.ops import Hop, Op
from streamtwin.core.plan import Plan
from streamtwin.core.records import Records, Span
from streamtwin.core.replay import items_of, ordinals_of
from streamtwin.core.ring import Item

IN_A_RUN = "in a run"
"""Tag of a hop: whoever waited, and whatever the sender did meanwhile."""


def measurements_of(records: Records, plan: Plan, run: int = 0) -> list[Measurement]:
    """The times in *records*, which are of *plan*, as those of start number *run*.

    Raises:
        CalibrationError: the records were predicted, or cannot be told apart by operation.
        RunError: they are not of this plan.
    """
    check_learnable(records, plan)
    shared = records.info.provenance.get("device", "cpu") == "cpu"
    series: dict[tuple[Op, int], list[Timed]] = {}
    for span, op in operations_of(records, plan):
        tag = IN_A_RUN if isinstance(op, Hop) else ""
        one = Timed(op, span.seconds, plan.ranks if shared else 1, span.rank, run, tag)
        series.setdefault((op, span.rank), []).append(one)
    return [
        measured(own, WARMUPS if len(own) >= WARMUPS + MIN_TIMES else 0) for own in series.values()
    ]


def operations_of(records: Records, plan: Plan) -> list[tuple[Span, Op]]:
    """Every service and hop of *records* with its operation, in order of time.

    Where receives are posted ahead there is no hop: what is recorded of it is the part for which
    a rank waits, or an upper bound.

    Raises:
        RunError: the records are not of *plan*.
    """
    ordinals, items = ordinals_of(records.spans), items_of(plan, records.spans)
    found: list[tuple[Span, Op]] = []
    for span in records.spans:
        match span.kind:
            case "encode":
                found.append((span, plan.encode(ordinals[span.session, span.chunk])))
            case "decode":
                found.append((span, plan.decode(ordinals[span.session, span.chunk])))
            case "dit":
                found.append((span, plan.dit_pass(plan.stage_of(span.rank), items[span.item])))
            case "hop" if not plan.scenario.deployment.overlaps:
                found.append((span, _hop(span, plan, items[span.item])))
    return found


def _hop(span: Span, plan: Plan, item: Item) -> Hop:
    """The hop of *item* to the rank of *span*, whose size must be what the plan says."""
    op = plan.hop(item, plan.inward(span.rank))
    if op.size_bytes != span.size_bytes:
        raise RunError(
            f"item {span.item} came to rank {span.rank} with {span.size_bytes} bytes, "
            f"its plan says {op.size_bytes}"
        )
    return op


def check_learnable(records: Records, plan: Plan) -> None:
    """Refuse records that do not show how long the operations of *plan* take.

    Raises:
        CalibrationError: says why not.
    """
    name = records.info.scenario.get("name", "the run")
    if records.info.source != "measured":
        raise CalibrationError(
            f"{name}: source = {records.info.source}: there is nothing to learn from a prediction"
        )
    if any(span.kind == "move" for span in records.spans):
        raise CalibrationError(f"{name}: blocks moved during the run: give one in which none do")
    deployment = plan.scenario.deployment
    if deployment.slowdown:
        raise CalibrationError(
            f"{name}: deployment.slowdown = {deployment.slowdown}: ranks were slowed on purpose"
        )
    if plan.members > 1:
        raise CalibrationError(
            f"{name}: deployment.parallelism = {deployment.parallelism}: passes that ranks share "
            "have no times of their own"
        )


def request_of(records: Records, plan: Plan) -> dict[str, object]:
    """What a calibration would have been asked for to cover the run of *plan*."""
    scenario = plan.scenario
    return {
        "model": scenario.model,
        "vae": scenario.vae,
        "resolution": list(scenario.resolution),
        "ranks": [plan.ranks],
        "window": scenario.deployment.window,
        "sink": scenario.deployment.sink,
        "device": records.info.provenance.get("device", "cpu"),
        "seed": scenario.seed,
        "chunk_latents": scenario.deployment.chunk_latents,
    }
