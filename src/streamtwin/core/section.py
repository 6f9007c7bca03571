"""What do all sections of a scenario share: how strict they are, which numbers they take?"""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

MAX_RANKS = 64
"""Most ranks of one deployment. What the header of an item has room for."""

MAX_REPLICAS = 1000
"""Most copies of a pipeline: as many as there can be sessions."""

MAX_CHUNKS = 1_000_000
"""Longest input that is taken: days of video, more than any record of it is good for."""

MAX_SESSIONS = 1000
"""Most sessions of one scenario."""

MAX_REPLICATIONS = 1000
"""Most replications of one scenario."""

MAX_SECONDS = 1e6
"""Longest time that a scenario may name: eleven days."""

Seconds = Annotated[float, Field(ge=0, le=MAX_SECONDS)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
FrameRate = Annotated[float, Field(ge=0.1, le=100_000)]
Rate = Annotated[float, Field(ge=0, le=1)]


class Section(BaseModel):
    """A part of a scenario: values that stay as they are, and no key that nobody knows."""

    model_config = ConfigDict(extra="forbid", frozen=True)
