"""Which rows did each item of a recorded run carry?

The records name an item's first row and how many there are. The others follow from the ring
itself: it is played again, with the chunks that entered and the lanes that fit what was seen.
"""

from collections.abc import Iterator, Sequence

from streamtwin.core.errors import RunError
from streamtwin.core.layout import evenly, lay_out
from streamtwin.core.partition import Partition
from streamtwin.core.plan import Plan
from streamtwin.core.records import Records, Span
from streamtwin.core.ring import START, Item, Ring, Row
from streamtwin.core.scenario import Scenario

Chunk = tuple[int, int]
"""Session, and the camera's number of a chunk."""


def plan_of(records: Records) -> Plan:
    """The plan that *records* are of: blocks lay as recorded, whatever policy had chosen them.

    Raises:
        ScenarioError: the recorded scenario is none, or cannot be laid out.
    """
    scenario = evenly(Scenario.model_validate(dict(records.info.scenario)))
    deployment = scenario.deployment
    counts = [info.blocks[1] - info.blocks[0] for info in records.info.ranks]
    # members of a stage hold the same blocks, and ranks of the VAE's own hold none
    held = [count for count in counts if count][:: deployment.members]
    partition = Partition(blocks=held, schedule=deployment.partition.schedule)
    laid = deployment.model_copy(update={"partition": partition})
    itemsize = 4 if records.info.provenance.get("device", "cpu") == "cpu" else 2
    return lay_out(scenario.model_copy(update={"deployment": laid}), itemsize=itemsize)


def ordinals_of(spans: Sequence[Span]) -> dict[Chunk, int]:
    """Number of every encoded chunk among the admitted of its session."""
    ordinals: dict[Chunk, int] = {}
    taken: dict[int, int] = {}
    for span in _in_order(spans, "encode"):
        ordinals[span.session, span.chunk] = taken.get(span.session, 0)
        taken[span.session] = ordinals[span.session, span.chunk] + 1
    return ordinals


def items_of(plan: Plan, spans: Sequence[Span]) -> dict[int, Item]:
    """Items of a run of *plan*, by index.

    Raises:
        RunError: the *spans* are not those of a run of *plan*; names the item.
    """
    ordinals = ordinals_of(spans)
    entering: dict[int, list[Row]] = {}
    for span in _in_order(spans, "encode"):
        ordinal = ordinals[span.session, span.chunk]
        entering.setdefault(span.item, []).append(Row(span.session, span.chunk, ordinal, 0))
    heads: dict[int, Span] = {}
    for span in _in_order(spans, "dit"):
        heads.setdefault(span.item, span)
    ring, items = Ring(plan.lanes, plan.steps, plan.max_rows), dict[int, Item]()
    for index in range(len(heads)):
        if index not in heads:
            raise RunError(f"item {index} has no pass, item {max(heads)} has one")
        new = tuple(entering.get(index, ()))
        lane = _lane(ring, new, heads[index])
        items[index] = ring.compose(lane, new, frozenset())
        ring.sent(items[index], lane)
    return items


def _in_order(spans: Sequence[Span], kind: str) -> Iterator[Span]:
    return iter(sorted((s for s in spans if s.kind == kind), key=lambda span: span.began_s))


def _lane(ring: Ring, new: tuple[Row, ...], seen: Span) -> int:
    """The lane whose rows, with the *new* ones, are those that were *seen*."""
    while ring.outstanding and ring.due():
        ring.returned()
    while True:
        for lane in (START, *ring.in_order()):
            if _fits(ring, lane, new, seen):
                return lane
        if not ring.outstanding:
            raise RunError(
                f"item {seen.item} ({seen.rows} rows, session {seen.session}, chunk {seen.chunk}) "
                "does not follow from the items before it"
            )
        ring.returned()


def _fits(ring: Ring, lane: int, new: tuple[Row, ...], seen: Span) -> bool:
    if ring.out(lane):
        return False
    rows = sorted(new + ring.rows(lane), key=lambda row: (row.session, row.step))
    # first chunks stand alone in a lane of their own, and in no other
    own_lane = [(row.ordinal == 0) == (lane == START) for row in rows]
    return (
        len(rows) == seen.rows
        and (rows[0].session, rows[0].chunk) == (seen.session, seen.chunk)
        and all(own_lane)
        and (lane != START or len(rows) == 1)
        and len({(row.session, row.step) for row in rows}) == len(rows)
    )
