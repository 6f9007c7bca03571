"""Is a sink frame replaced by the newest frame of the stream?

Asked once a pass for each block and KV row, from when the window is full, so that the answer
does not depend on which blocks share a rank.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import inf


@dataclass(frozen=True, slots=True)
class SinkView:
    """What is known before a chunk is written.

    Attributes:
        frame: number of the chunk's first latent frame.
        sink: number of sinks.
        threshold: likeness, a cosine, below which a sink is out of date.
        similarities: likeness of each sink's keys and values with those of the frame before the
            chunk; empty where nothing has been compared.
        prompt_similarities: likeness of the prompt that each sink was written under with the
            prompt in force; empty where the prompt has never changed.
    """

    frame: int
    sink: int
    threshold: float = 0.2
    similarities: tuple[float, ...] = ()
    prompt_similarities: tuple[float, ...] = ()

    @property
    def least(self) -> float:
        """The smallest likeness that was seen: how near a replacement was."""
        return min((*self.similarities, *self.prompt_similarities), default=inf)

    def saw(self) -> dict[str, float]:
        """The view as numbers by name, for the record; `seen` reads it back."""
        likeness = {f"similarity_{i}": value for i, value in enumerate(self.similarities)}
        prompts = {
            f"prompt_similarity_{i}": value for i, value in enumerate(self.prompt_similarities)
        }
        return {"frame": self.frame, "threshold": self.threshold, **likeness, **prompts}

    @classmethod
    def seen(cls, saw: Mapping[str, float], sink: int) -> "SinkView":
        """The view of *sink* sinks that a record of it stands for."""
        likeness, prompts = (
            tuple(saw[f"{name}_{i}"] for i in range(sink) if f"{name}_{i}" in saw)
            for name in ("similarity", "prompt_similarity")
        )
        return cls(int(saw["frame"]), sink, saw["threshold"], likeness, prompts)


SinkPolicy = Callable[[SinkView], int | None]


def never(view: SinkView) -> int | None:  # noqa: ARG001 - the family's signature
    """Keep the first frames of the stream as anchors for ever."""
    return None


def kv_similarity(view: SinkView) -> int | None:
    """Replace the sink least like the stream, once it is less like it than the threshold.

    Rule and threshold (0.2) of StreamDiffusionV2's code.
    """
    return _least(view.similarities, view.threshold)


def prompt(view: SinkView) -> int | None:
    """Replace, one a chunk, the sinks written under a prompt unlike the one in force.

    As StreamDiffusionV2's paper describes it.
    """
    return _least(view.prompt_similarities, view.threshold)


def _least(similarities: tuple[float, ...], threshold: float) -> int | None:
    """Place of the smallest number if it is below *threshold*; of equal ones the first."""
    if not similarities:
        return None
    least = min(range(len(similarities)), key=similarities.__getitem__)
    return least if similarities[least] < threshold else None


SINK: dict[str, SinkPolicy] = {"never": never, "kv_similarity": kv_similarity, "prompt": prompt}

COMPARES_FRAMES = frozenset({"kv_similarity"})
"""Policies for which the device compares sinks with the newest frame; others save it the work."""
