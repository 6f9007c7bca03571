"""Which sinks does a session's next chunk take over, and what was known when that was decided?"""

from dataclasses import dataclass, field

from streamtwin.core.policies.sink import COMPARES_FRAMES, SINK, SinkView
from streamtwin.core.ring import Row
from streamtwin.core.slots import EMPTY, Slots
from streamtwin.kernels.cache import StageCache
from streamtwin.kernels.rows import PassRow


@dataclass(frozen=True, slots=True)
class Replaced:
    """A sink that *row*'s chunk takes over in one of the stage's blocks.

    `kept` counts the views since the one before on which the policy replaced nothing: those are
    too many (one a block, row and chunk) to be listed one by one.
    """

    row: Row
    block: int
    view: SinkView
    slot: int
    kept: int

    @property
    def saw(self) -> dict[str, float]:
        """The view as numbers with names."""
        about = {"block": self.block, "row": self.row.step}
        return {**about, **self.view.saw(), "kept": self.kept}


@dataclass(slots=True)
class SinkRefresh:
    """The sink decisions of one session on one stage.

    Attributes:
        policy: name in the sink family.
        threshold: likeness below which a sink is out of date.
        replaced: decisions not yet recorded; whoever records them empties the list.
        kept: views since the last replacement on which nothing was replaced.
        nearest: of these, the one with the smallest likeness.
    """

    policy: str
    threshold: float
    replaced: list[Replaced] = field(default_factory=list)
    kept: int = 0
    nearest: SinkView | None = None

    def choose(
        self, cache: StageCache, row: Row, frame: int, prompt: int = 0
    ) -> tuple[int | None, ...]:
        """Slot of the sink that the chunk from *frame* on takes over, a block each, or None.

        *prompt* is the number of the chunk's prompt.

        Nothing is replaced before all slots have been written. The answer is empty where nothing
        was asked.
        """
        full = all(EMPTY not in books[row.step].frames for books in cache.held)
        if self.policy == "never" or not cache.window.sink or not full:
            return ()
        found = cache.watch.read(row.step)
        return tuple(
            self._decide(
                row,
                block,
                SinkView(
                    frame,
                    cache.window.sink,
                    self.threshold,
                    found[block] if found else (),
                    _prompt_similarities(cache, books[row.step], prompt),
                ),
            )
            for block, books in enumerate(cache.held)
        )

    def observe(self, cache: StageCache, rows: list[PassRow]) -> None:
        """Compare the sinks of *rows*, which a pass has just written, with their newest frame.

        Only filled sinks that are not part of the chunk, and only where an answer will be asked.
        """
        window = cache.window
        if self.policy not in COMPARES_FRAMES or not window.sink:
            return
        for row in rows:
            asked_next = row.first_frame + row.frames >= window.frames
            if asked_next and row.first_frame >= window.sink:
                cache.watch.compare(cache.k, cache.v, cache.held, row.kv_row, window.sink)

    def _decide(self, row: Row, block: int, view: SinkView) -> int | None:
        slot = SINK[self.policy](view)
        if slot is None:
            self.kept += 1
            if self.nearest is None or view.least < self.nearest.least:
                self.nearest = view
        else:
            self.replaced.append(Replaced(row, block, view, slot, self.kept))
            self.kept, self.nearest = 0, None
        return slot


def _prompt_similarities(cache: StageCache, held: Slots, prompt: int) -> tuple[float, ...]:
    """Likeness of each sink's prompt with *prompt*; empty before the first change."""
    if not prompt:
        return ()
    known = cache.likeness.get(prompt, {})
    return tuple(
        1.0 if number == prompt else known.get(number, 1.0)
        for number in held.prompts[: cache.window.sink]
    )
