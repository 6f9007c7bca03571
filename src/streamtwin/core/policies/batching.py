"""How many waiting chunks does a lane take in at its next turn?"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields


@dataclass(frozen=True, slots=True)
class LaneView:
    """What rank 0 knows of a lane at its turn.

    `rows` go on in the lane, `room` more fit in, and `waiting` chunks, of different sessions,
    may enter now. At most `batch` of them enter at a turn. `turn_s` has the predicted seconds
    that the busiest rank takes for a turn of 0, 1, 2 ... rows, and `ring_s` those until its
    rows are back, for policies that ask for predictions (otherwise both are empty). `slack_s`
    has the seconds that each waiting chunk is ahead of its deadline, the tightest first.
    """

    rows: int
    room: int
    waiting: int
    batch: int
    steps: int = 1
    turn_s: tuple[float, ...] = ()
    ring_s: tuple[float, ...] = ()
    slack_s: tuple[float, ...] = ()

    @property
    def most(self) -> int:
        """Most chunks that may enter at this turn."""
        return min(self.room, self.waiting, self.batch)

    def saw(self) -> dict[str, float]:
        """The view as numbers by name, for the record; `seen` reads it back."""
        numbers: dict[str, float] = {}
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, tuple):
                numbers |= {f"{field.name}.{index}": each for index, each in enumerate(value)}
            else:
                numbers[field.name] = value
        return numbers

    @classmethod
    def seen(cls, saw: Mapping[str, float]) -> "LaneView":
        """The view that a record of it stands for."""
        lists: dict[str, list[float]] = {}
        whole: dict[str, int] = {}
        for key, value in saw.items():
            name, dot, _ = key.partition(".")
            if dot:
                lists.setdefault(name, []).append(value)
            else:
                whole[name] = int(value)
        return cls(**whole, **{name: tuple(values) for name, values in lists.items()})  # type: ignore[arg-type]


BatchingPolicy = Callable[[LaneView], int]


def fixed(view: LaneView) -> int:
    """Take as many as the lane has room for, up to the batch size (the reference, with 1)."""
    return view.most


BATCHING: dict[str, BatchingPolicy] = {"fixed": fixed}
