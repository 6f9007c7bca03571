"""How long will a case take, before it was ever timed, and how much will its times scatter?

A first guess from FLOPs and the device's ceiling, then from the times of what was seen already.
It decides what fits a budget and never enters a profile.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from statistics import median

from streamtwin.calibrate.cases import Case
from streamtwin.calibrate.grid import Part
from streamtwin.calibrate.harness import MIN_TIMES, WARMUPS, Measurement, relative_iqr
from streamtwin.core import catalog
from streamtwin.core.ops import (
    Collective,
    DitPass,
    Family,
    Hop,
    Migration,
    VaeDecode,
    VaeEncode,
    family_of,
)
from streamtwin.core.specs import Resolution
from streamtwin.core.vae_flops import decode_flops, encode_flops

LEAST_TIMES = WARMUPS + MIN_TIMES
"""Times of a case in one start of the processes, at least."""


@dataclass(frozen=True, slots=True)
class Ceilings:
    """What a device does at most, and which share of it passes and VAE reach.

    `block_s` is the floor of a block, `between_s` what comes between two times (inputs, emptied
    caches), `start_s` a start of the processes, `weight_s` the drawing of one parameter.
    """

    source: str
    flops_per_s: float
    pass_share: float
    vae_share: float
    block_s: float
    between_s: float
    start_s: float
    weight_s: float


def card_ceilings(card: catalog.GpuSpec) -> Ceilings:
    """Ceilings of a *card* of the catalogue, reached as StreamDiffusionV2's figures reach them.

    Of 794.5 TFLOP/s measured on an H100: 14B passes at 480x832 0.43 (50 TFLOP in 147 ms), VAE 0.2
    (8.1 TFLOP in 50 ms, 13.6 in 86 ms); 1.3B passes take 1.3 ms a block beyond that (57.6 ms).
    """
    return Ceilings(
        source=f"{card.name}, {card.source}",
        flops_per_s=card.product_flops_per_s,
        pass_share=0.43,
        vae_share=0.2,
        block_s=1.3e-3,
        between_s=5e-3,
        start_s=15.0,
        weight_s=5e-10,
    )


def core_ceilings(flops_per_s: float, source: str) -> Ceilings:
    """Ceilings of a CPU core whose product of matrices runs at *flops_per_s*.

    The shares are those of `tiny` on a core of a 2-core EPYC virtual machine.
    """
    return Ceilings(
        source=source,
        flops_per_s=flops_per_s,
        pass_share=0.6,
        vae_share=0.22,
        block_s=5e-4,
        between_s=3e-3,
        start_s=1.2,
        weight_s=2e-8,
    )


PASS_S = 1.5e-3
"""What a pass costs besides its blocks, roughly, on any device."""

HOP_S, HOP_BYTES_PER_S = 2e-3, 1e9
"""A hop over the loopback, roughly, with the waits that its situation adds (`hop_runner`)."""

HOP_BETWEEN_S = 0.014
"""What comes between two hops: the first side waits for the other, the sender computes."""

SPREADS: Mapping[Family, float] = {
    "dit": 0.05,
    "encode": 0.05,
    "decode": 0.05,
    "hop": 0.3,
    "collective": 0.3,
}
"""Relative scatter of the times of a case, before any was seen."""

ANY_SPREAD = 0.1


@dataclass(frozen=True, slots=True)
class Expectation:
    """Expected seconds and scatter of cases, from *ceilings* and from what was *seen* of them."""

    ceilings: Ceilings
    seen: Mapping[Case, float] = field(default_factory=dict)
    """Typical seconds of the cases that were timed."""
    scatter: Mapping[Family, float] = field(default_factory=dict)
    """Median relative scatter of the families that were timed."""

    def case_s(self, case: Case) -> float:
        """Seconds that *case* takes once: as seen, else guessed and corrected by its family."""
        if case in self.seen:
            return self.seen[case]
        return guess_s(case, self.ceilings) * self._correction(family_of(case.op))

    def _correction(self, family: Family) -> float:
        """How much longer the operations of *family* took than was guessed, in the median."""
        ratios = [
            seconds / guess_s(case, self.ceilings)
            for case, seconds in self.seen.items()
            if family_of(case.op) == family
        ]
        return median(ratios) if ratios else 1.0

    def least_s(self, case: Case) -> float:
        """Seconds of the fewest times that a case gets in one start, with what lies between."""
        between = (
            HOP_BETWEEN_S
            if isinstance(case.op, Hop | Collective | Migration)
            else self.ceilings.between_s
        )
        return LEAST_TIMES * (self.case_s(case) + between)

    def start_s(self, part: Part) -> float:
        """Seconds of starting the processes of *part*, its weights drawn."""
        weights = catalog.model(part.request.model).parameters if part.kind == "kernels" else 0
        return self.ceilings.start_s + weights * self.ceilings.weight_s

    def spread(self, case: Case) -> float:
        """Relative scatter of the times of *case*."""
        family = family_of(case.op)
        return self.scatter.get(family, SPREADS.get(family, ANY_SPREAD))


def expect(ceilings: Ceilings, measurements: Iterable[Measurement] = ()) -> Expectation:
    """What *ceilings* and the times taken so far let expect of all cases."""
    seen: dict[Case, float] = {}
    scatters: dict[Family, list[float]] = {}
    for one in measurements:
        if one.clean:
            seen[one.case] = max(median(one.clean), seen.get(one.case, 0.0))
        if len(one.clean) >= MIN_TIMES:
            scatters.setdefault(family_of(one.case.op), []).append(relative_iqr(one.clean))
    return Expectation(ceilings, seen, {name: median(each) for name, each in scatters.items()})


def guess_s(case: Case, ceilings: Ceilings) -> float:
    """Seconds of *case* by its FLOPs or bytes."""
    match case.op:
        case DitPass() as op:
            flops = catalog.model(op.model).block_flops(op.query_tokens, int(op.kv_tokens))
            block_s = ceilings.block_s + flops / (ceilings.flops_per_s * ceilings.pass_share)
            return PASS_S + op.blocks * block_s
        case VaeEncode() | VaeDecode() as op:
            size, vae = Resolution(op.height, op.width), catalog.vae(op.vae)
            count = encode_flops if isinstance(op, VaeEncode) else decode_flops
            rate = ceilings.flops_per_s * ceilings.vae_share
            return PASS_S + count(vae, size, op.latents) / rate
        case op:
            return HOP_S + op.size_bytes / HOP_BYTES_PER_S
