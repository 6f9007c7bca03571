"""Who sends what, when? The load of a scenario."""

from typing import Annotated

from pydantic import Field, model_validator

from streamtwin.core.arrivals import Arrivals
from streamtwin.core.choices import OneOf
from streamtwin.core.errors import ScenarioError
from streamtwin.core.policies.admission import ADMISSION
from streamtwin.core.policies.dispatch import DISPATCH
from streamtwin.core.section import MAX_CHUNKS, MAX_SESSIONS, FrameRate, Positive, Section
from streamtwin.core.session_class import SessionClass, check_classes
from streamtwin.core.session_entry import Entry
from streamtwin.core.source import MAX_PHASES, Camera, Phases, check_idle

ClassName = Annotated[str, Field(pattern=r"^\w[\w .+-]*$", max_length=40)]


class Visit(Section):
    """How one session differs from the others."""

    join_s: Annotated[
        float, Field(ge=0, le=1e6, description="when its input begins, in seconds of the run")
    ] = 0.0
    chunks: Annotated[
        int | None,
        Field(ge=1, le=MAX_CHUNKS, description="length of its input; null: the workload's"),
    ] = None
    prompts: Annotated[
        dict[Annotated[int, Field(ge=0)], str],
        Field(description="prompt by the chunk from which on it holds"),
    ] = Field({})
    noise_key: Annotated[
        int | None,
        Field(ge=0, description="its random numbers; null: those of its number"),
    ] = None
    session_class: Annotated[
        str | None, Field(description="one of workload.classes; null: dealt by their shares")
    ] = None
    idle: Annotated[
        list[tuple[float, float]],
        Field(
            max_length=MAX_PHASES,
            description="phases without frames: [begin, end] in seconds since it joined",
        ),
    ] = Field([])

    @model_validator(mode="after")
    def _in_order(self) -> "Visit":
        check_idle(self.idle)
        return self


LIKE_THE_OTHERS = Visit()
"""A session that differs in nothing."""


class Workload(Section):
    """Who sends what."""

    sessions: Annotated[
        int, Field(ge=1, le=MAX_SESSIONS, description="streams, concurrent if they overlap")
    ] = 1
    visits: Annotated[
        list[Visit],
        Field(
            max_length=MAX_SESSIONS,
            description="sessions that differ, in order; the others are alike",
        ),
    ] = Field([])
    arrivals: Annotated[
        Arrivals | None, Field(description="a process by which sessions join, instead of visits")
    ] = None
    classes: Annotated[
        dict[ClassName, SessionClass], Field(description="kinds of sessions by name")
    ] = Field({})
    phases: Annotated[
        Phases | None, Field(description="active and idle phases of each session; null: none")
    ] = None
    camera: Annotated[Camera, Field(description="how live inputs depart from their pace")] = (
        Camera()
    )
    source_fps: Annotated[
        FrameRate | None, Field(description="frame rate of a live input; null: input always waits")
    ] = None
    duration_s: Annotated[
        Positive | None, Field(description="length of the input in video time; null: use chunks")
    ] = None
    chunks: Annotated[
        int | None,
        Field(ge=3, le=MAX_CHUNKS, description="length of the input in chunks; null: duration_s"),
    ] = None
    motion: Annotated[
        str | None,
        Field(
            min_length=1,
            description="CSV file with columns frame, motion and, if wanted, session or class: what"
            " the noise policy sees instead of the input's own motion; relative to the scenario's file",
        ),
    ] = None
    max_waiting: Annotated[
        int, Field(ge=1, le=MAX_CHUNKS, description="bound of the input queue")
    ] = 8
    admission: Annotated[
        str, Field(description="of chunks into the input queue"), OneOf(ADMISSION)
    ] = "accept_all"
    dispatch: Annotated[str, OneOf(DISPATCH)] = "fifo"
    entry: Annotated[Entry, Field(description="which sessions may begin")] = Entry()
    drawn: Annotated[
        int | None,
        Field(
            ge=0,
            description="replication whose draws visits hold; written by streamtwin, null: none yet",
        ),
    ] = None

    @model_validator(mode="after")
    def _open_loop(self) -> "Workload":
        check_classes(self.classes)
        if self.arrivals is None or self.drawn is not None:
            return self
        for key in ("visits", "sessions"):
            if key in self.model_fields_set:
                raise ScenarioError(
                    f"workload.{key} = {getattr(self, key)} beside workload.arrivals, which says "
                    "who joins: give one of them; arrivals.max_sessions bounds their number"
                )
        return self

    @property
    def says_no_length(self) -> bool:
        """Whether the length of sessions is left to a trace of arrivals."""
        traced = self.arrivals is not None and self.arrivals.process == "trace"
        return traced and self.duration_s is None and self.chunks is None
