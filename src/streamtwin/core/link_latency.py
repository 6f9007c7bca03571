"""How long does what goes over a link take, by the link's entry in the catalogue?

For links that no profile has measured. A hop is the link's latency, the bytes over its bandwidth,
and what a blocking receive costs the host. What members of a stage exchange is not received that way:
it costs a launch, and every byte that leaves a member goes over its own end of the link once.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from streamtwin.core.catalog import LinkSpec
from streamtwin.core.errors import CalibrationError
from streamtwin.core.latency import HostState, Prediction, Provenance
from streamtwin.core.ops import Collective, Hop, Migration, Op, family_of

LAUNCH_S = 2e-5
"""What an exchange costs beyond its messages: the host's call and the card's kernel. An
assumption; small all-reduces of NCCL within a host are reported at 10 to 30 microseconds."""

TRANSFER_SPREAD = 0.25
"""By how much a link may be faster or slower than its entry says; an assumption."""

HOST_SPREAD = 0.5
"""By how much the host's part may be off: blocking receives are reported at 2 to 6 ms."""


@dataclass(frozen=True, slots=True)
class LinkLatency:
    """The latency model of one link: it answers for hops, exchanges and migrations."""

    link: LinkSpec

    @property
    def provenance(self) -> Provenance:
        """`derived`: from the catalogue's figures; `assumed` where one of them is our guess."""
        guessed = "assumed" in (self.link.confidence, self.link.latency_confidence)
        return Provenance(
            "assumed" if guessed else "derived", f"link {self.link.name} of the catalogue", ""
        )

    def predict(self, op: Op) -> Prediction:
        """Predict how long *op* takes on the link.

        Raises:
            CalibrationError: *op* goes over no link.
        """
        match op:
            case Hop():
                host_s, moved_s = self.link.receive_s or 0.0, self.link.transfer_s(op.size_bytes)
            case Migration():
                host_s, moved_s = 0.0, self.link.transfer_s(op.size_bytes)
            case Collective():
                host_s, moved_s = LAUNCH_S, exchange_s(self.link, op)
            case _:
                raise CalibrationError(f"link {self.link.name}: {family_of(op)} is no transfer")
        mean_s = host_s + moved_s
        low_s = (1 - HOST_SPREAD) * host_s + (1 - TRANSFER_SPREAD) * moved_s
        # queries may travel while others are attended
        least_s = 0.0 if isinstance(op, Collective) and op.exchange == "ring_shift" else low_s
        high_s = (1 + HOST_SPREAD) * host_s + (1 + TRANSFER_SPREAD) * moved_s
        return Prediction(mean_s, least_s, high_s, self.provenance)

    def noise(self, op: Op) -> Sequence[float]:  # noqa: ARG002 - the protocol's signature
        """Nothing was repeated."""
        return ()

    def between(self, op: Op) -> float:  # noqa: ARG002 - the protocol's signature
        """Nothing is known of runs."""
        return 0.0

    def host(self, rank: int) -> HostState:  # noqa: ARG002 - the protocol's signature
        """Nothing was measured."""
        return HostState()


def exchange_s(link: LinkSpec, op: Collective) -> float:
    """Seconds in which the messages of *op* move, of which each member gives `size_bytes`.

    All to all: its own share of what a member gives stays. Ring: one message. Gathering: what
    each gives passes every other member, one after the other.
    """
    G = op.members
    if G == 1:
        return 0.0
    match op.exchange:
        case "all_to_all":
            return link.transfer_s(op.size_bytes * (G - 1) / G)
        case "ring_shift":
            return link.transfer_s(op.size_bytes)
        case "all_gather":
            return (G - 1) * link.transfer_s(op.size_bytes)
