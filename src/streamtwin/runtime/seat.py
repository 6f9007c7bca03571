"""Was this process started as one rank of many, by torchrun or its like, and as which?"""

from collections.abc import Mapping
from dataclasses import dataclass

from streamtwin.core.errors import UserError

NEEDED = ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
"""What every such launcher sets; with one of them missing the process stands alone."""


@dataclass(frozen=True, slots=True)
class Seat:
    """This process's place: its rank of `ranks`, and its place among those of its host."""

    rank: int
    ranks: int
    local_rank: int
    local_ranks: int

    @property
    def name(self) -> str:
        """How messages of this rank begin."""
        return f"rank {self.rank} of {self.ranks}"


def seat_of(environment: Mapping[str, str]) -> Seat | None:
    """The seat that *environment* names; None where nobody gave one.

    Raises:
        UserError: a variable is no number, or the numbers do not go together.
    """
    if any(name not in environment for name in NEEDED):
        return None
    rank, ranks = _whole(environment, "RANK"), _whole(environment, "WORLD_SIZE")
    seat = Seat(
        rank,
        ranks,
        _whole(environment, "LOCAL_RANK", rank),
        _whole(environment, "LOCAL_WORLD_SIZE", ranks),
    )
    if not (rank < ranks and seat.local_rank < seat.local_ranks):
        raise UserError(
            f"RANK = {rank} of WORLD_SIZE = {ranks}, LOCAL_RANK = {seat.local_rank} of "
            f"LOCAL_WORLD_SIZE = {seat.local_ranks}: ranks count from 0"
        )
    return seat


def _whole(environment: Mapping[str, str], name: str, default: int = 0) -> int:
    text = environment.get(name, str(default))
    if not text.isdecimal():
        raise UserError(f"{name} = {text!r} in the environment: give a whole number of at least 0")
    return int(text)
