"""Which transfers besides hops are timed, and how large are they?

Sizes follow from the plan: what members of a stage give each other in a pass, and what a block
takes along when it changes ranks.
"""

from typing import get_args

from streamtwin.calibrate.beside import held_out
from streamtwin.calibrate.cases import MAX_ROWS, CalibrationRequest, Case
from streamtwin.core.moves import block_bytes
from streamtwin.core.ops import Collective, Exchange, Migration

SMALLEST_BYTES = 1024

PROJECTIONS = 3
"""q, k and v change owners together in Ulysses."""

MAX_SESSIONS = 4
"""Sessions whose keys and values a migrating block takes along, at most."""

MAX_MIGRATION_BYTES = 2**30
"""More is not sent, unless a block is larger with one session: two ranks of a host hold it."""

CARDS = (2, 4, 8)
"""Numbers of cards among which transfers are timed, where a host has as many."""


def transfer_cases(request: CalibrationRequest, ranks: int) -> list[Case]:
    """Exchanges among *ranks* members, and migrations of a block; none with one rank."""
    if ranks < 2:
        return []
    return collective_cases(request, ranks) + migration_cases(request, ranks)


def transfer_ranks(request: CalibrationRequest, cards: int) -> tuple[int, ...]:
    """Numbers of ranks among which transfers are timed on a host with so many *cards*.

    On a CPU those of the request; on cards each rank needs one of its own.
    """
    counts = sorted(request.ranks) if request.device == "cpu" else [n for n in CARDS if n <= cards]
    return tuple(count for count in counts if count > 1)


def collective_cases(request: CalibrationRequest, ranks: int) -> list[Case]:
    """Every exchange at every size that a member may give, some sizes held out."""
    sizes = exchange_sizes(request, ranks)
    return [
        Case(Collective(exchange, ranks, size), ranks, held_out=held_out(place, len(sizes)))
        for exchange in get_args(Exchange)
        for place, size in enumerate(sizes)
    ]


def exchange_sizes(request: CalibrationRequest, members: int) -> list[int]:
    """Bytes that one of *members* gives: from next to nothing to q, k and v of the fullest pass.

    Each splits into as many whole elements as there are members.
    """
    plan = request.plan()
    share = -(-plan.scenario.size.tokens // members)  # S/G tokens of a latent frame
    row = share * request.chunk_latents * plan.model.dim * plan.itemsize
    amounts = [row * rows * parts for rows in range(1, MAX_ROWS + 1) for parts in (1, PROJECTIONS)]
    unit = members * plan.itemsize
    return sorted({-(-amount // unit) * unit for amount in (SMALLEST_BYTES, *amounts)})


def migration_cases(request: CalibrationRequest, ranks: int) -> list[Case]:
    """A block with the state of no session and of one to several; some sizes held out."""
    sizes = sorted(migration_sizes(request))
    return [
        Case(Migration(size), ranks, held_out=held_out(place, len(sizes)))
        for place, size in enumerate(sizes)
    ]


def migration_sizes(request: CalibrationRequest) -> dict[int, int]:
    """Sessions by bytes: weights of a block, K and V of each session, and its prompt's."""
    plan = request.plan()
    sizes = {block_bytes(plan, count, count): count for count in range(MAX_SESSIONS + 1)}
    return {
        size: count for size, count in sizes.items() if count < 2 or size <= MAX_MIGRATION_BYTES
    }
