"""When may a buffer be filled, sent, received into, and read?

On a card computing and messages run in streams of their own. Nothing but events orders them:

- a message leaves no earlier than the work that filled its buffer has ended;
- a buffer is filled again no earlier than its message has left;
- a buffer is received into no earlier than the work that read what was in it has ended;
- what has arrived is read no earlier than it has arrived.

On a CPU work has ended when its call returns, and only messages are waited for.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor


class Message(Protocol):
    """A handle of a message under way, as `torch.distributed` gives it."""

    def wait(self) -> object:
        """Wait until it has left or arrived: the host on a CPU, the current stream on a card."""


Post = Callable[[], Message]


@dataclass(slots=True)
class Buffer:
    """Memory of a message. `pending` tells when its latest message has left or arrived."""

    memory: Tensor
    pending: Any = None


class Order(Protocol):
    """What a transport asks around its use of buffers."""

    def fill(self, buffer: Buffer) -> None:
        """Work that fills *buffer* comes next."""

    def send(self, buffer: Buffer, post: Post) -> None:
        """Let *post* send what *buffer* was filled with."""

    def receive(self, buffer: Buffer, post: Post) -> None:
        """Let *post* receive into *buffer*, which has been read for the last time."""

    def wait(self, buffer: Buffer) -> None:
        """Let the host wait until *buffer*'s message has left or arrived."""


class HostOrder:
    """On a CPU: a message is a handle, and work is done when its call returns."""

    def fill(self, buffer: Buffer) -> None:
        """Wait until the message in *buffer* has left."""
        self.wait(buffer)

    def send(self, buffer: Buffer, post: Post) -> None:
        """Send at once: *buffer* is full."""
        buffer.pending = post()

    def receive(self, buffer: Buffer, post: Post) -> None:
        """Receive at once: nobody reads *buffer* any more."""
        buffer.pending = post()

    def wait(self, buffer: Buffer) -> None:
        """Wait for the handle."""
        if buffer.pending is not None:
            buffer.pending.wait()
            buffer.pending = None


@dataclass(slots=True)
class StreamOrder:
    """On a card: streams for computing, sending and receiving, ordered by events.

    `inside` makes a stream the current one for a while. Sending and receiving have a stream each,
    because a receive that is posted ahead may be open for long.
    """

    compute: Any
    sending: Any
    receiving: Any
    inside: Callable[[Any], AbstractContextManager[object]]

    def fill(self, buffer: Buffer) -> None:
        """Let computing wait until the message in *buffer* has left."""
        if buffer.pending is not None:
            self.compute.wait_event(buffer.pending)

    def send(self, buffer: Buffer, post: Post) -> None:
        """Send once computing has filled *buffer*."""
        self._post(self.sending, buffer, post)

    def receive(self, buffer: Buffer, post: Post) -> None:
        """Receive once computing has read *buffer*."""
        self._post(self.receiving, buffer, post)

    def wait(self, buffer: Buffer) -> None:
        """Wait for the message; computing that is asked for from now on comes after it, too."""
        if buffer.pending is not None:
            self.compute.wait_event(buffer.pending)
            buffer.pending.synchronize()

    def _post(self, stream: Any, buffer: Buffer, post: Post) -> None:  # noqa: ANN401 - a stream
        stream.wait_event(self.compute.record_event())
        with self.inside(stream):
            post().wait()  # the stream waits, not the host
            buffer.pending = stream.record_event()


def order_of(device: torch.device) -> Order:
    """The order that *device* needs."""
    if device.type != "cuda":
        return HostOrder()
    return StreamOrder(
        torch.cuda.current_stream(device),
        torch.cuda.Stream(device),  # type: ignore[no-untyped-call]
        torch.cuda.Stream(device),  # type: ignore[no-untyped-call]
        torch.cuda.stream,
    )
