"""What does rank 0 decide, and on what evidence?

Every decision of a run passes through here, in both executors, and is recorded with what the
policy saw. Time enters as an argument: the simulator passes virtual, the runtime real time.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from streamtwin.core.camera import InputQueue, ReleaseClock
from streamtwin.core.errors import RunError
from streamtwin.core.plan import Plan
from streamtwin.core.policies.admission import ADMISSION
from streamtwin.core.policies.batching import BATCHING
from streamtwin.core.policies.dispatch import DISPATCH, WaitingChunk
from streamtwin.core.policies.noise import NOISE, MotionView
from streamtwin.core.records import ChunkRecord, Decision, Recorder
from streamtwin.core.ring import Ring, Row


@dataclass(slots=True)
class Controller:
    """The decisions of one session: which chunk enters when, and how noisy."""

    plan: Plan
    recorder: Recorder
    ring: Ring = field(init=False)
    queue: InputQueue = field(init=False)
    rate: float = field(init=False)
    taken: int = field(init=False, default=0)

    def __post_init__(self) -> None:
        scenario = self.plan.scenario
        workload = scenario.workload
        self.rate = scenario.conditioning.noise_rate
        self.ring = Ring(self.plan.lanes, scenario.deployment.steps, self.plan.max_rows)
        self.queue = InputQueue(
            session=0,
            clock=ReleaseClock(workload.source_fps, scenario.shape, scenario.playout_fps),
            chunks=scenario.chunks,
            admission=ADMISSION[workload.admission],
            admission_name=workload.admission,
            max_waiting=workload.max_waiting,
            decide=self.recorder.decisions.append,
        )

    def takes_chunk(self, index: int, now_s: float) -> bool:
        """Whether item *index* takes in a chunk, waiting for one if need be.

        Raises:
            RunError: the policy takes nothing although the ring is empty and input is left.
        """
        self.queue.release_due(now_s)
        name = self.plan.scenario.deployment.batching.policy
        view = self.ring.view(index, len(self.queue.waiting))
        chosen = BATCHING[name](view)
        saw = {"rows": view.rows, "max_rows": view.max_rows, "entry_free": view.entry_free}
        self._record(now_s, "batching", name, index, {**saw, "waiting": view.waiting}, chosen)
        if chosen == 0 and self.ring.empty() and not self.queue.ended():
            raise RunError(
                f"batching policy {name!r} takes no chunk into an empty ring at item {index}: "
                "nothing can move any more"
            )
        return chosen > 0

    def waits(self) -> bool:
        """Whether rank 0 waits for a chunk that it may take and that is not there yet.

        A stream batch moves only when a chunk arrives, as in the reference. Without one, a lane
        is left empty as long as another has work.
        """
        return self.plan.scenario.deployment.stream_batch or self.ring.empty()

    def take(self, now_s: float) -> Row:
        """Take the waiting chunk that the dispatch policy chooses; it starts at step 0."""
        name = self.plan.scenario.workload.dispatch
        waiting = self.queue.waiting
        position = DISPATCH[name](waiting)
        saw = {"waiting": len(waiting), "oldest": waiting[0].chunk}
        chosen = waiting.pop(position)
        self._record(now_s, "dispatch", name, chosen.chunk, saw, chosen.chunk)
        row = Row(chosen.session, chosen.chunk, self.taken, 0)
        self.taken += 1
        self._admit(chosen, now_s)
        return row

    def noise_rate(self, row: Row, motion: float, now_s: float) -> float:
        """Rate at which *row*'s chunk is mixed with noise, given how much it moves."""
        conditioning = self.plan.scenario.conditioning
        view = MotionView(motion, self.rate, conditioning.noise_rate)
        # the first chunk has nothing before it: it gets the scenario's rate, as in the reference
        rate = view.base if row.ordinal == 0 else NOISE[conditioning.noise](view)
        saw = {"motion": motion, "rate": self.rate, "base": view.base}
        self._record(now_s, "noise", conditioning.noise, row.chunk, saw, rate)
        self.rate = rate
        return rate

    def _admit(self, chosen: WaitingChunk, now_s: float) -> None:
        key = (chosen.session, chosen.chunk)
        # an input that always waits has no age: latency counts from the moment of taking
        released_s = now_s if self.queue.clock.fps is None else chosen.released_s
        self.recorder.chunks[key] = ChunkRecord(*key, released_s, now_s)

    def close(self) -> None:
        """Record the chunks that were given up or never taken."""
        for chunk in self.queue.dropped:
            released_s = self.queue.clock.released_s(chunk)
            self.recorder.chunks[0, chunk] = ChunkRecord(0, chunk, released_s, outcome="dropped")
        for left in self.queue.waiting:
            self.recorder.chunks[0, left.chunk] = ChunkRecord(0, left.chunk, left.released_s)

    def _record(
        self,
        now_s: float,
        family: str,
        policy: str,
        chunk: int,
        saw: Mapping[str, float],
        chose: float,
    ) -> None:
        self.recorder.decisions.append(Decision(now_s, 0, family, policy, 0, chunk, saw, chose))
