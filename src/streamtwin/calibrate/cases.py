"""What is timed, and which of it is kept back as a test of the fit?

A case is one operation on a host where a given number of rank processes compute at once. Fits
see every case that is not held out; held-out cases only say how wrong a fit is.
"""

from dataclasses import dataclass
from itertools import product
from typing import Literal, get_args

from streamtwin.core import catalog, specs
from streamtwin.core.errors import UserError
from streamtwin.core.ops import DitPass, Hop, Op, VaeDecode, VaeEncode
from streamtwin.core.plan import HEADER_BYTES, Plan, lay_out
from streamtwin.core.scenario import STEP_TIMESTEPS, Deployment, Scenario, Workload

MAX_ROWS = len(STEP_TIMESTEPS)
"""Rows of the largest stream batch: one per denoising step."""

HopTag = Literal[
    "receiver waits, sender idle",
    "receiver waits, sender computes",
    "sender waits, sender idle",
    "sender waits, sender computes",
]
"""Who was there first, and whether the sender goes on computing while the item leaves it."""

HOP_TAGS: tuple[HopTag, ...] = get_args(HopTag)

Resolution = tuple[int, int]


@dataclass(frozen=True, slots=True)
class CalibrationRequest:
    """What a calibration covers: one model and VAE at one resolution (height, width in pixels).

    `ranks` says how many rank processes compute at once; a deployment of W ranks is predicted
    from the cases with ranks = W, because cores share caches and memory. `window` and `sink` are
    latent frames, as in a deployment.
    """

    model: str = "tiny"
    vae: str = "tiny"
    resolution: Resolution = (128, 192)
    ranks: tuple[int, ...] = (1, 2)
    window: int = 6
    sink: int = 3
    device: str = "cpu"
    seed: int = 0

    def __post_init__(self) -> None:
        if not self.ranks or min(self.ranks) < 1 or len(set(self.ranks)) < len(self.ranks):
            raise UserError(f"ranks = {self.ranks}: give different numbers of at least 1")
        if self.device != "cpu" and self.ranks != (1,):
            raise UserError(f"device = {self.device!r} calibrates ranks = (1,), not {self.ranks}")

    def plan(self, ranks: int = 1, resolution: Resolution | None = None) -> Plan:
        """The plan whose stages and shapes are measured, at another *resolution* for hops.

        Raises:
            UserError: model or VAE are unknown, or their shapes do not go together.
        """
        deployment = Deployment(
            gpus=ranks, steps=MAX_ROWS, window=self.window, sink=self.sink, chunk_latents=1
        )
        scenario = Scenario(
            model=self.model,
            vae=self.vae,
            resolution=resolution or self.resolution,
            deployment=deployment,
            workload=Workload(chunks=3),
            seed=self.seed,
        )
        return lay_out(scenario, itemsize=4 if self.device == "cpu" else 2)


@dataclass(frozen=True, slots=True)
class Case:
    """One operation to time while `ranks` processes compute; `tag` tells apart equal ones."""

    op: Op
    ranks: int
    tag: str = ""
    held_out: bool = False


def kernel_cases(request: CalibrationRequest, ranks: int) -> list[Case]:
    """DiT passes, encodings and decodings to time with *ranks* processes computing."""
    fitted = [Case(op, ranks) for op in _fitted_passes(request)]
    tested = [Case(op, ranks, held_out=True) for op in _held_out_passes(request)]
    assert not {case.op for case in fitted} & {case.op for case in tested}
    return fitted + tested + [Case(op, ranks) for op in _vae_ops(request)]


def hop_cases(request: CalibrationRequest, ranks: int) -> list[Case]:
    """Hops of every size and in every situation; every third size is held out."""
    sizes = sorted(hop_shapes(request))
    return [
        Case(Hop(size), ranks, tag, held_out=0 < place < len(sizes) - 1 and place % 3 == 0)
        for (place, size), tag in product(enumerate(sizes), HOP_TAGS)
    ]


def hop_shapes(request: CalibrationRequest) -> dict[int, tuple[Resolution, int]]:
    """Which resolution and rows make an item of so many bytes; from about 1 KiB to several MiB."""
    height, width = request.resolution
    double, half = (2 * height, 2 * width), (_halved(height), _halved(width))
    shapes: list[tuple[Resolution, int]] = [
        ((16, 16), 1),
        (half, 1),
        *[(double, rows) for rows in (2, 4)],
        # the sizes of the resolution itself come last, so that they win where two agree
        *[(request.resolution, rows) for rows in (1, 2, 3, 4)],
    ]
    return {
        HEADER_BYTES + rows * request.plan(1, resolution).row_bytes(1): (resolution, rows)
        for resolution, rows in shapes
    }


def _halved(pixels: int) -> int:
    """About half of *pixels*, as a legal side of a video."""
    return max(16, pixels // 32 * 16)


@dataclass(frozen=True, slots=True)
class _Design:
    """Writes passes in the unit of a request: K in frames, position in the ring as a word."""

    request: CalibrationRequest

    def at(
        self,
        blocks: int,
        rows: int,
        position: Literal["whole", "first", "middle", "last"],
        frames: float | None = None,
        latents: int = 1,
    ) -> DitPass:
        """A pass whose rows attend *frames* latent frames on average; None: the full window."""
        tokens = specs.Resolution(*self.request.resolution).tokens
        attended = self.request.window if frames is None else min(frames, self.request.window)
        return DitPass(
            model=self.request.model,
            blocks=blocks,
            rows=rows,
            chunk_latents=latents,
            tokens=tokens,
            kv_tokens=float(attended * tokens),
            embeds=position in ("whole", "first"),
            unembeds=position in ("whole", "last"),
        )


def _fitted_passes(request: CalibrationRequest) -> list[DitPass]:
    """Passes that span blocks, rows, attended tokens and the ends of the model.

    Corners fix each slope, a few inner points show curvature. No block at all leaves what a
    micro-step costs however short its stage is.
    """
    at, n = _Design(request).at, catalog.model(request.model).blocks
    third, half, most = _fractions(n)
    return _unique(
        [
            at(0, 1, "whole"),
            at(0, 4, "whole"),
            at(0, 2, "first"),
            at(0, 3, "last"),
            at(1, 1, "middle"),
            at(1, 4, "middle"),
            at(1, 2, "whole"),
            at(1, 1, "whole", 3),
            at(third, 1, "first"),
            at(third, 3, "last"),
            at(third, 2, "middle", 4.5),
            at(half, 3, "whole"),
            at(half, 1, "last", 4),
            at(most, 1, "first"),
            at(most, 2, "last"),
            at(n, 1, "whole"),
            at(n, 4, "whole"),
            at(n, 2, "middle", 3.5),
            at(n, 1, "whole", 2, latents=2),
            at(third, 1, "first", 2, latents=2),
            at(most, 1, "last", 2, latents=2),
        ]
    )


def _held_out_passes(request: CalibrationRequest) -> list[DitPass]:
    """Passes as deployments run them, and a few between the fitted ones."""
    at, n = _Design(request).at, catalog.model(request.model).blocks
    _, half, most = _fractions(n)
    fitted = set(_fitted_passes(request))
    tested = [
        at(n, 2, "whole"),
        at(half, 2, "first"),
        at(half, 2, "last"),
        at(half, 1, "first"),
        at(most, 3, "middle"),
        at(n, 1, "whole", 4),
        at(half, 1, "first", 2, latents=2),
    ]
    return [op for op in _unique(tested) if op not in fitted]


def _fractions(blocks: int) -> tuple[int, int, int]:
    """A third, a half and two thirds of the blocks, at least one each."""
    return max(1, blocks // 3), max(1, blocks // 2), max(1, 2 * blocks // 3)


def _unique(passes: list[DitPass]) -> list[DitPass]:
    return list(dict.fromkeys(passes))


def _vae_ops(request: CalibrationRequest) -> list[VaeEncode | VaeDecode]:
    """Encoding and decoding of a stream's first chunk (two latents) and of a later one."""
    height, width = request.resolution
    return [
        kind(request.vae, height, width, latents, latents > 1)
        for kind in (VaeEncode, VaeDecode)
        for latents in (2, 1)
    ]
