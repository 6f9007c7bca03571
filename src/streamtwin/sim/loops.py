"""In which order does each rank do what? The loops of the ring, in virtual time.

`lead` and `follow` are the twins of those in `streamtwin.runtime.loops`: line by line the same,
with `yield from` where the runtime works or waits.
"""

from collections.abc import Generator, Sequence
from typing import Any

import simpy

from streamtwin.core.controller import Controller
from streamtwin.core.motion import Motion
from streamtwin.core.ring import Row, first_turns
from streamtwin.sim.station import Station

Process = Generator[simpy.Event, Any, None]


def lead(station: Station, controller: Controller, motion: Sequence[Motion]) -> Process:
    """Rank 0: take chunks in, send items round the ring, take their results back."""
    ring, queue = controller.ring, controller.queue
    yield from station.wait_chunk(controller)
    first = controller.take(station.now_s)
    yield from station.encode(first, controller, motion)
    for item in first_turns(first, station.plan.steps):
        yield from station.forward(item)
        yield from station.send(item)
        yield from station.finish(item)
        yield from station.take_back(item)
    index = 1
    while not (queue.ended() and ring.empty()):
        new: tuple[Row, ...] = ()
        takes = controller.takes_chunk(index, station.now_s)
        if takes and (yield from station.wait_chunk(controller)):
            new = (controller.take(station.now_s),)
            yield from station.encode(new[0], controller, motion)
        turn = ring.compose(index, new)
        if turn is not None:
            yield from station.forward(turn)
        while ring.due(index):
            yield from station.take_back(ring.returned())
        if turn is not None:
            yield from station.send(turn)
            ring.sent(turn)
            yield from station.finish(turn)
        index += 1
    controller.close()


def follow(station: Station) -> Process:
    """Every other rank: receive an item, pass it through the blocks, send it on."""
    while True:
        item = yield from station.receive()
        yield from station.forward(item)
        yield from station.send(item)
        yield from station.finish(item)


def camera(env: simpy.Environment, controller: Controller, station: Station) -> Process:
    """Release chunks on the input's own clock; admission decides what happens to each."""
    queue = controller.queue
    while queue.clock.fps is not None and (due_s := queue.next_release_s()) is not None:
        yield env.timeout(max(0.0, due_s - env.now))
        # the sum of floats may fall short of the instant by a rounding error
        queue.release_due(max(due_s, env.now))
        released, station.released = station.released, env.event()
        released.succeed()
