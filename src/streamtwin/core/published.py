"""What did others report of one device for the same model, VAE, resolution and card?"""

from dataclasses import dataclass
from importlib.resources import files
from typing import Literal

import yaml
from pydantic import TypeAdapter

Quantity = Literal["fps", "pass_s", "encode_s", "decode_s"]


@dataclass(frozen=True, slots=True)
class Published:
    """One figure: frames/s or seconds, of `count` steps (fps), rows (pass_s) or latents (VAE)."""

    model: str
    vae: str
    resolution: tuple[int, int]
    gpu: str
    quantity: Quantity
    count: int
    value: float
    source: str


@dataclass(frozen=True, slots=True)
class Setting:
    """What must agree for a figure to stand beside one of ours; no `gpu`: a card not listed."""

    model: str
    vae: str
    resolution: tuple[int, int]
    gpu: str | None


def published_figures() -> tuple[Published, ...]:
    """All figures that the package knows."""
    folder = files("streamtwin.scenarios") / "published"
    adapter = TypeAdapter(tuple[Published, ...])
    figures: list[Published] = []
    for entry in sorted(folder.iterdir(), key=lambda entry: entry.name):
        figures += adapter.validate_python(yaml.safe_load(entry.read_text("utf-8")))
    return tuple(figures)


def published(setting: Setting, quantity: Quantity, count: int) -> Published | None:
    """The figure of *quantity* for *count* steps, rows or latents; None where none agrees."""
    for figure in published_figures():
        same = (figure.model, figure.vae, figure.resolution, figure.gpu) == (
            setting.model,
            setting.vae,
            setting.resolution,
            setting.gpu,
        )
        if same and (figure.quantity, figure.count) == (quantity, count):
            return figure
    return None
