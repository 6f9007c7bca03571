"""What does rank 0 know of each session: its input, how far it is, how noisy it was last?"""

from collections.abc import Callable
from dataclasses import dataclass

from streamtwin.core.camera import InputQueue, ReleaseClock
from streamtwin.core.noise_state import NoiseState
from streamtwin.core.policies.admission import ADMISSION
from streamtwin.core.policies.dispatch import WaitingChunk
from streamtwin.core.records import Decision
from streamtwin.core.scenario import Scenario


@dataclass(slots=True)
class SessionBook:
    """One session at rank 0.

    `taken` counts its chunks that have entered the pipeline, `noise` is what the noise policy
    knows of the past, `started` says that its first chunk has been sent on its last turn.
    """

    queue: InputQueue
    noise: NoiseState
    taken: int = 0
    started: bool = False

    @property
    def session(self) -> int:
        """Its number."""
        return self.queue.session

    @property
    def head(self) -> WaitingChunk | None:
        """The chunk that is next: chunks of one session enter in order."""
        return self.queue.waiting[0] if self.queue.waiting else None

    @property
    def delivers(self) -> bool:
        """Whether it runs and will still bring chunks."""
        return self.started and not self.queue.ended()


def open_sessions(scenario: Scenario, decide: Callable[[Decision], None]) -> list[SessionBook]:
    """A book for every session of *scenario*; admission decisions go to *decide*."""
    return [
        SessionBook(_queue(scenario, session, decide), NoiseState(scenario.conditioning))
        for session in range(scenario.workload.sessions)
    ]


def _queue(scenario: Scenario, session: int, decide: Callable[[Decision], None]) -> InputQueue:
    workload = scenario.workload
    return InputQueue(
        session=session,
        clock=ReleaseClock(
            workload.source_fps,
            scenario.shape,
            scenario.playout_fps,
            scenario.visit(session).join_s,
        ),
        chunks=scenario.chunks_of(session),
        admission=ADMISSION[workload.admission],
        admission_name=workload.admission,
        max_waiting=workload.max_waiting,
        decide=decide,
    )
