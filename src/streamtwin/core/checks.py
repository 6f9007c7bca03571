"""Which published results of whole pipelines does the twin have to meet without having seen them?

Each publication is one YAML file in `scenarios/checks/`, named after it. Adding one is adding a file.
No profile may be fitted to what stands there.
"""

from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import Annotated, Literal

import yaml
from pydantic import Field

from streamtwin.core.errors import UserError, unknown_name
from streamtwin.core.section import Section

Metric = Literal["fps", "pass_s", "first_frame_s"]

UNITS: dict[Metric, str] = {"fps": "frames/s", "pass_s": "ms", "first_frame_s": "ms"}
"""Units in which people read them; values are frames/s and seconds."""


class Cell(Section):
    """One published value, and the deployment that it is of.

    `rank` and `blocks` belong to the time of a rank's pass, `source_fps` to a first-frame delay.
    """

    model: str
    resolution: tuple[int, int]
    gpus: int
    steps: int
    stream_batch: bool
    metric: Metric
    value: Annotated[float, Field(ge=0)]
    source: str
    rank: int | None = None
    blocks: int | None = None
    source_fps: float | None = None

    @property
    def overrides(self) -> tuple[str, ...]:
        """What of the scenario is the cell's own."""
        height, width = self.resolution
        live = () if self.source_fps is None else (f"workload.source_fps={self.source_fps:g}",)
        return (
            f"model={self.model}",
            f"resolution=[{height},{width}]",
            f"deployment.gpus={self.gpus}",
            f"deployment.steps={self.steps}",
            f"deployment.stream_batch={str(self.stream_batch).lower()}",
            *live,
        )

    @property
    def label(self) -> str:
        """The deployment, and which of its values."""
        return f"{self.setting}, {self.place}"

    @property
    def setting(self) -> str:
        """Model and resolution."""
        height, width = self.resolution
        return f"{self.model} {height}x{width}"

    @property
    def place(self) -> str:
        """Cards, steps, and which of the deployment's values."""
        cards = f"{self.gpus} card{'s' if self.gpus > 1 else ''}"
        steps = f"{self.steps} step{'s' if self.steps > 1 else ''}"
        off = "" if self.stream_batch else ", no stream batch"
        live = "" if self.source_fps is None else f", {self.source_fps:g} fps in"
        rank = "" if self.rank is None else f", rank {self.rank}"
        return f"{cards}, {steps}{off}{live}{rank}"


class Bounds(Section):
    """What errors may be, as shares of the published value."""

    fps_mean: float
    fps_worst: float
    first_frame: float


class Publication(Section):
    """Cells of one publication, the scenario that they vary, and the bounds to be kept."""

    name: str
    question: str
    publication: str
    scenario: str
    bounds: Bounds
    cells: tuple[Cell, ...]


def publications() -> list[str]:
    """Names of all publications, sorted."""
    return sorted(
        entry.name.removesuffix(".yaml")
        for entry in _folder().iterdir()
        if entry.name.endswith(".yaml")
    )


def publication(name: str) -> Publication:
    """The publication *name*.

    Raises:
        UserError: there is none; says which there are.
    """
    if name not in publications():
        raise UserError(unknown_name("publication", name, publications()))
    text = (_folder() / f"{name}.yaml").read_text("utf-8")
    return Publication.model_validate(yaml.safe_load(text))


def _folder() -> Traversable:
    return files("streamtwin.scenarios") / "checks"
