"""What can a real rank do? The verbs of the loops, each doing its work and noting when."""

import time
from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from streamtwin.core.controller import Controller
from streamtwin.core.policies.noise import entry_timestep
from streamtwin.core.records import ChunkRecord, Recorder, SpanKind
from streamtwin.core.ring import Item, Row
from streamtwin.kernels.stage import SessionState, StageKernels, Work
from streamtwin.runtime.members import Crew
from streamtwin.runtime.spool import VideoSpool
from streamtwin.runtime.transport import Arrival, Transport
from streamtwin.runtime.video import FrameSource


class Station:
    """One rank in real time. Twin of `streamtwin.sim.station.Station`."""

    def __init__(
        self,
        kernels: StageKernels,
        state: SessionState,
        transport: Transport,
        clock: Callable[[], float],
        source: FrameSource | None,
        spool: VideoSpool | None,
        emitted: Callable[[int], None],
        crew: Crew | None = None,
    ) -> None:
        self.kernels, self.state, self.transport, self.clock = kernels, state, transport, clock
        self.source, self.spool, self.emitted = source, spool, emitted
        self.plan, self.stage, self.crew = kernels.plan, kernels.stage, crew
        self.recorder = Recorder()
        self._latents: dict[tuple[int, int], Tensor] = {}
        self._timesteps: dict[tuple[int, int], int] = {}
        self._work: Work | None = None

    @property
    def now_s(self) -> float:
        """Seconds since the start of the stream."""
        return self.clock()

    def wait_chunk(self, controller: Controller) -> bool:
        """Wait for a chunk if the controller does; False when there is none."""
        began_s, queue = self.now_s, controller.queue
        queue.release_due(began_s)
        waited = False
        while controller.waits() and not queue.waiting and not queue.ended():
            due_s = queue.next_release_s()
            assert due_s is not None
            time.sleep(max(0.0, due_s - self.now_s))
            queue.release_due(self.now_s)
            waited = True
        if waited:
            self._record("wait_input", began_s)
        return bool(queue.waiting)

    def encode(self, row: Row, controller: Controller) -> None:
        """Encode *row*'s chunk."""
        assert self.source is not None
        began_s = self.now_s
        frames = self.source.frames(row.chunk, leads=row.ordinal == 0)

        def rate_of(motion: float) -> float:
            rate = controller.noise_rate(row, motion, began_s)
            self._timesteps[_key(row)] = entry_timestep(rate)
            return rate

        self._latents[_key(row)] = self.kernels.encode(self.state, row, frames, rate_of)
        self._done("encode", began_s, row.chunk, row.ordinal)

    def forward(self, item: Item) -> None:
        """Pass *item* through this stage's blocks."""
        began_s = self.now_s
        work = self._assembled(item) if self.stage.first else self._work
        assert work is not None
        if self.crew is not None:
            self.crew.call(item, work)
        self._work = self.kernels.run(self.state, item, work)
        self._done("dit", began_s, item.rows[0].chunk, item.index, len(item.rows))
        if self.stage.alone:
            self._keep(item, self._work)

    def send(self, item: Item) -> None:
        """Post *item* to the next rank once the one before has been taken."""
        if self.stage.alone:
            return
        began_s = self.now_s
        self.transport.wait_sent()
        self._record("wait_sent", began_s)
        self.transport.send(item, self._work)

    def receive(self) -> Item | None:
        """Wait for the next item from the rank before; None when nothing follows."""
        arrival = self.transport.receive()
        if arrival is None:
            return None
        self._work = arrival.work
        self._record_arrival(arrival)
        return arrival.item

    def take_back(self, item: Item) -> None:
        """Wait for the result of *item*; it is at hand when this rank is the whole ring."""
        if not self.stage.alone:
            kept = self._work
            returned = self.receive()
            assert returned == item, f"{returned} came back, {item} was due"
            assert self._work is not None
            self._keep(item, self._work)
            self._work = kept

    def finish(self, item: Item) -> None:
        """Decode and emit the rows of *item* that are done, if this is the last stage."""
        if not self.stage.last:
            return
        assert self._work is not None
        for position in item.finished(self.plan.steps):
            began_s = self.now_s
            frames = self.kernels.decode(self.state, self._work.latents[position])
            if self.spool is not None:
                self.spool.append(frames)
            self._done("decode", began_s, item.rows[position].chunk, item.index)
            self._emit(item.rows[position], len(frames))

    def end(self) -> None:
        """Tell the next rank that nothing follows, unless the ring closes here; and the members."""
        if self.crew is not None:
            self.crew.dismiss()
        if self.stage.alone:
            return
        self.transport.wait_sent()
        if not self.stage.last:
            self.transport.send(None, None)
            self.transport.wait_sent()

    def _assembled(self, item: Item) -> Work:
        """Join the rows' latents and timesteps, which rank 0 has kept."""
        keys = [_key(row) for row in item.rows]
        latents = torch.stack([self._latents.pop(key) for key in keys])
        return Work(latents, tuple(self._timesteps.pop(key) for key in keys))

    def _keep(self, item: Item, work: Work) -> None:
        """Keep the rows that go on, for the next turn of their lane."""
        for position, row in enumerate(item.rows):
            if row.step + 1 < self.plan.steps:
                self._latents[_key(row)] = work.latents[position]
                self._timesteps[_key(row)] = self.kernels.timestep(row.step + 1)

    def _emit(self, row: Row, frames: int) -> None:
        key = (row.session, row.chunk)
        known = self.recorder.chunks.get(key, ChunkRecord(*key, released_s=self.now_s))
        self.recorder.chunks[key] = replace(
            known, emitted_s=self.now_s, frames=frames, outcome="emitted"
        )
        self.emitted(row.chunk)

    def _done(self, kind: SpanKind, began_s: float, chunk: int, item: int, rows: int = 1) -> None:
        """Note a service once the device has finished it."""
        self.kernels.synchronize()
        self._record(kind, began_s, chunk=chunk, item=item, rows=rows)

    def _record_arrival(self, arrival: Arrival) -> None:
        about = {"chunk": arrival.item.rows[0].chunk, "item": arrival.item.index}
        peer, began_s = self.transport.before, arrival.began_s
        self._record("wait_hop", arrival.asked_s, began_s, peer=peer, **about)
        size, rows = arrival.size_bytes, len(arrival.item.rows)
        self._record(
            "hop", began_s, arrival.arrived_s, peer=peer, size_bytes=size, rows=rows, **about
        )

    def _record(
        self, kind: SpanKind, began_s: float, ended_s: float | None = None, **about: int
    ) -> None:
        until_s = self.now_s if ended_s is None else ended_s
        self.recorder.span(self.stage.rank, kind, began_s, until_s, **about)


def _key(row: Row) -> tuple[int, int]:
    return row.session, row.ordinal
