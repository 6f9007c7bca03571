"""Streams of a card are ordered by events alone: shown on streams that only take notes."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import SimpleNamespace

import pytest
import torch

from builders import make_plan
from streamtwin.core.plan import Plan
from streamtwin.core.ring import Item, Row
from streamtwin.kernels.stage import Work
from streamtwin.runtime import overlap
from streamtwin.runtime.order import Buffer, HostOrder, StreamOrder, order_of
from streamtwin.runtime.overlap import AheadTransport
from streamtwin.runtime.transport import pack

TURNS = 6


@dataclass
class Note:
    """Something that a stream was asked to do; `after` are the notes that must come before."""

    what: str
    buffer: int
    after: list["Note"]

    def follows(self, other: "Note") -> bool:
        return any(one is other or one.follows(other) for one in self.after)


@dataclass
class FakeStream:
    """Does things in order; beside that, only an event that it waits for comes before them."""

    heeds_events: bool = True
    notes: list[Note] = field(default_factory=list)
    awaited: list[Note] = field(default_factory=list)

    def do(self, what: str, memory: torch.Tensor) -> Note:
        note = Note(what, memory.data_ptr(), [*self.notes[-1:], *self.awaited])
        self.awaited = []
        self.notes.append(note)
        return note

    def record_event(self) -> SimpleNamespace:
        # waiting and then recording passes on what was waited for
        return SimpleNamespace(notes=[*self.notes[-1:], *self.awaited], synchronize=lambda: None)

    def wait_event(self, event: SimpleNamespace) -> None:
        if self.heeds_events:
            self.awaited += event.notes


class Card:
    """Streams of one rank, and a queue for the messages of each direction, as NCCL has them."""

    def __init__(self, plan: Plan, heeds_events: bool = True) -> None:
        self.plan = plan
        self.compute, self.sending, self.receiving, self.out, self.into = (
            FakeStream(heeds_events) for _ in range(5)
        )
        self.current = self.compute
        self.arriving = 0

    @contextmanager
    def inside(self, stream: FakeStream) -> Iterator[None]:
        before, self.current = self.current, stream
        yield
        self.current = before

    def isend(self, memory: torch.Tensor, *_: object) -> SimpleNamespace:
        return self.message(self.out, "send", memory)

    def irecv(self, memory: torch.Tensor, *_: object) -> SimpleNamespace:
        item = Item(self.arriving, (Row(0, self.arriving, self.arriving, 0),))
        latents = torch.zeros(1, 1, 16, *self.plan.scenario.size.latent)
        memory[:1024] = pack(item, Work(latents, (700,)), 0.0).view(torch.uint8)
        self.arriving += 1
        return self.message(self.into, "receive", memory)

    def message(self, queue: FakeStream, what: str, memory: torch.Tensor) -> SimpleNamespace:
        queue.wait_event(self.current.record_event())
        queue.do(what, memory)
        done = queue.record_event()
        return SimpleNamespace(wait=lambda: self.current.wait_event(done))

    @property
    def notes(self) -> list[Note]:
        streams = (self.compute, self.sending, self.receiving, self.out, self.into)
        return [note for stream in streams for note in stream.notes]


@dataclass(slots=True)
class NotedOrder(StreamOrder):
    """Notes that computing fills a buffer, when it is about to."""

    def fill(self, buffer: Buffer) -> None:
        StreamOrder.fill(self, buffer)
        self.compute.do("fill", buffer.memory)


def stream_of_items(card: Card, monkeypatch: pytest.MonkeyPatch) -> list[Note]:
    """What a middle rank asks of its streams for some items."""
    monkeypatch.setattr(overlap.dist, "isend", card.isend)
    monkeypatch.setattr(overlap.dist, "irecv", card.irecv)
    order = NotedOrder(card.compute, card.sending, card.receiving, card.inside)
    ends = AheadTransport(card.plan, 1, lambda: 0.0, order=order)
    ends.begin()
    for index in range(TURNS):
        arrival = ends.receive()
        assert arrival is not None
        assert arrival.item.index == index
        assert arrival.work.hidden is not None
        read = arrival.work.hidden
        start = read.untyped_storage().data_ptr()  # the message that the hidden state is part of
        card.compute.do("read", torch.empty(0).set_(read.untyped_storage()))
        assert card.compute.notes[-1].buffer == start
        ends.send(arrival.item, arrival.work)
    return card.notes


def breaches(notes: list[Note]) -> set[str]:
    """Which of the four laws the notes of one rank do not keep."""
    broken = set()
    for writes, reads, read_first, write_first in (
        ("fill", "send", "a message leaves before it is filled", "a message is overwritten"),
        ("receive", "read", "a message is read before it arrives", "it is received into too early"),
    ):
        for buffer in {note.buffer for note in notes if note.what in (writes, reads)}:
            wrote = [n for n in notes if (n.what, n.buffer) == (writes, buffer)]
            used = [n for n in notes if (n.what, n.buffer) == (reads, buffer)]
            assert len(wrote) >= len(used) > 1
            for write, use in zip(wrote, used, strict=False):
                if not use.follows(write):
                    broken.add(read_first)
            for use, write in zip(used, wrote[1:], strict=False):
                if not write.follows(use):
                    broken.add(write_first)
    return broken


def test_events_keep_every_buffer_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    notes = stream_of_items(Card(make_plan(gpus=3, protocol="overlap")), monkeypatch)
    assert {n.what for n in notes} == {"fill", "send", "receive", "read"}
    assert not breaches(notes)


def test_without_events_every_law_is_broken(monkeypatch: pytest.MonkeyPatch) -> None:
    card = Card(make_plan(gpus=3, protocol="overlap"), heeds_events=False)
    assert len(breaches(stream_of_items(card, monkeypatch))) == 4


def test_a_receive_is_open_while_its_rank_computes(monkeypatch: pytest.MonkeyPatch) -> None:
    """The next item is received while one is read, into the other of two buffers."""
    notes = stream_of_items(Card(make_plan(gpus=3, protocol="overlap")), monkeypatch)
    receives = [n for n in notes if n.what == "receive"]
    reads = [n for n in notes if n.what == "read"]
    assert len(receives) == TURNS + 1
    for turn, read in enumerate(reads):
        assert not receives[turn + 1].follows(read)
        assert receives[turn + 1].buffer != read.buffer
    assert len({n.buffer for n in receives}) == 2


def test_latents_outlive_the_buffer_that_they_came_in(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rank 0 keeps them until their lane's next turn, while other results arrive."""
    plan = make_plan(gpus=3, protocol="overlap")
    filled = iter(range(1, 6))

    def irecv(memory: torch.Tensor, *_: object) -> SimpleNamespace:
        number = next(filled)
        memory[1024:].view(torch.float32).fill_(number)
        item = Item(number, (Row(0, number, number, 0),))
        latents = torch.zeros(1, 1, 16, *plan.scenario.size.latent)
        memory[:1024] = pack(item, Work(latents, (700,)), 0.0).view(torch.uint8)
        return SimpleNamespace(wait=lambda: None)

    monkeypatch.setattr(overlap.dist, "irecv", irecv)
    ends = AheadTransport(plan, 0, lambda: 0.0, order=HostOrder())
    ends.begin()
    kept = [arrival.work.latents for _ in range(4) if (arrival := ends.receive())]
    assert [latents.unique().tolist() for latents in kept] == [[1.0], [2.0], [3.0], [4.0]]


def test_a_cpu_waits_for_handles_only() -> None:
    waited: list[str] = []
    order, buffer = order_of(torch.device("cpu")), Buffer(torch.zeros(1))
    assert isinstance(order, HostOrder)
    order.wait(buffer)
    order.send(buffer, lambda: SimpleNamespace(wait=lambda: waited.append("sent")))
    assert waited == []
    order.fill(buffer)
    order.wait(buffer)
    assert waited == ["sent"]
