"""What shapes the picture and the attention state of a scenario, rather than its time?"""

from typing import Annotated

from pydantic import Field, model_validator

from streamtwin.core.choices import OneOf
from streamtwin.core.noise_controller import NoiseController
from streamtwin.core.policies.noise import NOISE
from streamtwin.core.policies.rope import ROPE
from streamtwin.core.policies.sink import SINK
from streamtwin.core.section import Section


class Conditioning(Section):
    """What shapes the picture and the attention state rather than the time."""

    noise: Annotated[str, OneOf(NOISE)] = "motion_aware"
    noise_rate: Annotated[
        float,
        # the entry timestep 1000 s - 100 stays within 0..1000, also where motion takes 0.1 off
        Field(ge=0.2, le=1.0, description="rate s at which noise is mixed in"),
    ] = 0.8
    noise_controller: NoiseController = NoiseController()
    sink_refresh: Annotated[str, OneOf(SINK)] = "never"
    sink_threshold: Annotated[
        float, Field(ge=-1, le=1, description="likeness (cosine) below which a sink is replaced")
    ] = 0.2
    rope_refresh: Annotated[str, OneOf(ROPE)] = "never"
    rope_threshold: Annotated[
        int, Field(ge=2, description="temporal position, in latent frames, that restarts them")
    ] = 50
    prompt: Annotated[str, Field(max_length=10_000, description="text that steers the video")] = ""

    @model_validator(mode="after")
    def _first_rate(self) -> "Conditioning":
        if self.noise == "motion_window":
            self.noise_controller.check_first(self.noise_rate)
        return self
