"""How good is a live source: does it keep its pace, lose frames, pause?"""

from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import Field

from streamtwin.core.errors import ScenarioError
from streamtwin.core.section import MAX_SECONDS, Section

Length = Annotated[float, Field(gt=0, le=MAX_SECONDS)]


class Camera(Section):
    """How a live input departs from its frame rate."""

    jitter_s: Annotated[
        float,
        Field(
            ge=0,
            le=10,
            description="standard deviation of a frame's instant; never beyond half a frame, so that"
            " frames stay in order",
        ),
    ] = 0.0
    loss: Annotated[
        float,
        Field(
            ge=0, le=0.95, description="probability that a frame never comes; its chunk waits on"
        ),
    ] = 0.0

    @property
    def exact(self) -> bool:
        """Whether every frame comes, and at its instant."""
        return self.jitter_s == 0 and self.loss == 0


class Phases(Section):
    """A session that alternates between sending frames and none."""

    active_s: Annotated[Length, Field(description="seconds in which frames come")]
    idle_s: Annotated[Length, Field(description="seconds in which none come")]
    lengths: Annotated[
        Literal["fixed", "exponential"],
        Field(description="whether phases last exactly so long, or on average"),
    ] = "fixed"


MAX_PHASES = 10_000
"""Most idle phases of one session."""


def check_idle(idle: Sequence[tuple[float, float]]) -> None:
    """Refuse phases that overlap, have no length, or go back in time.

    Raises:
        ScenarioError: names the first that does.
    """
    until_s = 0.0
    for begin_s, end_s in idle:
        if not until_s <= begin_s < end_s <= MAX_SECONDS:
            raise ScenarioError(
                f"workload.visits: idle phase [{begin_s}, {end_s}] behind {until_s} s: phases are "
                f"[begin, end] in seconds since the session joins, in order, apart, at most {MAX_SECONDS:g}"
            )
        until_s = end_s
