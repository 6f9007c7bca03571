"""How late is the first frame of a pipeline that is warm?

A publication's way of counting (StreamDiffusionV2, arXiv 2511.07399v1, TTFF figure): the frames of one
chunk must be there, then one chunk's work is done. It leaves out what a stream's first chunk has
more than others, and the turns that it takes for its other steps; `ttff_s` has all of it.
"""

from collections.abc import Collection, Sequence

from streamtwin.core.moved import ranks_of_a_copy
from streamtwin.core.records import SERVICES, Records, Span
from streamtwin.core.scenario import Scenario
from streamtwin.core.steady import Steady


def warm_first_frame_s(records: Records, scenario: Scenario, steady: Steady) -> float | None:
    """Seconds from a chunk's first frame to its emission: frames that come, work, transfers.

    None where input always waits, so that nothing is waited for. Transfers back to rank 0 are not
    on the way.
    """
    source_fps = scenario.workload.source_fps
    if source_fps is None:
        return None
    began_s, ended_s = steady.settled_s, steady.interval[1]
    within = [span for span in records.spans if began_s <= span.ended_s < ended_s]
    width = ranks_of_a_copy(records)
    leaders = set(scenario.deployment.leaders)
    work_s = sum(span.seconds for span in within if _on_the_way(span, span.rank % width, leaders))
    buffered_s = scenario.shape.frames_of(1) / source_fps
    return buffered_s + work_s / _chunks(within, steady)


def _on_the_way(span: Span, rank: int, leaders: Collection[int]) -> bool:
    """Whether a chunk waits for it. Members of a stage work at the same time as their leader."""
    served = span.kind in SERVICES and rank in leaders
    return served or (span.kind == "hop" and rank > 0)


def _chunks(within: Sequence[Span], steady: Steady) -> int:
    """Chunks that the work was done for: those that were decoded."""
    return sum(span.kind == "decode" for span in within) or steady.last - steady.first
