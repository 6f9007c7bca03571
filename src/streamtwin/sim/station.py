"""What can a simulated rank do? The verbs of the loops, each taking its predicted time."""

from collections import deque
from collections.abc import Generator, Sequence
from typing import Any

import simpy

from streamtwin.core.controller import Controller
from streamtwin.core.motion import Motion
from streamtwin.core.ops import Op
from streamtwin.core.plan import Plan, Stage
from streamtwin.core.records import Recorder, Service, SpanKind
from streamtwin.core.ring import Item, Row
from streamtwin.core.slip import Meter, Slip
from streamtwin.sim.exchange import BlockExchange, Meeting
from streamtwin.sim.link import Link, Parcel
from streamtwin.sim.services import ServiceTimes

Steps = Generator[simpy.Event, Any, None]


class Station:
    """One rank in virtual time. Twin of `streamtwin.runtime.station.Station`."""

    def __init__(
        self,
        env: simpy.Environment,
        plan: Plan,
        stage: Stage,
        times: ServiceTimes,
        recorder: Recorder,
        inward: Link | None,
        outward: Sequence[Link],
        emitted: simpy.Store,
        meeting: Meeting,
    ) -> None:
        self.env, self.plan, self.stage, self.times = env, plan, stage, times
        self.recorder, self.inward, self.outward, self.emitted = recorder, inward, outward, emitted
        self.exchange, self.slip, self.meter = BlockExchange(meeting, stage, times), Slip(), Meter()
        self.slower = plan.scenario.deployment.slowdown.get(stage.rank, 1.0)
        self.slowest = plan.slowdown_of(stage)
        self._sent: dict[int, deque[Parcel]] = {link.edge.receiver: deque() for link in outward}
        self._ahead = plan.scenario.deployment.overlaps
        self._posted = inward.ask() if inward is not None and self._ahead else None

    @property
    def now_s(self) -> float:
        """Virtual seconds since the start of the stream."""
        return float(self.env.now)

    @property
    def decodes_first(self) -> bool:
        """Whether a finished chunk is decoded before the item is sent on."""
        return self.plan.scenario.deployment.decodes_before_send

    def wait_input(self, until_s: float) -> Steps:
        """Wait until the next chunk is released."""
        began_s = self.now_s
        yield self.env.timeout(max(0.0, until_s - began_s))
        self._record("wait_input", began_s)

    def encode(self, row: Row, controller: Controller, motion: Sequence[Motion]) -> Steps:
        """Encode *row*'s chunk; *motion* has how much the frames of each camera chunk move."""
        still = (0.0,) * self.plan.scenario.shape.frames_of(row.ordinal)
        moves = motion[row.chunk] if row.chunk < len(motion) else still
        controller.noise_rate(row, moves, self.now_s)
        op = self.plan.encode(row.ordinal)
        yield from self._serve("encode", op, row, controller.ring.sent_items)

    def forward(self, item: Item) -> Steps:
        """Pass *item* through this stage's blocks."""
        if self.stage.vae_only:
            return
        op = self.plan.dit_pass(self.stage, item)
        yield from self._serve("dit", op, item.rows[0], item.index, len(item.rows))

    def send(self, item: Item) -> Steps:
        """Post *item* on each link once there is room on it."""
        slip = self.slip.passed(self.meter.read())
        for link in self.outward:
            carried = item.results(self.plan.steps) if link.edge.results else item
            if carried is not None:
                yield from self._wait_sent(link)
                self._sent[link.edge.receiver].append(link.post(carried, slip))

    def _wait_sent(self, link: Link) -> Steps:
        began_s, posted = self.now_s, self._sent[link.edge.receiver]
        if len(posted) == link.edge.depth:
            yield posted.popleft().taken
        self._record("wait_sent", began_s, peer=link.edge.receiver)

    def receive(self) -> Generator[simpy.Event, Any, Item]:
        """Wait for the next item; posted ahead, the receive of the one after it begins now."""
        assert self.inward is not None
        asked_s = self.now_s
        parcel = yield self._posted or self.inward.ask()
        assert isinstance(parcel, Parcel)
        if self._ahead:
            self._posted = self.inward.ask()
        self.slip = parcel.slip
        self._record_arrival(parcel, self.inward, asked_s)
        return parcel.item

    def _record_arrival(self, parcel: Parcel, link: Link, asked_s: float) -> None:
        newest = parcel.item.rows[0]
        about = {"session": newest.session, "chunk": newest.chunk, "item": parcel.item.index}
        about |= {"peer": link.edge.sender}
        exposed_s = max(parcel.began_s, asked_s)
        self._record("wait_hop", asked_s, exposed_s, **about)
        about["size_bytes"] = self.plan.hop(parcel.item, link.edge).size_bytes
        about["rows"] = len(parcel.item.rows)
        self._record("hop", exposed_s, **about)
        if self._ahead:
            self._record("transfer", parcel.began_s, parcel.arrived_s, **about)

    def take_back(self, item: Item) -> Generator[simpy.Event, Any, Slip]:
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
        if not self.stage.decodes:
            return
        for position in item.finished(self.plan.steps):
            row = item.rows[position]
            yield from self._serve("decode", self.plan.decode(row.ordinal), row, item.index)
            yield self.emitted.put((row, self.now_s))

    def move(self, item: Item) -> Steps:
        """Exchange blocks with the other ranks, if the slip of *item* says so."""
        yield from self.exchange.settle(item)
        if self.slip.partition:
            began_s = self.now_s
            received = yield from self.exchange.move_to(self.slip.partition)
            self.stage = self.exchange.stage
            if received is not None:
                self._record("move", began_s, item=item.index, size_bytes=received)

    def _serve(self, kind: Service, op: Op, row: Row, item: int, rows: int = 1) -> Steps:
        began_s = self.now_s
        slower = self.slowest if kind == "dit" else self.slower
        yield self.env.timeout(slower * self.times(op))
        about = {"session": row.session, "chunk": row.chunk}
        self._record(kind, began_s, item=item, rows=rows, **about)

    def _record(
        self, kind: SpanKind, began_s: float, ended_s: float | None = None, **about: int
    ) -> None:
        until_s = self.now_s if ended_s is None else ended_s
        self.meter.note(kind, until_s - began_s)
        self.recorder.span(self.stage.rank, kind, began_s, until_s, **about)
