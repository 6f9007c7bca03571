"""What does rank 0 decide, and on what evidence?

Every decision of a run passes through here, in both executors, and is recorded with what the
policy saw. Time enters as an argument: the simulator passes virtual, the runtime real time.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from streamtwin.core.door import Door
from streamtwin.core.entrance import Entrance
from streamtwin.core.errors import RunError
from streamtwin.core.line import Choice, Line
from streamtwin.core.motion import Motion
from streamtwin.core.motion_file import MotionTrace, read_motion
from streamtwin.core.plan import Plan
from streamtwin.core.policies.batching import BATCHING, PREDICTS, LaneView
from streamtwin.core.records import ChunkRecord, Decision, Recorder
from streamtwin.core.restarts import restart_at, saw_of
from streamtwin.core.ring import START, Item, Ring, Row
from streamtwin.core.scheduler import Scheduler
from streamtwin.core.sessions import SessionBook, open_sessions, soonest
from streamtwin.core.turns import Action, Finished, Rules, TakeBack, Turn, Wait
from streamtwin.core.turns import lane_turn as next_lane_turn
from streamtwin.core.turns import start_turn as next_start_turn


@dataclass(slots=True)
class Controller:
    """The decisions of one run: which chunks enter when, in which lane, and how noisy."""

    plan: Plan
    recorder: Recorder
    ring: Ring = field(init=False)
    books: list[SessionBook] = field(init=False)
    door: Door = field(init=False)
    rules: Rules = field(init=False)
    scheduler: Scheduler = field(init=False)
    _batching: str = field(init=False)
    _dispatching: str = field(init=False)
    _noise: str = field(init=False)
    _refresh: str = field(init=False)
    _steps: int = field(init=False)
    entrance: Entrance = field(init=False)
    mixed: dict[tuple[int, int], float] = field(init=False, default_factory=dict)
    """Noise rates of chunks that are done again, by session and chunk."""
    trace: MotionTrace | None = field(init=False)
    _asked: dict[tuple[int, int, int, tuple[float, ...]], tuple[int, Mapping[str, float]]] = field(
        init=False, default_factory=dict
    )
    _now_s: float = field(init=False, default=0.0)

    def __post_init__(self) -> None:
        deployment = self.plan.scenario.deployment
        self.ring = Ring(self.plan.lanes, deployment.steps, self.plan.max_rows)
        self.books = open_sessions(self.plan.scenario, self.recorder.decisions.append)
        self.entrance = Entrance(self.plan, self.books, self.recorder.decisions.append)
        self.trace = read_motion(self.plan.scenario)
        self.scheduler = Scheduler(self.plan, self.recorder.decisions.append)
        self.rules = Rules(
            deployment.batching.batch, deployment.stream_batch, deployment.lanes == "sessions"
        )
        scenario = self.plan.scenario
        self._batching, self._steps = deployment.batching.policy, deployment.steps
        self._dispatching, self._noise = scenario.workload.dispatch, scenario.conditioning.noise
        self._refresh = scenario.conditioning.rope_refresh
        lines = self.plan.lanes if self.rules.by_session else 1
        self.door = Door(self.books, lines, self._dispatching)

    def next(self, now_s: float) -> Action:
        """What rank 0 does at *now_s*.

        Raises:
            RunError: chunks wait, nothing is under way, and the batching policy takes none.
        """
        self._now_s = now_s
        for book in self.entrance.look(now_s):
            self.door.changed(book)
        self.door.release_due(now_s)
        # sessions that begin and those that run take turns
        begins = self.ring.last_lane != START
        start = next_start_turn(self.ring, self.door, self._choose) if begins else None
        if start is not None:
            return start
        turn = next_lane_turn(self.ring, self.door, self.rules, self._choose)
        if isinstance(turn, Turn):
            return turn
        start = None if begins else next_start_turn(self.ring, self.door, self._choose)
        return start or turn or self._idle(now_s)

    def _idle(self, now_s: float) -> Action:
        """What to do when no lane can move."""
        if self.ring.out(START):
            return TakeBack()
        due_s = soonest(self.door.next_release_s(), self.entrance.next_s())
        if due_s is not None:
            return Wait(due_s)
        if self.ring.outstanding:
            return TakeBack()
        if any(book.head for book in self.books):
            raise RunError(
                f"batching policy {self._batching!r} takes no chunk into an empty ring at {now_s:.3f} s: "
                "nothing can move any more"
            )
        return Finished()

    def admit(self, turn: Turn, now_s: float) -> tuple[Row, ...]:
        """Take the next chunk of each session that enters with *turn*; they start at step 0."""
        return tuple([self._take(self.books[session], now_s) for session in turn.takes])

    def compose(self, turn: Turn, new: tuple[Row, ...]) -> Item:
        """The item of *turn*, with the *new* rows in it."""
        item = self.ring.compose(turn.lane, new, self.door.ended)
        self.entrance.left(item.leaving)
        return item

    def sent(self, item: Item, turn: Turn) -> None:
        """Note that *item* is on its way; behind the last turn of a first chunk others may follow."""
        self.ring.sent(item, turn.lane)
        if turn.lane == START and item.rows[0].step == self.plan.steps - 1:
            book = self.books[item.rows[0].session]
            book.started = True
            self.door.changed(book)

    def noise_rate(self, row: Row, motion: Motion, now_s: float) -> float:
        """Rate at which *row*'s chunk is mixed with noise, given how much its frames move."""
        if self.trace is not None:
            last = self.plan.scenario.shape.last_frame(row.chunk)
            motion = self.trace.of(row.session, last, len(motion))
        if self.mixed:  # what is done again is mixed as it was
            known = self.mixed.pop((row.session, row.chunk), None)
            if known is not None:
                return known
        first = row.ordinal == 0
        view, rate = self.books[row.session].noise.next_rate(motion, first=first)
        saw = view.saw()
        if first:
            saw["first"] = 1
        self._record(now_s, "noise", self._noise, row.session, row.chunk, saw, rate)
        return rate

    def _note_position(self, row: Row, now_s: float) -> None:
        """Record where positions restart; every KV row finds the same at its own pass."""
        if self._refresh == "never":
            return
        found = restart_at(self.plan.scenario, row.ordinal)
        if found is not None:
            view, position = found
            about = (row.session, row.chunk, saw_of(view), position)
            self._record(now_s, "rope", self._refresh, *about)

    def close(self) -> None:
        """Record the chunks that were given up or never taken."""
        for book in self.books:
            session, queue = book.session, book.queue
            for chunk in queue.dropped:
                released_s = queue.clock.released_s(chunk)
                record = ChunkRecord(session, chunk, released_s, outcome="dropped")
                self.recorder.chunks[session, chunk] = record
            for left in queue.waiting:
                record = ChunkRecord(session, left.chunk, left.released_s)
                self.recorder.chunks[session, left.chunk] = record

    def _choose(self, lane: int, ready: Line) -> tuple[int, ...]:
        """Sessions of *ready* whose chunks enter *lane*, by the batching and dispatch policies."""
        count = 1 if lane == START else self._batch(lane, ready)
        choices = ready.choose(count)
        return tuple([self._dispatch(choice, ready.tell(choice)) for choice in choices])

    def _batch(self, lane: int, ready: Line) -> int:
        """How many of the chunks that are *ready* enter *lane*."""
        name, room, rows = self._batching, self.rules.room(self.ring, lane), self.ring.rows(lane)
        slack_s = self._slack_s(ready) if name in PREDICTS else ()
        key = (len(rows), room, len(ready), slack_s)
        known = self._asked.get(key)
        if known is None:
            view = self._lane_view(*key)
            known = BATCHING[name](view), view.saw()
            if not slack_s:  # policies are pure: asked the same again, they say the same
                self._asked[key] = known
        chosen, saw = known
        self._record(self._now_s, "batching", name, 0, self.ring.sent_items, saw, chosen)
        return chosen

    def _lane_view(
        self, rows: int, room: int, waiting: int, slack_s: tuple[float, ...]
    ) -> LaneView:
        turn_s, ring_s = self.plan.forecast.turn_s, self.plan.forecast.ring_s
        return LaneView(rows, room, waiting, self.rules.batch, self._steps, turn_s, ring_s, slack_s)

    def _slack_s(self, ready: Line) -> tuple[float, ...]:
        """Seconds until each chunk breaks the promised latency, the tightest first."""
        due_s = [one.released_s + self.books[one.session].promised_s for one in ready.chunks]
        return tuple(sorted(each_s - self._now_s for each_s in due_s))

    def _dispatch(self, choice: Choice, saw: dict[str, float]) -> int:
        """Note what the dispatch policy chose: the session whose chunk enters."""
        name, chosen, oldest = self._dispatching, choice.chosen, choice.oldest
        saw["waiting"], saw["oldest"] = choice.waiting, oldest.chunk
        saw["of_session"] = oldest.session
        session, chunk = chosen.session, chosen.chunk
        self._record(self._now_s, "dispatch", name, session, chunk, saw, chunk)
        return session

    def _take(self, book: SessionBook, now_s: float) -> Row:
        chosen = book.queue.take()
        row = Row(chosen.session, chosen.chunk, book.taken, 0)
        book.taken += 1
        self.door.changed(book)
        # an input that always waits has no age: latency counts from the moment of taking
        released_s = now_s if book.queue.clock.fps is None else chosen.released_s
        session, chunk = chosen.session, chosen.chunk
        self.recorder.chunks[session, chunk] = ChunkRecord(session, chunk, released_s, now_s)
        self._note_position(row, now_s)
        return row

    def _record(
        self,
        now_s: float,
        family: str,
        policy: str,
        session: int,
        chunk: int,
        saw: Mapping[str, float],
        chose: float,
    ) -> None:
        """Note a decision about a chunk of a session; where it is of neither, *chunk* is an item."""
        self.recorder.decisions.append(
            Decision(now_s, 0, family, policy, session, chunk, saw, chose)
        )
