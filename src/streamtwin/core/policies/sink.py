"""Is a sink frame replaced by the newest frame of the stream?"""

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class SinkView:
    """The latent frame about to be written and the number of sink frames."""

    frame: int
    sink: int


SinkPolicy = Callable[[SinkView], int | None]


def never(view: SinkView) -> int | None:  # noqa: ARG001 - the family's signature
    """Keep the first frames of the stream as anchors for ever."""
    return None


SINK: dict[str, SinkPolicy] = {"never": never}
