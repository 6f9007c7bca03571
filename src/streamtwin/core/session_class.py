"""How do the sessions of one kind differ from those of another?"""

from collections.abc import Mapping
from typing import Annotated

from pydantic import Field

from streamtwin.core.errors import ScenarioError
from streamtwin.core.promises import Slo, Viewer
from streamtwin.core.section import MAX_CHUNKS, FrameRate, Positive, Section
from streamtwin.core.source import Camera, Phases

SHARE_TOLERANCE = 1e-6


class SessionClass(Section):
    """A kind of session. What it does not say it has from the workload and the scenario."""

    share: Annotated[
        float | None,
        Field(gt=0, le=1, description="share of the sessions; null for all: equal shares"),
    ] = None
    source_fps: Annotated[
        FrameRate | None, Field(description="its frame rate; null: the workload's")
    ] = None
    duration_s: Annotated[
        Positive | None, Field(description="length of its input; null: the workload's")
    ] = None
    chunks: Annotated[int | None, Field(ge=1, le=MAX_CHUNKS, description="the same, in chunks")] = (
        None
    )
    prompt: Annotated[
        str | None, Field(max_length=10_000, description="its text; null: conditioning.prompt")
    ] = None
    priority: Annotated[
        int, Field(ge=-1000, le=1000, description="higher goes first, under dispatch: priority")
    ] = 0
    slo: Annotated[Slo | None, Field(description="its promises; null: the scenario's")] = None
    viewer: Annotated[Viewer | None, Field(description="its viewer; null: the scenario's")] = None
    camera: Annotated[Camera | None, Field(description="its source; null: the workload's")] = None
    phases: Annotated[Phases | None, Field(description="its phases; null: the workload's")] = None


Classes = Mapping[str, SessionClass]


def check_classes(classes: Classes) -> None:
    """Refuse shares that are given for some only or do not sum to 1, and two lengths at once.

    Raises:
        ScenarioError: names the keys and values.
    """
    for name, one in classes.items():
        if one.chunks is not None and one.duration_s is not None:
            raise ScenarioError(
                f"workload.classes.{name}.chunks = {one.chunks} and duration_s = {one.duration_s}: "
                "give at most one"
            )
    given = {name: one.share for name, one in classes.items() if one.share is not None}
    if given and len(given) < len(classes):
        missing = ", ".join(sorted(set(classes) - set(given)))
        raise ScenarioError(
            f"workload.classes: no share is given for {missing}: give one for every class, or none"
        )
    if given and abs(sum(given.values()) - 1) > SHARE_TOLERANCE:
        told = ", ".join(f"{name} {share:g}" for name, share in given.items())
        raise ScenarioError(
            f"workload.classes: shares ({told}) sum to {sum(given.values()):g}: they must sum to 1"
        )


def shares_of(classes: Classes) -> tuple[float, ...]:
    """Share of the sessions that each class has, in the order of *classes*; they sum to 1."""
    shares = [1.0 if one.share is None else one.share for one in classes.values()]
    return tuple(share / sum(shares) for share in shares)
