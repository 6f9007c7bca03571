"""Who sends what to whom? The directed links of a deployment, and what they carry of an item."""

from dataclasses import dataclass
from itertools import pairwise

from streamtwin.core.protocol import Layout


@dataclass(frozen=True, slots=True)
class Edge:
    """A link from one rank to another.

    Latents of rows always travel. `activations`: the hidden state of every row too. `results`:
    only rows that have taken their last step travel, to a rank that decodes. `depth`: items that
    the sender may have posted before the receiver takes one.
    """

    sender: int
    receiver: int
    activations: bool
    results: bool = False
    depth: int = 1


def edges_of(layout: Layout) -> tuple[Edge, ...]:
    """Every link of *layout*, those of the ring in rank order first.

    An encoder of its own has no hidden state to send, and a decoder of its own hangs off the
    ring: the last rank of the ring sends to rank 0 first, then to the decoder. A rank that
    decodes before it sends may post as many results as rank 0 leaves out, so that it is not held
    by one that rank 0 does not take yet. Of a stage with several members, its leader sends and
    receives.
    """
    if layout.ring == 1:
        return ()
    first_embeds = not layout.dedicated
    ring = layout.leaders[: layout.ring]
    edges = [Edge(one, after, one > 0 or first_embeds) for one, after in pairwise(ring)]
    depth = len(ring) - 1 if layout.decodes_before_send else 1
    edges.append(Edge(ring[-1], 0, layout.wraps_activations, depth=depth))
    if layout.dedicated:
        edges.append(Edge(ring[-1], layout.leaders[-1], activations=False, results=True))
    return tuple(edges)


def inward(edges: tuple[Edge, ...], rank: int) -> Edge | None:
    """The link on which *rank* receives; None where nothing hops."""
    return next((edge for edge in edges if edge.receiver == rank), None)


def outward(edges: tuple[Edge, ...], rank: int) -> tuple[Edge, ...]:
    """The links on which *rank* sends, in the order in which it does."""
    return tuple(edge for edge in edges if edge.sender == rank)
