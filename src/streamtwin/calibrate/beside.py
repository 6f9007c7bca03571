"""What is measured beside the cases that a fit is made of?

Copies between host and card have a fit of their own kind. Cases with one of the tags `BESIDE` have
none: their raw times stand in the profile as what they are, and say what the fitted ones hide.
"""

from collections.abc import Iterable
from statistics import fmean, median

from streamtwin.calibrate.cases import MAX_ROWS, CalibrationRequest, Case, hop_shapes, kernel_cases
from streamtwin.calibrate.harness import Measurement
from streamtwin.core.ops import Copy, DitPass, Hop, Op
from streamtwin.core.plan import HEADER_BYTES

HOST_CLOCK = "host clock"
"""A service of a card as its host sees it: from the call until the host knows that it is done.
Events on the card leave out the way back, and with it what a micro-step costs beyond the card."""

AHEAD_WAITED = "posted ahead, receiver waits"
AHEAD_LATE = "posted ahead, receiver late"
"""A hop under the protocol `overlap`: from when it could begin until it has arrived where the
receiver waits for it; from when the receiver asks where it has arrived long before."""

BESIDE = frozenset({HOST_CLOCK, AHEAD_WAITED, AHEAD_LATE})

SMALLEST_COPY_BYTES = 4096


def card_cases(request: CalibrationRequest) -> list[Case]:
    """What is timed on a card only: copies to it and back, and passes by the host's clock.

    On a CPU there is nothing to copy to, and the host's clock is the one that all cases have.
    """
    if request.device == "cpu":
        return []
    return copy_cases(request) + host_clock_cases(request)


def copy_cases(request: CalibrationRequest) -> list[Case]:
    """Copies in both directions, from a page to a few chunks of frames; some sizes are held out."""
    sizes = _copy_sizes(request)
    return [
        Case(Copy(direction, size), 1, held_out=held_out(place, len(sizes)))
        for direction in ("to_device", "to_host")
        for place, size in enumerate(sizes)
    ]


def _copy_sizes(request: CalibrationRequest) -> list[int]:
    """A chunk's frames [T, H, W, 3] in bytes, parts and multiples of them, and its latents."""
    plan, (height, width) = request.plan(), request.resolution
    frames = 3 * height * width * plan.scenario.shape.frames_of(1)
    latents = plan.scenario.size.latent_bytes(plan.model.latent_channels, plan.itemsize)
    chunks = (frames // 4, frames // 2, frames, 2 * frames, 4 * frames)
    return sorted({SMALLEST_COPY_BYTES, latents * request.chunk_latents, *chunks})


def host_clock_cases(request: CalibrationRequest) -> list[Case]:
    """The pass without blocks and the longest one, as the host sees them."""
    passes = [case.op for case in kernel_cases(request, 1) if isinstance(case.op, DitPass)]
    longest = max(passes, key=lambda op: (op.blocks, op.rows, op.kv_tokens))
    return [Case(op, 1, HOST_CLOCK) for op in dict.fromkeys((empty_pass(passes), longest))]


def empty_pass(passes: list[DitPass]) -> DitPass:
    """The pass with the fewest blocks and rows: what a micro-step costs however short it is."""
    return min(passes, key=lambda op: (op.blocks, op.rows, op.query_tokens))


def host_extra_s(measurements: Iterable[Measurement]) -> float | None:
    """Seconds that a micro-step costs beyond what the card's events say of it.

    The mean over the passes that were timed by both clocks; None where none was.
    """
    seen: dict[str, dict[Op, float]] = {"": {}, HOST_CLOCK: {}}
    for one in measurements:
        if isinstance(one.case.op, DitPass) and one.case.tag in seen:
            seen[one.case.tag][one.case.op] = median(one.clean)
    by_card, by_host = seen[""], seen[HOST_CLOCK]
    extra = [by_host[op] - by_card[op] for op in by_host if op in by_card]
    return fmean(extra) if extra else None


def ahead_cases(request: CalibrationRequest, ranks: int) -> list[Case]:
    """Hops whose receives are posted ahead, of full items of several rows."""
    return [Case(Hop(size), ranks, tag) for size in ahead_rows(request) for tag in AHEAD_TAGS]


AHEAD_TAGS = (AHEAD_WAITED, AHEAD_LATE)


def ahead_rows(request: CalibrationRequest) -> dict[int, int]:
    """Rows by size in bytes, of items that are as long as the buffer that waits for them.

    One row is not: its buffer has room for the first chunk, which is longer than others. On a card
    a receive that is posted keeps part of the card waiting, so there is one only.
    """
    row_bytes = request.plan().row_bytes(1)
    counts = (2, 3, MAX_ROWS) if request.device == "cpu" else (MAX_ROWS,)
    sizes = {HEADER_BYTES + rows * row_bytes: rows for rows in counts}
    return {size: rows for size, rows in sizes.items() if size in hop_shapes(request)}


def held_out(place: int, count: int) -> bool:
    """Whether size number *place* of *count* is kept back: every third, and no end of the range."""
    return 0 < place < count - 1 and place % 3 == 0
