"""How long does each rank typically take, and what of that goes with its blocks?"""

from collections import deque
from dataclasses import dataclass, field
from math import inf
from statistics import median

from streamtwin.core.policies.rebalance import Counts, RebalanceView
from streamtwin.core.ring import Item
from streamtwin.core.slip import RankTimes


@dataclass(slots=True)
class Measured:
    """What came back with the latest `window` items of the partition in force.

    Typical times are of those items, least times of all that were as full as any: a pass of few
    rows is no measure of the others. Turns of a first chunk, which has a lane of its own, count
    for neither. `ends_serve`: the first and the last rank have the VAE's work to do as well.
    """

    counts: Counts
    window: int
    ends_serve: bool = True
    _latest: deque[tuple[RankTimes, ...]] = field(init=False)
    _by_count: list[dict[int, float]] = field(init=False)
    _least_dit_s: list[float] = field(init=False)
    _least_s: list[float] = field(init=False)
    _rows: int = field(init=False, default=0)
    _hop_rates: deque[float] = field(init=False)
    _since: int = field(init=False, default=-1)

    def __post_init__(self) -> None:
        self._latest, self._hop_rates = deque(maxlen=self.window), deque(maxlen=self.window)
        self._by_count = [{} for _ in self.counts]
        self._forget()

    @property
    def whole(self) -> bool:
        """Whether every rank has shown all it does, so that its least time is of all of it."""
        return bool(self._latest) and max(self._least_s) < inf

    @property
    def enough(self) -> bool:
        """Whether a whole window is known of the partition in force."""
        return len(self._latest) == self.window

    def add(self, item: Item, times: tuple[RankTimes, ...], byte_s: float) -> None:
        """Take in the *times* of the ranks of blocks on *item*, whose hops took *byte_s* a byte."""
        if item.index <= self._since or item.first:
            return
        self._latest.append(times)
        self._hop_rates.append(byte_s)
        if len(item.rows) > self._rows:
            self._rows = len(item.rows)
            self._forget_least()
        if len(item.rows) == self._rows:
            for rank, own in enumerate(times):
                self._add_least(rank, own)

    def _add_least(self, rank: int, own: RankTimes) -> None:
        self._least_dit_s[rank] = min(self._least_dit_s[rank], own.dit_s)
        end = self.ends_serve and rank in (0, len(self.counts) - 1)
        if own.vae_s or not end:
            # what an end does without its VAE is not all it does
            together_s = self._least_dit_s[rank] + own.vae_s
            self._least_s[rank] = min(self._least_s[rank], together_s)

    def moved(self, counts: Counts, index: int) -> None:
        """From behind item *index* on, ranks hold *counts* blocks."""
        if self._latest:
            for rank, known in enumerate(self._by_count):
                known[self.counts[rank]] = self._typical(rank, "dit_s")
        self.counts, self._since = counts, index
        self._forget()

    def view(self, block_bytes: int, moves: int) -> RebalanceView:
        """What a policy sees, when a block that moves is *block_bytes* long."""
        ranks = range(len(self.counts))
        # an end that has not shown its VAE yet is taken for its blocks alone
        least_s = zip(self._least_s, self._least_dit_s, strict=True)
        return RebalanceView(
            blocks=self.counts,
            dit_s=tuple(self._typical(rank, "dit_s") for rank in ranks),
            fixed_s=tuple(self._fixed_s(rank) for rank in ranks),
            vae_s=tuple(self._vae_s(rank) for rank in ranks),
            hop_s=tuple(self._typical(rank, "hop_s") for rank in ranks),
            least_dit_s=tuple(self._least_dit_s),
            least_s=tuple(own if own < inf else blocks for own, blocks in least_s),
            move_s=block_bytes * median(self._hop_rates),
            moves=moves,
        )

    def _typical(self, rank: int, part: str) -> float:
        return float(median(getattr(times[rank], part) for times in self._latest))

    def _vae_s(self, rank: int) -> float:
        """Seconds of VAE an item: the typical service, as often as it occurs."""
        served = [times[rank].vae_s for times in self._latest if times[rank].vae_s]
        return float(median(served)) * len(served) / len(self._latest) if served else 0.0

    def _fixed_s(self, rank: int) -> float:
        """Seconds of a pass that do not depend on how many blocks the rank holds.

        They show only where the rank has been measured with different numbers of blocks: the
        line through the present time and that at the most different number cuts them off. A
        rank that has changed its pace meanwhile, or two numbers too near to each other, would
        give nonsense: unless the numbers are two apart and the blocks take at least half of the
        pass, all of it counts as the blocks'.
        """
        held, now_s = self.counts[rank], self._typical(rank, "dit_s")
        known = {count: dit_s for count, dit_s in self._by_count[rank].items() if count != held}
        if not known:
            return 0.0
        other = max(known, key=lambda count: abs(count - held))
        block_s = (now_s - known[other]) / (held - other)
        sound = abs(held - other) >= 2 and now_s / 2 <= held * block_s <= now_s
        return now_s - held * block_s if sound else 0.0

    def _forget(self) -> None:
        self._latest.clear()
        self._hop_rates.clear()
        self._rows = 0
        self._forget_least()

    def _forget_least(self) -> None:
        self._least_dit_s = [inf] * len(self.counts)
        self._least_s = [inf] * len(self.counts)
