"""What does rank 0 know of each session: its input, how far it is, how noisy it was last?"""

from collections.abc import Callable
from dataclasses import dataclass

from streamtwin.core.camera import InputQueue, ReleaseClock
from streamtwin.core.frame_luck import FrameLuck
from streamtwin.core.noise_state import NoiseState
from streamtwin.core.pauses import NO_PAUSES, Pauses
from streamtwin.core.policies.admission import ADMISSION
from streamtwin.core.policies.dispatch import WaitingChunk
from streamtwin.core.records import Decision
from streamtwin.core.scenario import Scenario
from streamtwin.core.terms import terms_of


@dataclass(slots=True)
class SessionBook:
    """One session at rank 0.

    `taken` counts its chunks that have entered the pipeline, `noise` is what the noise policy
    knows of the past, `promised_s` is the latency that it was promised, `started` says that its
    first chunk has been sent on its last turn.
    """

    queue: InputQueue
    noise: NoiseState
    promised_s: float
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
    return [_book(scenario, session, decide) for session in range(scenario.workload.sessions)]


def soonest(*instants_s: float | None) -> float | None:
    """The earliest of *instants_s*, None standing for never."""
    return min((instant for instant in instants_s if instant is not None), default=None)


def clock_of(scenario: Scenario, session: int) -> ReleaseClock:
    """The input clock of *session*, as if it were let in when it joins."""
    terms, workload, visit = terms_of(scenario, session), scenario.workload, scenario.visit(session)
    luck = None
    if terms.source_fps is not None and not terms.camera.exact:
        own = scenario.noise_key(session)
        drawn = workload.drawn or 0
        fps = terms.source_fps
        luck = FrameLuck(terms.camera, scenario.shape, fps, scenario.seed, drawn, own)
    return ReleaseClock(
        terms.source_fps,
        scenario.shape,
        terms.playout_fps,
        visit.join_s,
        Pauses.of(visit.idle) if visit.idle else NO_PAUSES,
        luck,
        terms.slo.latency_s if workload.classes else 0.0,
    )


def _book(scenario: Scenario, session: int, decide: Callable[[Decision], None]) -> SessionBook:
    workload, terms = scenario.workload, terms_of(scenario, session)
    queue = InputQueue(
        session=session,
        clock=clock_of(scenario, session),
        chunks=scenario.chunks_of(session),
        admission=ADMISSION[workload.admission],
        admission_name=workload.admission,
        max_waiting=workload.max_waiting,
        decide=decide,
        priority=terms.priority,
    )
    return SessionBook(queue, NoiseState(scenario.conditioning), terms.slo.latency_s)
