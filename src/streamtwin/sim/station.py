"""What can a simulated rank do? The verbs of the loops, each taking its predicted time."""

from collections import deque
from collections.abc import Generator, Iterable, Sequence
from typing import Any, Protocol

from streamtwin.core.controller import Controller
from streamtwin.core.motion import Motion
from streamtwin.core.pace import Pace
from streamtwin.core.plan import Plan, Stage
from streamtwin.core.records import Span, SpanKind
from streamtwin.core.replayed import Replayed
from streamtwin.core.ring import Item, Row
from streamtwin.core.slip import Meter, Slip
from streamtwin.sim.costs import Costs
from streamtwin.sim.exchange import BlockExchange, Meeting
from streamtwin.sim.link import Link, Parcel
from streamtwin.sim.log import RunLog
from streamtwin.sim.services import ServiceTimes

Steps = Iterable[Any]
"""What a rank waits for, one after the other, as its engine waits; nothing, where there is nothing
to do."""


class Clock(Protocol):
    """What shows a rank its time."""

    @property
    def now(self) -> float:
        """Virtual seconds since the start of the stream."""
        ...


class Lasting(Protocol):
    """What lets a rank's time pass."""

    def lasts(self, seconds: float) -> object:
        """What the rank waits for while it does something for *seconds*."""
        ...


class Paced:
    """What lets a rank's time pass while it works on a card, or a host, that is slow for a while."""

    def __init__(self, service: Lasting, clock: Clock, pace: Pace | Replayed) -> None:
        self._service, self._clock, self._pace = service, clock, pace

    def lasts(self, seconds: float) -> object:
        """Work of *seconds* at the card's own pace."""
        return self._service.lasts(self._pace.takes_s(self._clock.now, seconds))


def paced(service: Lasting, clock: Clock, pace: Pace | Replayed | None) -> Lasting:
    """*service* at *pace*; as it is where there is none."""
    return service if pace is None else Paced(service, clock, pace)


class Station:
    """One rank in virtual time. Twin of `streamtwin.runtime.station.Station`."""

    def __init__(
        self,
        env: Clock,
        service: Lasting,
        plan: Plan,
        stage: Stage,
        times: ServiceTimes,
        log: RunLog,
        inward: Link | None,
        outward: Sequence[Link],
        meeting: Meeting,
    ) -> None:
        self.env, self.plan, self.stage, self.costs = env, plan, stage, Costs(plan, stage, times)
        self.log, self.inward, self.outward = log, inward, outward
        self.exchange, self.slip, self.meter = BlockExchange(meeting, stage, times), Slip(), Meter()
        self.decodes_first = plan.scenario.deployment.decodes_before_send
        """Whether a finished chunk is decoded before the item is sent on."""
        self._spans = log.spans
        self._rank, self._steps, self._shape = stage.rank, plan.steps, plan.scenario.shape
        self._sent = {link: deque[Parcel]() for link in outward}
        self._service = service
        trouble, work = plan.scenario.trouble, paced(service, env, times.pace)
        self._pass_work = paced(work, env, trouble.pace_of(plan.ranks_of(stage)))
        self._vae_work = paced(work, env, trouble.pace_of((stage.rank,)))
        self.awaits: Parcel | None = None
        """What it has waited for last: an item to come, or one of its own to be taken."""
        self._moves = self.exchange.moves
        self._ahead = plan.scenario.deployment.overlaps
        self._posted = inward.ask(env.now) if inward is not None and self._ahead else None

    @property
    def now_s(self) -> float:
        """Virtual seconds since the start of the stream."""
        return self.env.now

    def wait_input(self, until_s: float) -> Steps:
        """Wait until the next chunk is released."""
        began_s = self.env.now
        yield self._service.lasts(max(0.0, until_s - began_s))
        self._note("wait_input", began_s, self.env.now)

    def encode(self, row: Row, controller: Controller, motion: Sequence[Motion]) -> Steps:
        """Encode *row*'s chunk; *motion* has how much the frames of each camera chunk move."""
        began_s, chunk = self.env.now, row.chunk
        still = (0.0,) * self._shape.frames_of(row.ordinal)
        moves = motion[chunk] if chunk < len(motion) else still
        controller.noise_rate(row, moves, began_s)
        yield self._vae_work.lasts(self.costs.encode_s(row.ordinal))
        item = controller.ring.sent_items
        self._note("encode", began_s, self.env.now, row.session, chunk, item, 1)

    def forward(self, item: Item) -> Steps:
        """Pass *item* through this stage's blocks."""
        return () if self.stage.vae_only else self._pass(item)

    def _pass(self, item: Item) -> Steps:
        began_s, rows = self.env.now, item.rows
        yield self._pass_work.lasts(self.costs.pass_s(self.stage, item))
        row = rows[0]
        self._note("dit", began_s, self.env.now, row.session, row.chunk, item.index, len(rows))

    def send(self, item: Item) -> Steps:
        """Post *item* on each link once there is room on it."""
        slip = self.slip.passed(self.meter.read()) if self._moves else self.slip
        for link, posted in self._sent.items():
            edge = link.edge
            carried = item.results(self._steps) if edge.results else item
            if carried is not None:
                if len(posted) == edge.depth:
                    oldest = posted.popleft()
                    if not oldest.processed:
                        yield from self._wait_sent(oldest, edge.receiver)
                posted.append(link.post(carried, slip, self.env.now))

    def _wait_sent(self, oldest: Parcel, receiver: int) -> Steps:
        began_s, self.awaits = self.env.now, oldest
        yield oldest.taken
        self._note("wait_sent", began_s, self.env.now, peer=receiver)

    def receive(self) -> Generator[Any, Any, Item]:
        """Wait for the next item; posted ahead, the receive of the one after it begins now."""
        assert self.inward is not None
        asked_s = self.env.now
        parcel = self.awaits = self._posted or self.inward.ask(asked_s)
        yield parcel
        if self._ahead:
            self._posted = self.inward.ask(self.env.now)
        self.slip = parcel.slip
        self._note_arrival(parcel, self.inward.edge.sender, asked_s)
        return parcel.item

    def _note_arrival(self, parcel: Parcel, peer: int, asked_s: float) -> None:
        item, began_s, arrived_s = parcel.item, parcel.began_s, parcel.arrived_s
        newest, index = item.rows[0], item.index
        session, chunk = newest.session, newest.chunk
        exposed_s = asked_s
        if began_s > asked_s:
            self._note("wait_hop", asked_s, began_s, session, chunk, index, 0, 0, peer)
            exposed_s = began_s
        rows, size_bytes = len(item.rows), parcel.size_bytes
        self._note("hop", exposed_s, self.env.now, session, chunk, index, rows, size_bytes, peer)
        if self._ahead:
            about = (session, chunk, index, rows, size_bytes, peer)
            self._note("transfer", began_s, arrived_s, *about)

    def take_back(self, item: Item) -> Generator[Any, Any, Slip]:
        """Wait for the result of *item*; it is at hand when this rank is the whole ring."""
        if self.stage.alone:
            return self.slip
        kept = self.slip
        returned = yield from self.receive()
        assert returned == item, f"{returned} came back, {item} was due"
        came, self.slip = self.slip, kept
        return came

    def finish(self, item: Item) -> Steps:
        """Decode and emit the rows of *item* that are done, if this rank decodes."""
        return self._decode(item) if self.stage.decodes else ()

    def _decode(self, item: Item) -> Steps:
        for position in item.finished(self._steps):
            row, began_s = item.rows[position], self.env.now
            yield self._vae_work.lasts(self.costs.decode_s(row.ordinal))
            self._note("decode", began_s, self.env.now, row.session, row.chunk, item.index, 1)
            self.log.emit(row, self.env.now, self._shape.frames_of(row.ordinal))

    def move(self, item: Item) -> Steps:
        """Exchange blocks with the other ranks, if the slip of *item* says so."""
        return self._exchange(item) if self._moves else ()

    def _exchange(self, item: Item) -> Steps:
        yield from self.exchange.settle(item)
        if self.slip.partition:
            began_s = self.env.now
            received = yield from self.exchange.move_to(self.slip.partition)
            self.stage = self.exchange.stage
            if received is not None:
                self._note("move", began_s, self.env.now, item=item.index, size_bytes=received)

    def _note(
        self,
        kind: SpanKind,
        began_s: float,
        ended_s: float,
        session: int = 0,
        chunk: int = -1,
        item: int = 0,
        rows: int = 0,
        size_bytes: int = 0,
        peer: int = -1,
    ) -> None:
        """Note an interval of this rank; one without length is none."""
        if ended_s > began_s:
            self._spans.append(
                Span(
                    self._rank, kind, began_s, ended_s, session, chunk, item, rows, size_bytes, peer
                )
            )
            if self._moves:
                self.meter.note(kind, ended_s - began_s)
