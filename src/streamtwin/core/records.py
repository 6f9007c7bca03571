"""What happened? The one record format that both executors write and everything else reads."""

# Nobody changes a span, a chunk's record or a decision once a run is sealed. They are not frozen because
# making one would take five times as long, and a run makes hundreds of thousands.

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

Source = Literal["simulated", "measured"]

Service = Literal["encode", "dit", "decode"]
Wait = Literal["wait_input", "wait_hop", "wait_sent", "move", "recovery"]
SpanKind = Service | Wait | Literal["hop", "transfer"]

SERVICES: tuple[str, ...] = get_args(Service)
WAITS: tuple[str, ...] = get_args(Wait)
SPAN_KINDS: tuple[str, ...] = (*SERVICES, *WAITS, "hop", "transfer")


@dataclass(slots=True)
class Span:
    """An interval of one rank, in seconds since the start of the stream.

    Services keep the rank's device busy. `wait_input`: rank 0 has no chunk yet. `wait_hop`: the
    rank has asked for an item that its `peer` has not sent yet, or waits for the `peer` that leads
    its stage to begin a pass. `hop`: the item is under way and the rank waits for it. `wait_sent`:
    the rank's previous item has not been taken. `move`: the rank exchanges blocks with others;
    `size_bytes` of them have come in. `recovery`: the ring stands, because its rank `peer` (-1: this
    one) has died and is being replaced, or because weights are still to be loaded; `size_bytes` is
    what this rank loads. What was under way at a death has ended there.
    `transfer`, where receives are posted ahead: the item is under way to this rank, whatever the
    rank does meanwhile; its `hop` is then the part for which the rank waits. A measured one ends
    when the rank finds the item there, which is no earlier than it asks for it: its length is an
    upper bound. Without it, a hop is the whole of its transfer.
    `item` is the turn of the ring, `chunk` the camera's number of the newest chunk concerned.
    """

    rank: int
    kind: SpanKind
    began_s: float
    ended_s: float
    session: int = 0
    chunk: int = -1
    item: int = 0
    rows: int = 0
    size_bytes: int = 0
    peer: int = -1

    @property
    def seconds(self) -> float:
        """Length of the interval."""
        return self.ended_s - self.began_s


@dataclass(slots=True)
class ChunkRecord:
    """One camera chunk from release to emission.

    `outcome` is `emitted`, `in_flight` (the run ended before), `dropped`, or `lost` (under way when a
    rank died). Times are seconds since the start of the stream; those that did not happen are None.
    `frames` counts pixel frames emitted for it (0 when dropped). What was done again after a death
    has the times at which it was released and taken first.
    """

    session: int
    chunk: int
    released_s: float
    taken_s: float | None = None
    emitted_s: float | None = None
    frames: int = 0
    outcome: Literal["emitted", "in_flight", "dropped", "lost"] = "in_flight"

    @property
    def latency_s(self) -> float | None:
        """From release to emission. Where input always waits, a chunk is released when taken."""
        return None if self.emitted_s is None else self.emitted_s - self.released_s


@dataclass(slots=True)
class Decision:
    """One decision of one policy, with what it saw."""

    time_s: float
    rank: int
    family: str
    policy: str
    session: int
    chunk: int
    saw: Mapping[str, float]
    chose: float | str


@dataclass(frozen=True, slots=True)
class RankInfo:
    """What one rank held: its blocks as a half-open interval, and bytes by purpose.

    Members of one stage hold the same blocks.
    """

    rank: int
    blocks: tuple[int, int]
    memory_bytes: Mapping[str, int]
    capacity_bytes: float | None = None
    """Memory that the rank may use; None: not known."""
    most_sessions: int | None = None
    """Sessions that it has room for at once; None: not known, or no session takes any."""
    card: str | None = None
    """The catalogue's card that it has; None: a CPU, or one that is not there."""


@dataclass(frozen=True, slots=True)
class RunInfo:
    """What was run, by which executor, on which numbers."""

    source: Source
    scenario: Mapping[str, Any]
    provenance: Mapping[str, str]
    ranks: tuple[RankInfo, ...]
    warmup_chunks: int
    """Chunks emitted before the attention window and the pipeline are full."""
    tail_chunks: int
    """Chunks emitted after the input has ended, while the pipeline drains."""
    lanes: int | None = None
    """W: lanes of the ring; None: one a rank."""


@dataclass(frozen=True, slots=True)
class Records:
    """One run: who, what, and every span, chunk and decision in order of time."""

    info: RunInfo
    spans: tuple[Span, ...]
    chunks: tuple[ChunkRecord, ...]
    decisions: tuple[Decision, ...]

    @property
    def transfers(self) -> list[Span]:
        """What each link carried and when: transfers where receives are posted ahead, else hops."""
        ahead = any(span.kind == "transfer" for span in self.spans)
        return [span for span in self.spans if span.kind == ("transfer" if ahead else "hop")]


@dataclass(slots=True)
class Recorder:
    """Collects what one executor, or one rank of it, sees."""

    spans: list[Span] = field(default_factory=list)
    chunks: dict[tuple[int, int], ChunkRecord] = field(default_factory=dict)
    decisions: list[Decision] = field(default_factory=list)

    def span(self, rank: int, kind: SpanKind, began_s: float, ended_s: float, **about: int) -> None:
        """Note an interval of *rank*; one without length is none."""
        if ended_s > began_s:
            self.spans.append(Span(rank, kind, began_s, ended_s, **about))

    def merge(self, others: "list[Recorder]") -> "Recorder":
        """Join the recorders of several ranks, each list in order of time."""
        every = [self, *others]
        chunks: dict[tuple[int, int], ChunkRecord] = {}
        for recorder in every:
            for key, record in recorder.chunks.items():
                chunks[key] = _later(chunks.get(key), record)
        return Recorder(
            spans=sorted(
                (span for r in every for span in r.spans),
                key=lambda s: (s.began_s, s.rank, s.ended_s, s.kind),
            ),
            chunks=dict(sorted(chunks.items())),
            decisions=sorted(
                (decision for r in every for decision in r.decisions),
                # decisions of one family at one instant stay in the order in which they were made
                key=lambda d: (d.time_s, d.rank, d.family),
            ),
        )

    def records(self, info: RunInfo) -> Records:
        """Seal what was collected."""
        merged = self.merge([])
        return Records(
            info, tuple(merged.spans), tuple(merged.chunks.values()), tuple(merged.decisions)
        )


def _later(old: ChunkRecord | None, new: ChunkRecord) -> ChunkRecord:
    """Join two partial records of one chunk: the first rank knows when it came, the last when it left."""
    if old is None:
        return new
    first, last = (old, new) if new.emitted_s is not None else (new, old)
    return ChunkRecord(
        session=first.session,
        chunk=first.chunk,
        released_s=first.released_s,
        taken_s=first.taken_s,
        emitted_s=last.emitted_s,
        frames=last.frames,
        outcome=last.outcome if last.outcome != "in_flight" else first.outcome,
    )
