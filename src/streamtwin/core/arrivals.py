"""When do sessions come by themselves, asking nobody? The open loop of a scenario."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from streamtwin.core.errors import ScenarioError
from streamtwin.core.section import MAX_SESSIONS, Positive, Section

Process = Literal["fixed", "poisson", "bursts", "trace"]

_NEEDS: dict[Process, tuple[str, ...]] = {
    "fixed": ("rate_per_s",),
    "poisson": ("rate_per_s",),
    "bursts": ("rate_per_s", "burst_size"),
    "trace": ("file",),
}
"""Keys that each process cannot do without."""

_TAKES: dict[Process, tuple[str, ...]] = {**_NEEDS, "bursts": (*_NEEDS["bursts"], "burst_gap_s")}
"""Keys that mean something to it."""


class Arrivals(Section):
    """A process by which sessions join, whatever becomes of those before."""

    process: Annotated[
        Process,
        Field(
            description="fixed: one every 1/rate_per_s; poisson: at random; bursts: burst_size at a"
            " time, the bursts at random; trace: as file says"
        ),
    ]
    rate_per_s: Annotated[
        Positive | None, Field(description="sessions that join a second, on average")
    ] = None
    burst_size: Annotated[
        int | None, Field(ge=1, le=MAX_SESSIONS, description="sessions of one burst")
    ] = None
    burst_gap_s: Annotated[
        float | None, Field(ge=0, le=1e6, description="seconds between sessions of one burst")
    ] = None
    file: Annotated[
        str | None,
        Field(
            min_length=1,
            description="CSV file with columns session, join_s, duration_s and, if wanted, class;"
            " relative to the scenario's file",
        ),
    ] = None
    until_s: Annotated[
        Positive | None, Field(description="no session joins later; those that did go on")
    ] = None
    max_sessions: Annotated[
        int | None, Field(ge=1, le=MAX_SESSIONS, description="no more sessions than these join")
    ] = None
    lengths: Annotated[
        Literal["fixed", "exponential"],
        Field(
            description="whether sessions last as long as duration_s or chunks of the workload or"
            " of their class, or so long on average"
        ),
    ] = "fixed"

    @model_validator(mode="after")
    def _complete(self) -> "Arrivals":
        takes = _TAKES[self.process]
        for key in _NEEDS[self.process]:
            if getattr(self, key) is None:
                raise ScenarioError(
                    f"workload.arrivals: process = {self.process!r} needs {key}; its keys are "
                    f"{', '.join(takes)}"
                )
        for key in sorted({key for keys in _TAKES.values() for key in keys} - set(takes)):
            if getattr(self, key) is not None:
                raise ScenarioError(
                    f"workload.arrivals.{key} = {getattr(self, key)} means nothing to process = "
                    f"{self.process!r}, whose keys are {', '.join(takes)}"
                )
        if self.process == "trace" and self.lengths != "fixed":
            raise ScenarioError(
                f"workload.arrivals.lengths = {self.lengths!r}: a trace says how long sessions are"
            )
        if self.process != "trace" and self.until_s is None and self.max_sessions is None:
            raise ScenarioError(
                f"workload.arrivals: process = {self.process!r} never ends by itself: give until_s, "
                "max_sessions, or both"
            )
        return self
