"""What do several simulations of a scenario say together: how runs scatter, what would make it faster?"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from streamtwin.cli.output import progress
from streamtwin.cli.predict import long_enough
from streamtwin.cli.profiles import latency_of
from streamtwin.core.plan import Plan

if TYPE_CHECKING:
    from streamtwin.calibrate.profile import Profile
    from streamtwin.core.motion import Motion

COVERS = (
    "mean over runs whose processes start anew, each with what services scatter by and what runs "
    "differ by; not how wrong the calibration may be, which is what intervals are for"
)


def add_replications(
    metrics: dict[str, Any],
    plan: Plan,
    profile: "Profile",
    motion: Sequence["Motion"],
    count: int,
) -> None:
    """Put the scatter of *count* replications into *metrics*, with every run's figures."""
    from dataclasses import asdict  # noqa: PLC0415

    from streamtwin.sim.replications import CONFIDENCE, METHOD, replicate, spread  # noqa: PLC0415

    latency = latency_of(profile, plan.scenario)
    with progress("replications", count) as bar, long_enough(plan):
        values = replicate(plan, latency, motion, count=count, done=bar.step)
    metrics["replications"] = {
        "count": count,
        "seed": plan.scenario.seed,
        "confidence": CONFIDENCE,
        "method": METHOD,
        "covers": COVERS,
        "figures": {name: asdict(spread(own)) for name, own in values.items()},
        "values": values,
    }


def add_sensitivity(
    metrics: dict[str, Any], plan: Plan, profile: "Profile", motion: Sequence["Motion"]
) -> None:
    """Put into *metrics* what a tenth less time of each service, and of each rank, brings."""
    from streamtwin.sim.sensitivity import cases, document, sensitivity  # noqa: PLC0415

    latency = latency_of(profile, plan.scenario)
    with progress("sensitivity", cases(plan)) as bar, long_enough(plan):
        gains = sensitivity(plan, latency, motion, done=bar.step)
        bar.at(cases(plan))
    metrics["sensitivity"] = document(gains)
