"""What holds for one session: its class's word where it says something, else the scenario's?"""

from dataclasses import dataclass

from streamtwin.core.promises import Slo, Viewer
from streamtwin.core.scenario import Scenario
from streamtwin.core.session_class import SessionClass
from streamtwin.core.source import Camera, Phases

EVERYBODY = SessionClass()
"""The class of sessions where a scenario has none."""


@dataclass(frozen=True, slots=True)
class Terms:
    """What one session sends and is promised.

    `name` is its class (empty: there are none), `source_fps` None where its input always waits,
    and `playout_fps` the rate at which its viewer plays.
    """

    name: str
    source_fps: float | None
    slo: Slo
    viewer: Viewer
    camera: Camera
    phases: Phases | None
    priority: int

    @property
    def playout_fps(self) -> float:
        """The input's own frame rate, or the promised one."""
        return self.source_fps or self.slo.fps


def class_of(scenario: Scenario, session: int) -> SessionClass:
    """The class of session number *session*."""
    name = scenario.visit(session).session_class
    return EVERYBODY if name is None else scenario.workload.classes[name]


def terms_of(scenario: Scenario, session: int) -> Terms:
    """What holds for session number *session*."""
    return terms_of_class(scenario, scenario.visit(session).session_class)


def terms_of_class(scenario: Scenario, name: str | None) -> Terms:
    """What holds for sessions of the class *name*; None: where there are no classes."""
    workload = scenario.workload
    own = EVERYBODY if name is None else workload.classes[name]
    return Terms(
        name=name or "",
        source_fps=own.source_fps or workload.source_fps,
        slo=own.slo or scenario.slo,
        viewer=own.viewer or scenario.viewer,
        camera=own.camera or workload.camera,
        phases=own.phases or workload.phases,
        priority=own.priority,
    )
