"""Who sends what, when? The load of a scenario."""

from typing import Annotated

from pydantic import Field

from streamtwin.core.choices import OneOf
from streamtwin.core.policies.admission import ADMISSION
from streamtwin.core.policies.dispatch import DISPATCH
from streamtwin.core.section import MAX_CHUNKS, MAX_SESSIONS, FrameRate, Positive, Section


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


LIKE_THE_OTHERS = Visit()
"""A session that differs in nothing."""


class Workload(Section):
    """Who sends what."""

    sessions: Annotated[
        int, Field(ge=1, le=MAX_SESSIONS, description="streams, concurrent if they overlap")
    ] = 1
    visits: Annotated[
        list[Visit], Field(description="sessions that differ, in order; the others are alike")
    ] = Field([])
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
    max_waiting: Annotated[
        int, Field(ge=1, le=MAX_CHUNKS, description="bound of the input queue")
    ] = 8
    admission: Annotated[str, OneOf(ADMISSION)] = "accept_all"
    dispatch: Annotated[str, OneOf(DISPATCH)] = "fifo"
