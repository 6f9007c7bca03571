"""When does each chunk of a live input exist, and what waits at the door of the pipeline?

Both executors drive the same queue: whenever rank 0 looks, it releases what the input clock has
reached, each chunk at its own instant and in order. Nobody else changes the queue, so admission
decides as if it had been asked at that instant.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from streamtwin.core.chunks import ChunkShape
from streamtwin.core.frame_luck import FrameLuck
from streamtwin.core.pauses import NO_PAUSES, Pauses
from streamtwin.core.policies.admission import Admission, AdmissionPolicy, QueueView
from streamtwin.core.policies.dispatch import WaitingChunk
from streamtwin.core.records import Decision


@dataclass(frozen=True, slots=True)
class ReleaseClock:
    """The input's own clock: frame j exists j / fps after the session's start.

    Without fps, input always waits from then on. In `pauses` no frames come. With `luck` some are
    lost, and a chunk waits for those after them; the others come early or late. `promised_s` is how
    long after a chunk's release its playout is due, where sessions are promised different things.
    """

    fps: float | None
    shape: ChunkShape
    playout_fps: float
    start_s: float = 0.0
    pauses: Pauses = NO_PAUSES
    luck: FrameLuck | None = None
    promised_s: float = 0.0

    def released_s(self, chunk: int) -> float:
        """Time at which the last frame of camera chunk *chunk* exists."""
        if self.fps is None:
            return self.start_s
        video_s = self.video_s(chunk)
        late_s = 0.0 if self.luck is None else self.luck.late_s(chunk)
        return self.start_s + (video_s + self.pauses.before_s(video_s) + late_s)

    def video_s(self, chunk: int) -> float:
        """Seconds for which a live camera has to run until the last frame of *chunk* exists."""
        lost = 0 if self.luck is None else self.luck.lost(chunk)
        return (self.shape.last_frame(chunk) + lost) / (self.fps or self.playout_fps)

    def idle_s(self, chunk: int) -> float:
        """Seconds without frames before the last frame of *chunk*."""
        return 0.0 if self.fps is None else self.pauses.before_s(self.video_s(chunk))

    def deadline_s(self, chunk: int) -> float:
        """Time at which the chunk's first frame is due if playout starts as promised."""
        first_s = self.shape.first_frame(chunk) / self.playout_fps
        due_s = self.released_s(0) + self.promised_s + first_s
        if not self.pauses.begins_s:
            return due_s
        return due_s + max(0.0, self.pauses.before_s(first_s) - self.idle_s(0))


@dataclass(slots=True)
class InputQueue:
    """Chunks of one session that were released and not yet taken, bounded by *admission*."""

    session: int
    clock: ReleaseClock
    chunks: int
    admission: AdmissionPolicy
    admission_name: str
    max_waiting: int
    decide: Callable[[Decision], None]
    priority: int = 0
    closed: bool = False
    """Whether its session has not been let in yet: its camera shows nothing."""
    waiting: list[WaitingChunk] = field(default_factory=list)
    dropped: list[int] = field(default_factory=list)
    released: int = 0
    kept: int = 0
    """Chunks at the head of `waiting` that had been taken when a rank died: no rule drops them."""
    _asked: dict[int, tuple[Admission, Mapping[str, float]]] = field(
        init=False, default_factory=dict
    )

    def next_release_s(self) -> float | None:
        """When the next chunk is released; None once the input has ended.

        Input that always waits is released when the chunk before it has been taken.
        """
        held_back = self.clock.fps is None and bool(self.waiting)
        if self.closed or held_back or self.released >= self.chunks:
            return None
        return self.clock.released_s(self.released)

    def release_due(self, now_s: float) -> None:
        """Release every chunk whose time has come. An input without a clock releases on demand."""
        while (due_s := self.next_release_s()) is not None and due_s <= now_s:
            self.release(due_s if self.clock.fps is not None else now_s)

    def release(self, now_s: float) -> None:
        """Release the next chunk at *now_s*; the admission policy decides what happens to it."""
        chunk = self.released
        self.released += 1
        kept, may_wait = self.kept, len(self.waiting) - self.kept
        choice, saw = self._asked.get(may_wait) or self._ask(may_wait)
        self.decide(
            Decision(now_s, 0, "admission", self.admission_name, self.session, chunk, saw, choice)
        )
        if choice == "drop_new":
            self.dropped.append(chunk)
            return
        count = {"accept": 0, "drop_oldest": 1, "drop_waiting": may_wait}[choice]
        self.dropped += [gone.chunk for gone in self.waiting[kept : kept + count]]
        del self.waiting[kept : kept + count]
        deadline_s = self.clock.deadline_s(chunk)
        waiting = WaitingChunk(self.session, chunk, now_s, deadline_s, self.priority)
        self.waiting.append(waiting)

    def _ask(self, waiting: int) -> tuple[Admission, Mapping[str, float]]:
        """What the policy chooses with so many *waiting*: it is pure, so it is asked once."""
        view = QueueView(waiting, self.max_waiting)
        saw = {"waiting": view.waiting, "max_waiting": view.max_waiting}
        known = self._asked[waiting] = self.admission(view), saw
        return known

    def take(self) -> WaitingChunk:
        """Take the chunk that waits first."""
        self.kept = max(0, self.kept - 1)
        return self.waiting.pop(0)

    def put_back(self, chunk: WaitingChunk) -> None:
        """Let *chunk*, which had been taken, wait first again."""
        self.kept += 1
        self.waiting.insert(0, chunk)

    def open(self, start_s: float) -> None:
        """Let the session in: its input begins at *start_s*."""
        self.closed, self.clock = False, replace(self.clock, start_s=start_s)

    def refuse(self) -> None:
        """Send the session away: nothing of it will come."""
        self.closed, self.chunks = False, 0

    def ended(self) -> bool:
        """Whether nothing waits and nothing will come."""
        return not self.waiting and self.released >= self.chunks
