"""What can a real rank do? The verbs of the loops, each doing its work and noting when."""

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

from streamtwin.core.controller import Controller
from streamtwin.core.motion import Motion
from streamtwin.core.policies.noise import entry_timestep
from streamtwin.core.records import ChunkRecord, Recorder, SpanKind
from streamtwin.core.ring import Item, Row
from streamtwin.core.slip import Meter, Slip
from streamtwin.kernels.stage import StageKernels, Work
from streamtwin.runtime.exchange import BlockExchange
from streamtwin.runtime.kept_rows import KeptRows
from streamtwin.runtime.members import Leader
from streamtwin.runtime.pulse import Pulse
from streamtwin.runtime.sink_notes import kept, replaced
from streamtwin.runtime.spool import Spools
from streamtwin.runtime.states import States
from streamtwin.runtime.transport import Arrival, Transport
from streamtwin.runtime.video import FrameSource


class Station:
    """One rank in real time. Twin of `streamtwin.sim.station.Station`."""

    def __init__(
        self,
        kernels: StageKernels,
        states: States,
        transports: Sequence[Transport],
        exchange: BlockExchange,
        clock: Callable[[], float],
        source: FrameSource | None,
        spools: Spools | None,
        emitted: Callable[[int], None],
        recorder: Recorder,
        pulse: Pulse | None = None,
        members: Leader | None = None,
    ) -> None:
        self.kernels, self.states, self.clock = kernels, states, clock
        self.transport, self.transports = transports[0], transports
        self.exchange, self.slip, self.meter = exchange, Slip(), Meter()
        self.source, self.spools, self.emitted = source, spools, emitted
        self.plan, self.stage, self.members = kernels.plan, kernels.stage, members
        self.slower = self.plan.scenario.deployment.slowdown.get(self.stage.rank, 1.0)
        self.recorder = recorder
        self.pulse = pulse or Pulse()
        self._kept = KeptRows()
        self._work: Work | None = None

    @property
    def now_s(self) -> float:
        """Seconds since the start of the stream."""
        return self.clock()

    @property
    def decodes_first(self) -> bool:
        """Whether a finished chunk is decoded before the item is sent on."""
        return self.plan.scenario.deployment.decodes_before_send

    def wait_input(self, until_s: float) -> None:
        """Wait until the next chunk is released."""
        began_s = self.now_s
        self.pulse.sleeps(until_s - began_s)
        time.sleep(max(0.0, until_s - began_s))
        self.pulse.busy("decide")
        self._record("wait_input", began_s)

    def encode(self, row: Row, controller: Controller) -> None:
        """Encode *row*'s chunk."""
        assert self.source is not None
        self.pulse.busy("encode", row.ordinal)
        began_s = self.now_s
        frames, rates = self.source.frames(row.chunk, leads=row.ordinal == 0), list[float]()

        def rate_of(motion: Motion) -> float:
            rates.append(controller.noise_rate(row, motion, began_s))
            return rates[-1]

        latents = self.kernels.encode(self.states.of(row.session), row, frames, rate_of)
        self._kept.enter(row, latents, entry_timestep(rates[-1]))
        self._done("encode", began_s, row, controller.ring.sent_items)

    def forward(self, item: Item) -> None:
        """Pass *item* through this stage's blocks."""
        self.pulse.busy("dit", item.index)
        began_s = self.now_s
        if self.stage.encodes:
            self._work = self._kept.assembled(item)
        if not self.stage.vae_only:
            self._pass(item, began_s)
        if self.stage.alone:
            assert self._work is not None
            self._kept.keep(item, self._work, self.plan.steps)
        if not self.stage.decodes:
            self._drop(item.leaving)

    def _pass(self, item: Item, began_s: float) -> None:
        assert self._work is not None
        if self.members is not None:
            self.members.call(item, self._work)
        states = {row.session: self.states.of(row.session) for row in item.rows}
        self._work = self.kernels.run(states, item, self._work)
        self._done("dit", began_s, item.rows[0], item.index, len(item.rows))
        blocks, rank = self.kernels.dit.interval, self.stage.rank
        self.recorder.decisions += replaced(states.values(), blocks, rank, began_s)

    def send(self, item: Item) -> None:
        """Post *item* on each link once there is room on it."""
        assert self._work is not None
        slip = self.slip.passed(self.meter.read())
        for transport in self.transports:
            edge = transport.edge
            carried = item if edge is None or not edge.results else item.results(self.plan.steps)
            if edge is not None and carried is not None:
                began_s = self.now_s
                self.pulse.waits_for(edge.receiver, "sent")
                transport.wait_sent()
                self.pulse.busy("decide", item.index)
                self._record("wait_sent", began_s, peer=edge.receiver)
                done = item.finished(self.plan.steps)
                work = self._work.results(done) if edge.results else self._work
                transport.send(carried, work, slip)

    def receive(self) -> Item | None:
        """Wait for the next item from the rank before; None when nothing follows."""
        assert self.transport.inward is not None
        self.pulse.waits_for(self.transport.inward.sender, "receive")
        arrival = self.transport.receive()
        self.pulse.busy("decide")
        if arrival is None:
            return None
        self._work, self.slip = arrival.work, arrival.slip
        self._record_arrival(arrival)
        return arrival.item

    def take_back(self, item: Item) -> Slip:
        """Wait for the result of *item*; it is at hand when this rank is the whole ring."""
        if self.stage.alone:
            return self.slip
        kept = self._work, self.slip
        returned = self.receive()
        assert returned == item, f"{returned} came back, {item} was due"
        assert self._work is not None
        self._kept.keep(item, self._work, self.plan.steps)
        came, (self._work, self.slip) = self.slip, kept
        return came

    def finish(self, item: Item) -> None:
        """Decode and emit the rows of *item* that are done, if this rank decodes."""
        if not self.stage.decodes:
            return
        assert self._work is not None
        for position in item.finished(self.plan.steps):
            self.pulse.busy("decode", item.index)
            began_s, row = self.now_s, item.rows[position]
            latents = self._work.latents[position]
            frames = self.kernels.decode(self.states.of(row.session), latents)
            if self.spools is not None:
                self.spools.append(row.session, frames)
            self._done("decode", began_s, row, item.index)
            self._emit(row, len(frames))
        self._drop(item.leaving)

    def move(self, item: Item) -> None:
        """Exchange blocks with the other ranks, if the slip of *item* says so."""
        self.exchange.settle()
        if self.slip.partition:
            began_s = self.now_s
            received = self.exchange.move_to(self.slip.partition)
            self.stage = self.kernels.stage
            if received is not None:
                self._record("move", began_s, item=item.index, size_bytes=received)

    def end(self) -> None:
        """Tell members and receivers that nothing follows; rank 0 hears it when all have heard."""
        if self.members is not None:
            self.members.dismiss()
        self.exchange.wait_taken()
        ends = [(one, one.edge.receiver) for one in self.transports if one.edge is not None]
        for transport, receiver in ends:
            self.pulse.waits_for(receiver, "sent")
            transport.wait_sent()
            transport.send(None, None)
        if self.stage.encodes and not self.stage.alone:
            late = self.receive()
            assert late is None, f"{late} came back after the last item"
        for transport, receiver in ends:
            self.pulse.waits_for(receiver, "sent")
            transport.drain()
        self.pulse.busy("end")

    def _emit(self, row: Row, frames: int) -> None:
        key = (row.session, row.chunk)
        known = self.recorder.chunks.get(key, ChunkRecord(*key, released_s=self.now_s))
        self.recorder.chunks[key] = replace(
            known, emitted_s=self.now_s, frames=frames, outcome="emitted"
        )
        self.emitted(row.chunk)

    def _done(self, kind: SpanKind, began_s: float, row: Row, item: int, rows: int = 1) -> None:
        """Note a service once the device has finished it, slowed down if the scenario says so."""
        self.kernels.synchronize()
        if self.slower > 1:
            self.pulse.lingers((self.slower - 1) * (self.now_s - began_s))
        about = {"session": row.session, "chunk": row.chunk}
        self._record(kind, began_s, item=item, rows=rows, **about)

    def _drop(self, sessions: Iterable[int]) -> None:
        """Let go of *sessions*; note how often since the last replacement no sink was replaced."""
        leaving = [self.states.of(session) for session in sessions]
        self.recorder.decisions += kept(leaving, self.stage.rank, self.now_s)
        self.states.drop(sessions)

    def _record_arrival(self, arrival: Arrival) -> None:
        assert self.transport.inward is not None
        newest = arrival.item.rows[0]
        about = {"session": newest.session, "chunk": newest.chunk, "item": arrival.item.index}
        about |= {"peer": self.transport.inward.sender}
        exposed_s = max(arrival.began_s, arrival.asked_s)
        self._record("wait_hop", arrival.asked_s, exposed_s, **about)
        about |= {"size_bytes": arrival.size_bytes, "rows": len(arrival.item.rows)}
        self._record("hop", exposed_s, arrival.arrived_s, **about)
        if arrival.posted_s is not None:
            self._record("transfer", arrival.began_s, arrival.arrived_s, **about)

    def _record(
        self, kind: SpanKind, began_s: float, ended_s: float | None = None, **about: int
    ) -> None:
        until_s = self.now_s if ended_s is None else ended_s
        self.meter.note(kind, until_s - began_s)
        self.recorder.span(self.stage.rank, kind, began_s, until_s, **about)
