"""What is timed, and which of it is kept back as a test of the fit?

A case is one operation on a host where a given number of rank processes compute at once. Fits
see every case that is not held out; held-out cases only say how wrong a fit is.
"""

from dataclasses import dataclass
from itertools import product
from math import isqrt
from typing import Literal, get_args

from streamtwin.core.deployment import STEP_TIMESTEPS, Deployment
from streamtwin.core.errors import UserError
from streamtwin.core.layout import lay_out
from streamtwin.core.moves import block_bytes
from streamtwin.core.ops import DitPass, Hop, Op, VaeDecode, VaeEncode
from streamtwin.core.plan import HEADER_BYTES, Plan, Stage
from streamtwin.core.ring import Item, Row
from streamtwin.core.scenario import Scenario
from streamtwin.core.workload import Workload

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
    from the cases with ranks = W, because cores share caches and memory. `window`, `sink` and
    `chunk_latents` (T') are latent frames, as in a deployment.
    """

    model: str = "tiny"
    vae: str = "tiny"
    resolution: Resolution = (128, 192)
    ranks: tuple[int, ...] = (1, 2)
    window: int = 6
    sink: int = 3
    device: str = "cpu"
    seed: int = 0
    chunk_latents: int = 1

    def __post_init__(self) -> None:
        if not self.ranks or min(self.ranks) < 1 or len(set(self.ranks)) < len(self.ranks):
            raise UserError(f"ranks = {self.ranks}: give different numbers of at least 1")
        if self.device != "cpu" and self.ranks != (1,):
            raise UserError(f"device = {self.device!r} calibrates ranks = (1,), not {self.ranks}")

    def plan(
        self, ranks: int = 1, resolution: Resolution | None = None, steps: int = MAX_ROWS
    ) -> Plan:
        """The plan whose stages and shapes are measured, at another *resolution* for hops.

        *steps* are the denoising steps, and with them the rows of the largest pass.

        Raises:
            UserError: model or VAE are unknown, or shapes, window and chunks do not go together.
        """
        deployment = Deployment(
            gpus=ranks,
            steps=steps,
            window=self.window,
            sink=self.sink,
            chunk_latents=self.chunk_latents,
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
    """Which resolution and rows make an item of so many bytes; from 1 KiB to a block's size."""
    height, width = request.resolution
    double, half = (2 * height, 2 * width), (_halved(height), _halved(width))
    wide = _block_scale(request)
    shapes: list[tuple[Resolution, int]] = [
        ((16, 16), 1),
        (half, 1),
        *[((wide * height, wide * width), rows) for rows in (2, 4) if wide > 2],
        *[(double, rows) for rows in (2, 4)],
        # the sizes of the resolution itself come last, so that they win where two agree
        *[(request.resolution, rows) for rows in (1, 2, 3, 4)],
    ]
    return {
        HEADER_BYTES + rows * request.plan(1, resolution).row_bytes(1): (resolution, rows)
        for resolution, rows in shapes
    }


def _block_scale(request: CalibrationRequest) -> int:
    """How many times the resolution makes four rows as large as a block that migrates."""
    plan = request.plan()
    wanted = min(block_bytes(plan, 1, 1), 2**26)  # beyond that a migration is its own measure
    return isqrt((wanted - 1) // (4 * plan.row_bytes(1))) + 1


def _halved(pixels: int) -> int:
    """About half of *pixels*, as a legal side of a video."""
    return max(16, pixels // 32 * 16)


FIRST = 0
"""Age of the first chunk, which has T' + 1 latents and attends nothing but itself."""

Position = Literal["whole", "first", "middle", "last"]


@dataclass(frozen=True, slots=True)
class _Design:
    """Writes passes as the plan does: by the ages of the chunks in them, not by tokens."""

    plan: Plan

    def at(
        self, blocks: int, rows: int, position: Position, youngest: int | None = None
    ) -> DitPass:
        """A pass over *rows* chunks in a row, the earliest of them number *youngest*.

        None: all of them attend the full window.
        """
        ends = position in ("whole", "first"), position in ("whole", "last")
        return self.plan.dit_pass(
            Stage(0, range(blocks), *ends, *ends), item_from(self.plan, rows, youngest)
        )


def item_from(plan: Plan, rows: int, youngest: int | None = None) -> Item:
    """An item of *rows* chunks in a row at different steps, the earliest number *youngest*.

    None: so late in the stream that all attend the full window.
    """
    first = 2 * plan.scenario.attention_window.frames if youngest is None else youngest
    ordinals = range(first + rows - 1, first - 1, -1)
    return Item(ordinals[0], tuple(Row(0, o, o, step) for step, o in enumerate(ordinals)))


def _fitted_passes(request: CalibrationRequest) -> list[DitPass]:
    """Passes that span blocks, rows, attended tokens and the ends of the model.

    Corners fix slopes, inner points show curvature, no block leaves a micro-step's fixed cost.
    """
    plan = request.plan()
    at, n = _Design(plan).at, plan.model.blocks
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
            at(1, 1, "whole", 1),
            at(third, 1, "first"),
            at(third, 3, "last"),
            at(third, 2, "middle", 2),
            at(half, 3, "whole"),
            at(half, 1, "last", 2),
            at(most, 1, "first"),
            at(most, 2, "last"),
            at(n, 1, "whole"),
            at(n, 4, "whole"),
            at(n, 2, "middle", 1),
            at(n, 1, "whole", FIRST),
            at(third, 1, "first", FIRST),
            at(most, 1, "last", FIRST),
        ]
    )


def _held_out_passes(request: CalibrationRequest) -> list[DitPass]:
    """Passes as deployments run them, and a few between the fitted ones."""
    plan = request.plan()
    at, n = _Design(plan).at, plan.model.blocks
    _, half, most = _fractions(n)
    fitted = set(_fitted_passes(request))
    tested = [
        at(n, 2, "whole"),
        at(half, 2, "first"),
        at(half, 2, "last"),
        at(half, 1, "first"),
        at(most, 3, "middle"),
        at(n, 1, "whole", 2),
        at(half, 1, "first", FIRST),
    ]
    return [op for op in _unique(tested) if op not in fitted]


def _fractions(blocks: int) -> tuple[int, int, int]:
    """A third, a half and two thirds of the blocks, at least one each."""
    return max(1, blocks // 3), max(1, blocks // 2), max(1, 2 * blocks // 3)


def _unique(passes: list[DitPass]) -> list[DitPass]:
    return list(dict.fromkeys(passes))


def _vae_ops(request: CalibrationRequest) -> list[VaeEncode | VaeDecode]:
    """Encoding and decoding of a stream's first chunk and of a later one."""
    plan = request.plan()
    return [op for kind in (plan.encode, plan.decode) for op in (kind(FIRST), kind(1))]
