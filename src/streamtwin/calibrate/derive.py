"""What would another card need for the same work? A profile by stated rules of scaling.

Each parameter of a base profile is carried over by one rule, with an interval that reaches from
"nothing of it scales" to "all of it scales with the worse ceiling":

- launch: work of the host, which the card does not change; 0.7 to 1.5 times for another host.
- compute: the share of the base's ceiling that it achieves scales with the ceilings; of the rest
  nobody knows whether it waits for memory or for the host, so it scales with the square root of the
  ratio of memory bandwidths (half way, in logarithms).
- link: latency and bandwidth of the other card's link; the host's part of a receive stays.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import date

from streamtwin.calibrate.assumptions import Assumption
from streamtwin.calibrate.environment import elsewhere
from streamtwin.calibrate.fitted import Fit, Parameter
from streamtwin.calibrate.forms import FORMS
from streamtwin.calibrate.launch_forms import FEW_TOKENS, MANY_TOKENS
from streamtwin.calibrate.profile import Profile
from streamtwin.calibrate.published_profile import hop_fit
from streamtwin.calibrate.terms import Terms
from streamtwin.core import catalog
from streamtwin.core.catalog import GpuSpec
from streamtwin.core.latency import Provenance
from streamtwin.core.ops import DitPass
from streamtwin.core.row_costs import WINDOW
from streamtwin.core.specs import Resolution
from streamtwin.core.vae_flops import decode_flops, encode_flops

LAUNCH_LOW, LAUNCH_HIGH = 0.7, 1.5
"""What another host may make of a launch. An assumption: nobody has published one launch on two
hosts."""

MARGIN = 0.1
"""By how much the interval reaches beyond the ratios of the ceilings; an assumption."""

COMPUTED = ("block_flops", "block_tokens", "block_pairs", "query_tokens", "embedded_tokens", "unembedded_tokens")  # fmt: skip
"""Terms of passes that the card computes; all others are launched."""

MAX_SHARE = 1.0


@dataclass(frozen=True, slots=True)
class Scaling:
    """From one card to another."""

    base: GpuSpec
    target: GpuSpec

    @property
    def compute(self) -> float:
        """Times that the target needs for the same arithmetic, if it were all."""
        return self.base.product_flops_per_s / self.target.product_flops_per_s

    @property
    def memory(self) -> float:
        """Times that the target needs for the same bytes, if they were all."""
        return self.base.memory_bytes_per_s / self.target.memory_bytes_per_s

    def computed(self, value: float, flops_per_s: float) -> Assumption:
        """A time that achieves *flops_per_s* on the base, as it is on the target."""
        share = min(MAX_SHARE, flops_per_s / self.base.product_flops_per_s)
        factor = share * self.compute + (1 - share) * self.memory**0.5
        ratios = (1.0, self.compute, self.memory)
        return Assumption(
            value * factor,
            value * min(factor, min(ratios) * (1 - MARGIN)),
            value * max(factor, max(ratios) * (1 + MARGIN)),
            f"compute: {share:.0%} of it scale by {self.compute:.2f}, the rest by "
            f"{self.memory**0.5:.2f} from {self.base.name}",
        )

    def launched(self, value: float) -> Assumption:
        """Time of the host, as it is beside the target."""
        reason = f"launch: work of the host, as beside {self.base.name}"
        return Assumption(value, value * LAUNCH_LOW, value * LAUNCH_HIGH, reason)


def derive(base: Profile, base_gpu: str, target_gpu: str, today: date) -> Profile:
    """What *base*, of the card *base_gpu*, says of *target_gpu* by the rules of this file.

    Raises:
        UserError: a card is not in the catalogue.
    """
    scaling = Scaling(catalog.gpu(base_gpu), catalog.gpu(target_gpu))
    provenance = Provenance(
        "derived", f"{base.name}, scaled to {target_gpu} by stated rules", today.isoformat()
    )
    return Profile(
        name=f"{target_gpu}-derived",
        environment=elsewhere(f"{_called(scaling.target)}, derived", today.isoformat()),
        provenance=provenance,
        requests=base.requests,
        measurements=(),
        fits=tuple(_derived_fit(fit, scaling) for fit in base.fits if fit.family in FAMILIES),
    )


def _called(card: GpuSpec) -> str:
    """The card as a driver calls it."""
    return next(iter(card.device_names), card.name)


def _derived_fit(fit: Fit, scaling: Scaling) -> Fit:
    """*fit* on the target; what it was wrong by on the base stays behind."""
    return replace(
        FAMILIES[fit.family](fit, scaling),
        points=(),
        left_out_errors=(),
        held_out_errors=(),
        left_out=(),
        alternatives={},
    )


def _passes(fit: Fit, scaling: Scaling) -> Fit:
    return _rising(_with(fit, lambda parameter: _pass_parameter(parameter, scaling)))


def _rising(fit: Fit) -> Fit:
    """*fit* with a launch at many tokens that makes a pass no shorter than at few.

    Where a faster card computes the difference away, launches hold both passes alike.
    """
    if fit.form != "launch_by_tokens":
        return fit
    few, many = f"blocks, {FEW_TOKENS} tokens", f"blocks, {MANY_TOKENS} tokens"
    values = {parameter.name: parameter.value for parameter in fit.parameters}
    flops = [_row_terms(fit, tokens)["block_flops"] for tokens in (FEW_TOKENS, MANY_TOKENS)]
    least_s = values[few] + values["block_flops"] * (flops[0] - flops[1])
    if values[many] >= least_s:
        return fit
    return replace(
        fit, parameters=tuple(_raised(p, least_s) if p.name == many else p for p in fit.parameters)
    )


def _raised(parameter: Parameter, value: float) -> Parameter:
    assert parameter.assumed is not None
    old = parameter.assumed
    reason = f"{old.reason}; no pass is shorter than at {FEW_TOKENS} tokens"
    assumed = Assumption(value, min(old.low, value), max(old.high, value), reason)
    return Parameter(parameter.name, value, None, assumed=assumed)


def _row_terms(fit: Fit, tokens: int) -> Terms:
    """Terms of one block over one row of the full window."""
    op = DitPass(fit.subject, 1, 1, 1, tokens, float(WINDOW * tokens), False, False)
    return FORMS[fit.form].terms(op, "", fit.knob)


def _pass_parameter(parameter: Parameter, scaling: Scaling) -> Assumption:
    if not parameter.name.startswith(COMPUTED):
        return scaling.launched(parameter.value)
    # of terms in tokens the achieved rate is not known: all of them count as computed
    achieved = 1 / parameter.value if parameter.name == "block_flops" and parameter.value else 0.0
    return scaling.computed(parameter.value, achieved or scaling.base.product_flops_per_s)


def _vae(fit: Fit, scaling: Scaling) -> Fit:
    flops = encode_flops if fit.family == "encode" else decode_flops
    spec = catalog.vae(fit.subject)

    def scaled(parameter: Parameter) -> Assumption:
        height, width = (int(side) for side in parameter.name.split(",")[0].split(" x "))
        work = flops(spec, Resolution(height, width), 1)
        return scaling.computed(parameter.value, work / parameter.value)

    return _with(fit, scaled)


def _hop(fit: Fit, scaling: Scaling) -> Fit:
    """The target's link, with what the base's receives cost the host beyond its own link."""
    link = catalog.link(scaling.base.link)
    fixed, byte = fit.parameters
    return hop_fit(
        catalog.link(scaling.target.link),
        _beyond(fixed, link.latency_s, scaling),
        _beyond(byte, 1 / link.bytes_per_s, scaling),
    )


def _beyond(parameter: Parameter, link_s: float, scaling: Scaling) -> Assumption:
    """What of *parameter* is not the link's *link_s*: as beside the base."""
    known = parameter.assumed or scaling.launched(parameter.value)
    least = 1e-6 * parameter.value  # positive, where the link is all of it
    return Assumption(
        max(least, known.value - link_s),
        max(least, known.low - link_s),
        max(least, known.high - link_s),
        f"a receive costs the host what it does beside {scaling.base.name}",
    )


FAMILIES: dict[str, Callable[[Fit, Scaling], Fit]] = {
    "dit": _passes,
    "encode": _vae,
    "decode": _vae,
    "hop": _hop,
}
"""What can be carried over, and how."""


def _with(fit: Fit, scaled: Callable[[Parameter], Assumption]) -> Fit:
    """*fit* with parameters that are all assumed; what was assumed of the base widens them."""
    parameters = []
    for parameter in fit.parameters:
        if parameter.value == 0:
            parameters.append(parameter)
            continue
        new, old = scaled(parameter), parameter.assumed
        low = new.low * (old.low / old.value if old else 1.0)
        high = new.high * (old.high / old.value if old else 1.0)
        assumed = Assumption(new.value, low, high, new.reason)
        parameters.append(Parameter(parameter.name, new.value, None, assumed=assumed))
    return replace(fit, parameters=tuple(parameters))
