"""What does one calibration cover? Models, VAEs and resolutions, in parts that start on their own.

A part is what one start of the rank processes times. One part after the other runs, so that only
one model is in memory at a time and whatever it allocated goes with its processes.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Literal

from streamtwin.calibrate.beside import ahead_cases, card_cases
from streamtwin.calibrate.cases import (
    CalibrationRequest,
    Case,
    Resolution,
    hop_cases,
    kernel_cases,
)
from streamtwin.calibrate.transfer_cases import transfer_cases, transfer_ranks
from streamtwin.core.errors import UserError
from streamtwin.core.memory import rank_memory
from streamtwin.core.ops import Op

PartKind = Literal["kernels", "hops", "transfers"]

MEMORY_SHARE = 0.9
"""Share of the free memory that weights and caches may take; the rest is for what passes, encoding
and decoding allocate while they run."""


@dataclass(frozen=True, slots=True)
class _Kind:
    """Cases of a request at a number of ranks, and whether these give each other something."""

    cases: Callable[[CalibrationRequest, int], list[Case]]
    together: bool = False


def _service_cases(request: CalibrationRequest, ranks: int) -> list[Case]:
    return kernel_cases(request, ranks) + card_cases(request)


def _all_hops(request: CalibrationRequest, ranks: int) -> list[Case]:
    return hop_cases(request, ranks) + ahead_cases(request, ranks)


_KINDS: dict[PartKind, _Kind] = {
    "kernels": _Kind(_service_cases),
    "hops": _Kind(_all_hops, together=True),
    "transfers": _Kind(transfer_cases, together=True),
}


@dataclass(frozen=True, slots=True)
class Grid:
    """Requests that share device, ranks and seed, and in words what was asked but cannot be.

    `cards` are those of this host: between so many ranks transfers can be timed.

    Raises:
        UserError: nothing is left to measure, or the requests differ in what they must share.
    """

    requests: tuple[CalibrationRequest, ...]
    skipped: tuple[str, ...] = ()
    cards: int = 1

    def __post_init__(self) -> None:
        if not self.requests:
            raise UserError("nothing is left to calibrate: " + "; ".join(self.skipped))
        for name in ("device", "ranks", "seed"):
            values = {getattr(request, name) for request in self.requests}
            if len(values) > 1:
                raise UserError(f"{name}: one calibration has one, not {sorted(values)}")

    @property
    def device(self) -> str:
        """Where everything is measured."""
        return self.requests[0].device

    @property
    def ranks(self) -> tuple[int, ...]:
        """Numbers of ranks that compute at once, rising."""
        return tuple(sorted(self.requests[0].ranks))

    @property
    def seed(self) -> int:
        """Seed of weights, inputs and the order of measuring."""
        return self.requests[0].seed


@dataclass(frozen=True, slots=True)
class Part:
    """What one start of `ranks` processes times: kernels, hops or other transfers of one request."""

    kind: PartKind
    request: CalibrationRequest
    ranks: int
    cases: tuple[Case, ...]

    @property
    def label(self) -> str:
        """The part in a few words; no two parts of a grid have the same."""
        request = self.request
        vae = "" if request.vae == request.model else f" with {request.vae}"
        where = f"{request.model}{vae} at {resolution_text(request.resolution)}{_shape(request)}"
        return f"{self.kind} of {where}, {self.ranks} {'rank' if self.ranks == 1 else 'ranks'}"


def _shape(request: CalibrationRequest) -> str:
    """How chunks and attention differ from what goes without saying, if they do."""
    usual = CalibrationRequest()
    words = []
    if request.chunk_latents != usual.chunk_latents:
        words.append(f", {request.chunk_latents} latents a chunk")
    if (request.window, request.sink) != (usual.window, usual.sink):
        words.append(f", window {request.window} with sink {request.sink}")
    return "".join(words)


def resolution_text(resolution: Resolution) -> str:
    """`HEIGHTxWIDTH` in pixels."""
    return "x".join(map(str, resolution))


def make_grid(
    models: Sequence[str],
    vaes: Sequence[str],
    resolutions: Sequence[Resolution],
    free_bytes: Callable[[int], float],
    *,
    ranks: tuple[int, ...] = (1,),
    device: str = "cpu",
    cards: int = 1,
    chunk_latents: int = 1,
) -> Grid:
    """Every model with every VAE at every resolution that `free_bytes(ranks)` a rank hold.

    Raises:
        UserError: a name is unknown, things do not go together, or nothing fits.
    """
    fitting, skipped = list[CalibrationRequest](), list[str]()
    free = free_bytes(max(ranks))
    each = product(dict.fromkeys(models), dict.fromkeys(resolutions), dict.fromkeys(vaes))
    for model, resolution, vae in each:
        request = CalibrationRequest(
            model, vae, resolution, ranks, device=device, chunk_latents=chunk_latents
        )
        need = needed_bytes(request)
        if need <= MEMORY_SHARE * free:
            fitting.append(request)
        else:
            skipped.append(
                f"{model} with {vae} at {resolution_text(resolution)}: needs {need / 1e9:.1f} GB, "
                f"{MEMORY_SHARE * free / 1e9:.1f} GB of {device} are free for it"
            )
    return Grid(tuple(fitting), tuple(skipped), cards)


def needed_bytes(request: CalibrationRequest) -> int:
    """Bytes of weights and caches of a rank that holds the whole model, as calibration does."""
    plan = request.plan()
    return sum(rank_memory(plan, plan.stages[0]).values())


def parts_of(grid: Grid) -> tuple[Part, ...]:
    """What has to be timed, each operation once: VAEs share passes, models share a VAE."""
    seen = set[tuple[Op, int, str]]()
    parts = []
    together = transfer_ranks(grid.requests[0], grid.cards)
    counts = sorted({*grid.ranks, *together})
    for ranks, request, (name, kind) in product(counts, grid.requests, _KINDS.items()):
        if ranks not in (together if kind.together else grid.ranks):
            continue
        fresh = [c for c in kind.cases(request, ranks) if (c.op, ranks, c.tag) not in seen]
        seen |= {(case.op, ranks, case.tag) for case in fresh}
        if fresh:
            parts.append(Part(name, request, ranks, tuple(fresh)))
    return tuple(parts)
