"""What is a rank doing at this moment, as others can read it without its help?

A rank's main loop writes one record into memory that its watcher maps: nothing is sent, so a beat
costs well under a microsecond, and a rank that is stuck or stopped can still be read.
"""

import mmap
import struct
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal, NamedTuple

Doing = Literal["start", "encode", "dit", "decode", "decide", "end"]
Waiting = Literal["receive", "sent", "input", "over", "members"]

ACTIVITIES: tuple[Doing | Waiting, ...] = (
    "start", "encode", "dit", "decode", "decide", "end", "receive", "sent", "input", "over",
    "members",
)  # fmt: skip
RECORD = struct.Struct("=qqqqd")


class Beat(NamedTuple):
    """One reading: how many `beats` so far, and what the last of them began.

    `item` is the turn of the ring, `peer` the rank that is waited for (-1: none), `lasts_s` how
    long this wait is meant to last.
    """

    beats: int
    activity: Doing | Waiting
    item: int
    peer: int
    lasts_s: float

    @property
    def works(self) -> bool:
        """Whether the rank is in work of its own, which nobody else can hold up."""
        return self.activity not in ("receive", "sent", "over", "members")

    @property
    def place(self) -> str:
        """The work that was begun last, as a name."""
        if self.activity in ("encode", "dit", "decode"):
            return f"{self.activity} of item {self.item}"
        return "start-up" if self.activity == "start" else self.activity

    @property
    def words(self) -> str:
        """What the rank does, for people."""
        words = {
            "receive": f"waits for an item from rank {self.peer}",
            "sent": f"waits until rank {self.peer} takes its item",
            "input": "waits for the input's clock",
            "members": f"waits for others of the stage that rank {self.peer} leads",
            "over": "has ended",
            "decide": "in its own work, between services",
            "start": "in its own work, at the start",
            "end": "in its own work, at the end",
        }
        return words.get(self.activity, f"busy in {self.place}")


class Pulse:
    """The record of one rank. Its main loop alone writes; every instance on the memory may read."""

    def __init__(self, memory: bytearray | mmap.mmap | None = None, rank: int = 0) -> None:
        self._memory = bytearray(RECORD.size) if memory is None else memory
        self._offset = 0 if memory is None else rank * RECORD.size
        self._count = 0

    def busy(self, doing: Doing, item: int = -1) -> None:
        """Work of the rank's own begins."""
        self._write(doing, item, -1, 0.0)

    def waits_for(self, peer: int, waiting: Waiting) -> None:
        """A wait begins that ends when *peer* does something."""
        self._write(waiting, -1, peer, 0.0)

    def sleeps(self, seconds: float) -> None:
        """A wait for the input begins that ends by itself after *seconds*."""
        self._write("input", -1, -1, max(0.0, seconds))

    def lingers(self, seconds: float) -> None:
        """Sleep *seconds*: the work that was begun takes that much longer, which is no hang."""
        before = self.read()
        self._write(before.activity, before.item, before.peer, seconds)
        time.sleep(seconds)
        self._write(before.activity, before.item, before.peer, 0.0)

    @contextmanager
    def meeting(self, leader: int) -> Iterator[None]:
        """Within the block the rank waits for other members of the stage that *leader* leads."""
        before = self.read()
        self.waits_for(leader, "members")
        try:
            yield
        finally:
            self._write(before.activity, before.item, before.peer, before.lasts_s)

    def over(self) -> None:
        """Nothing more is to come."""
        self._write("over", -1, -1, 0.0)

    def read(self) -> Beat:
        """The latest beat. One that is caught half written differs from the next reading."""
        return unpack_beat(self.raw())

    def raw(self) -> bytes:
        """The latest beat as bytes, for `unpack_beat` elsewhere."""
        return bytes(self._memory[self._offset : self._offset + RECORD.size])

    def _write(self, activity: Doing | Waiting, item: int, peer: int, lasts_s: float) -> None:
        self._count += 1
        about = (self._count, ACTIVITIES.index(activity), item, peer, lasts_s)
        RECORD.pack_into(self._memory, self._offset, *about)


def unpack_beat(raw: bytes) -> Beat:
    """The beat that `Pulse.raw` gave."""
    count, activity, item, peer, lasts_s = RECORD.unpack(raw)
    return Beat(count, ACTIVITIES[activity], item, peer, lasts_s)


def make_pulses(path: Path, ranks: int) -> list[Pulse]:
    """Make the file *path* that *ranks* ranks share with their launcher, and map it."""
    path.write_bytes(bytes(RECORD.size * ranks))
    memory = _mapped(path)
    return [Pulse(memory, rank) for rank in range(ranks)]


def open_pulse(path: Path, rank: int) -> Pulse:
    """Map the record of *rank* in the file that `make_pulses` made."""
    return Pulse(_mapped(path), rank)


def _mapped(path: Path) -> mmap.mmap:
    with path.open("r+b") as file:
        return mmap.mmap(file.fileno(), 0)
