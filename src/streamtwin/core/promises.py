"""What was the viewer promised, and how does the viewer play?"""

from typing import Annotated

from pydantic import Field

from streamtwin.core.section import FrameRate, Positive, Rate, Section


class Slo(Section):
    """What the viewer was promised."""

    fps: FrameRate = 16.0
    ttff_s: Positive = 1.0
    latency_s: Positive = 1.0
    miss_rate: Rate = 0.01


class Viewer(Section):
    """How the viewer plays."""

    start_buffer_chunks: Annotated[int, Field(ge=1, description="chunks held before playing")] = 1
    start_buffer_s: Annotated[
        float, Field(ge=0, le=3600, description="and at least so many seconds of video")
    ] = 0.0
