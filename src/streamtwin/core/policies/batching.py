"""How many waiting chunks does a lane take in at its next turn?"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass


@dataclass(slots=True)
class LaneView:
    """What rank 0 knows of a lane at its turn.

    `rows` go on in the lane, `room` more fit in, and `waiting` chunks, of different sessions,
    may enter now. At most `batch` of them enter at a turn; each takes `steps` turns. For
    policies that ask for predictions, `turn_s` has the seconds that the busiest rank takes for a
    turn of 0, 1, 2 ... rows and `ring_s` those until its rows are back (otherwise both are
    empty). `slack_s` has the seconds until each waiting chunk has to be out, the tightest first.
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

    def done_s(self, rows: int) -> float:
        """Predicted seconds until a chunk that enters now is out, in turns of *rows* rows."""
        return self.steps * self.ring_s[rows]

    def saw(self) -> dict[str, float]:
        """The view as numbers by name, for the record; `seen` reads it back."""
        numbers: dict[str, float] = {name: getattr(self, name) for name in COUNTS}
        for name in SECONDS:
            for index, each in enumerate(getattr(self, name)):
                numbers[f"{name}.{index}"] = each
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


COUNTS = ("rows", "room", "waiting", "batch", "steps")
SECONDS = ("turn_s", "ring_s", "slack_s")

BatchingPolicy = Callable[[LaneView], int]


def fixed(view: LaneView) -> int:
    """Take as many as the lane has room for, up to the batch size (the reference, with 1)."""
    return view.most


KNEE = 0.9
"""Share of the best predicted throughput at which a larger batch is not worth its latency."""


def knee(turn_s: Sequence[float]) -> int:
    """B*: the smallest number of rows whose predicted rows a second reach `KNEE` of the best.

    *turn_s* has the seconds of a turn of 0, 1, 2 ... rows. On a roofline L(T, B) that is where
    the pass turns from bound by memory, when a further row costs next to nothing, to bound by
    arithmetic.
    """
    rates = [rows / turn_s[rows] for rows in range(1, len(turn_s))]
    return 1 + next(i for i, rate in enumerate(rates) if rate >= KNEE * max(rates))


def slo_aware(view: LaneView) -> int:
    """Take as many as meet the tightest deadline, and no more rows than the knee of the roofline.

    After StreamDiffusionV2's paper (arXiv 2511.07399): the largest batch B up to B* whose
    predicted latency L(T, B) keeps the promise. One chunk enters even if none is in time.
    """
    most, best = min(view.most, max(1, knee(view.turn_s) - view.rows)), min(view.slack_s)
    fitting = (n for n in range(most, 0, -1) if view.done_s(view.rows + n) <= best)
    return next(fitting, min(1, most))


def model_predictive(view: LaneView) -> int:
    """Take as many as make the fewest waiting chunks late, then those out soonest on average.

    Plays each choice forward on the predicted times: n chunks enter now, the next n a turn
    later, and so on, the most urgent first.
    """

    def cost(n: int) -> tuple[int, float]:
        rows = min(view.rows + n, len(view.turn_s) - 1)
        done_s = [i // n * view.turn_s[rows] + view.done_s(rows) for i in range(view.waiting)]
        late = sum(slack < due for slack, due in zip(view.slack_s, done_s, strict=True))
        return late, sum(done_s)

    return min(range(1, view.most + 1), key=cost, default=0)


BATCHING: dict[str, BatchingPolicy] = {
    "fixed": fixed,
    "slo_aware": slo_aware,
    "model_predictive": model_predictive,
}

PREDICTS: frozenset[str] = frozenset({"slo_aware", "model_predictive"})
"""Policies that weigh predicted times, for which a latency model must be there."""
