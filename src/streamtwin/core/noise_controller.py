"""Which parameters does the noise policy `motion_window` take, and which are legal?"""

from typing import Annotated

from pydantic import Field, model_validator

from streamtwin.core.errors import ScenarioError
from streamtwin.core.section import Section

NoiseRate = Annotated[
    float,
    # the entry timestep 1000 s - 100 stays within 0..1000
    Field(ge=0.1, le=1.0),
]


class NoiseController(Section):
    """Parameters of `motion_window`; by default the constants of StreamDiffusionV2."""

    k: Annotated[int, Field(ge=1, le=10_000, description="frames over which motion is taken")] = 4
    sigma: Annotated[
        float,
        Field(gt=0, allow_inf_nan=False, description="motion of least noise, on pixels in [-1, 1]"),
    ] = 0.2
    s_min: Annotated[NoiseRate, Field(description="noise rate for motion of sigma and more")] = 0.7
    s_max: Annotated[NoiseRate, Field(description="noise rate for a still picture")] = 0.8
    lam: Annotated[
        float, Field(gt=0, le=1, description="weight of the new rate against the one before")
    ] = 0.9

    @model_validator(mode="after")
    def _ordered(self) -> "NoiseController":
        if self.s_min > self.s_max:
            raise ScenarioError(
                f"conditioning.noise_controller.s_min = {self.s_min} must be at most "
                f"s_max = {self.s_max}"
            )
        return self

    def check_first(self, noise_rate: float) -> None:
        """Refuse a scenario's *noise_rate*, which the first chunk gets, outside of the range.

        Raises:
            ScenarioError: states the range.
        """
        if not self.s_min <= noise_rate <= self.s_max:
            raise ScenarioError(
                f"conditioning.noise_rate = {noise_rate} is the first chunk's rate: with "
                f"noise = 'motion_window' it must be within conditioning.noise_controller's "
                f"s_min = {self.s_min} to s_max = {self.s_max}"
            )
