"""Which blocks should each rank hold from now on, given what the ranks have measured?

A proposal says which partition would be best; hysteresis says whether it is worth a move.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from operator import le

from streamtwin.core.policies.partition import (
    PARTITION,
    StageCosts,
    intervals,
    reference_rule,
)

Counts = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class RebalanceView:
    """What rank 0 knows of the ranks that hold blocks.

    Tuples have a number for each of them, in order; times are seconds.

    `blocks` are held now. An item takes `dit_s` in the blocks, of which `fixed_s` would remain
    without any, and `vae_s` and `hop_s` besides; these are typical times. `least_dit_s` and
    `least_s` are the shortest times seen of the blocks, and of blocks and VAE together. Moving a
    block from a rank to another takes `move_s`: as long as items took for as many bytes, which
    is too long where items are small and so counts against moving. `moves` moves have been made
    within the horizon. `room` is the most blocks that each rank's memory holds; empty: unlimited.
    Each rank keeps `least` blocks.
    """

    blocks: Counts
    dit_s: tuple[float, ...]
    fixed_s: tuple[float, ...]
    vae_s: tuple[float, ...]
    hop_s: tuple[float, ...]
    least_dit_s: tuple[float, ...]
    least_s: tuple[float, ...]
    move_s: float
    moves: int = 0
    room: Counts = ()
    least: int = 1

    def costs(self) -> StageCosts:
        """The same as a partition policy takes it: every block alike, every rank its own pace."""
        times = zip(self.blocks, self.dit_s, self.fixed_s, strict=True)
        besides = zip(self.fixed_s, self.vae_s, self.hop_s, strict=True)
        return StageCosts(
            block_s=(1.0,) * sum(self.blocks),
            fixed_s=tuple(sum(parts) for parts in besides),
            slower=tuple((dit - fixed) / count for count, dit, fixed in times),
            held=self.blocks,
            room=self.room,
        )

    def saw(self) -> dict[str, float]:
        """The view as numbers by name, for the record; `seen` reads it back."""
        numbers: dict[str, float] = {
            "move_s": self.move_s,
            "moves": self.moves,
            "least": self.least,
        }
        for name in _PER_RANK:
            values = getattr(self, name)
            numbers |= {f"{name}.{rank}": value for rank, value in enumerate(values)}
        return numbers | {f"room.{rank}": count for rank, count in enumerate(self.room)}

    @classmethod
    def seen(cls, saw: Mapping[str, float]) -> "RebalanceView":
        """The view that a record of it stands for."""
        ranks = sum(key.startswith("blocks.") for key in saw)
        lists = {name: tuple(saw[f"{name}.{rank}"] for rank in range(ranks)) for name in _PER_RANK}
        blocks = tuple(int(count) for count in lists.pop("blocks"))
        room = tuple(int(saw[f"room.{rank}"]) for rank in range(ranks) if f"room.{rank}" in saw)
        moves, least = int(saw["moves"]), int(saw.get("least", 1))
        return cls(blocks, **lists, move_s=saw["move_s"], moves=moves, room=room, least=least)


_PER_RANK = tuple(
    f.name for f in fields(RebalanceView) if f.name not in {"move_s", "moves", "room", "least"}
)
"""Fields with a number for each rank that are always there."""


@dataclass(frozen=True, slots=True)
class Hysteresis:
    """What a move must promise. The defaults of the scenario explain the numbers."""

    horizon_s: float
    factor: float
    margin: float


RebalancePolicy = Callable[[RebalanceView], Counts]


def optimal(view: RebalanceView) -> Counts:
    """Minimise the largest stage exactly."""
    return _counts("optimal", view)


def greedy(view: RebalanceView) -> Counts:
    """Move single blocks away from the slowest rank for as long as it and its neighbour gain."""
    return _counts("greedy", view)


def sdv2_once(view: RebalanceView) -> Counts:
    """The rule of StreamDiffusionV2, on the least times seen."""
    return reference_rule(view.blocks, view.least_dit_s, view.least_s, view.least)


REBALANCE: dict[str, RebalancePolicy] = {
    "optimal": optimal,
    "greedy": greedy,
    "sdv2_once": sdv2_once,
}


def decide(policy: str, view: RebalanceView, asked: Hysteresis | None) -> Counts:
    """What ranks hold from now on: what *policy* proposes, if it is worth it and fits.

    Without hysteresis, *asked*, any proposal that fits is taken.
    """
    proposed = REBALANCE[policy](view)
    if asked is not None:
        proposed = worth_moving(view, proposed, asked)
    return proposed if fits(view, proposed) else view.blocks


def fits(view: RebalanceView, proposed: Counts) -> bool:
    """Whether every rank has room for all that it holds during a move to *proposed*.

    What a rank gives it keeps until it has been taken, which may be behind what it gets.
    """
    parts = zip(intervals(view.blocks), intervals(proposed), strict=True)
    most = [len(set(old) | set(new)) for old, new in parts]
    kept = view.blocks == proposed
    return kept or not view.room or all(map(le, most, view.room))


def worth_moving(view: RebalanceView, proposed: Counts, asked: Hysteresis) -> Counts:
    """*proposed*, if it promises enough to be worth the move, else what is held now.

    The largest stage must become shorter by more than the margin, and the time that this saves
    within the horizon must exceed the time that the move takes by the factor. Every move that
    was made within the horizon raises the margin by its own size: measurements that scatter can
    cause a few moves and no more.
    """
    costs = view.costs()
    now_s, then_s = costs.largest_s(view.blocks), costs.largest_s(proposed)
    share = 1 - then_s / now_s if now_s > 0 else 0.0
    pays = asked.horizon_s * share > asked.factor * moving_s(view, proposed)
    return proposed if share > asked.margin * (1 + view.moves) and pays else view.blocks


def moving_s(view: RebalanceView, proposed: Counts) -> float:
    """Seconds that a move to *proposed* takes: those of the rank that gives and gets most."""
    before, after = intervals(view.blocks), intervals(proposed)
    most = max(len(set(old) ^ set(new)) for old, new in zip(before, after, strict=True))
    return view.move_s * most


def _counts(name: str, view: RebalanceView) -> Counts:
    return tuple(len(part) for part in PARTITION[name](view.costs()))
