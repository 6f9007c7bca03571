"""In which order does each rank do what? The loops of the ring, in virtual time.

`lead` and `follow` are the twins of those in `streamtwin.runtime.loops`: line by line the same,
with `yield from` where the runtime works or waits.
"""

from collections.abc import Generator, Sequence
from typing import Any

from streamtwin.core.controller import Controller
from streamtwin.core.motion import Motion
from streamtwin.core.ring import Item
from streamtwin.core.turns import Finished, TakeBack, Turn, Wait
from streamtwin.sim.station import Station

Process = Generator[Any, Any, None]


def lead(station: Station, controller: Controller, motion: Sequence[Motion]) -> Process:
    """Rank 0: take chunks in, send items round the ring, take their results back."""
    at_s = 0.0
    while not isinstance(action := controller.next(max(at_s, station.now_s)), Finished):
        match action:
            case Wait(until_s):
                yield from station.wait_input(until_s)
                at_s = until_s  # clocks may fall short of the instant by a rounding error
            case TakeBack():
                yield from take_back(station, controller)
            case Turn():
                yield from give(station, controller, action, motion)
    controller.close()


def give(station: Station, controller: Controller, turn: Turn, motion: Sequence[Motion]) -> Process:
    """Give a lane its turn."""
    new = controller.admit(turn, station.now_s)
    for row in new:
        yield from station.encode(row, controller, motion)
    item = controller.compose(turn, new)
    yield from station.forward(item)
    while controller.ring.due():
        yield from take_back(station, controller)
    station.slip = controller.scheduler.behind(item, station.now_s)
    yield from station.send(item)
    controller.sent(item, turn)
    yield from station.finish(item)
    while controller.scheduler.far(item) and len(controller.ring.outstanding) > 1:
        yield from take_back(station, controller)
    yield from station.move(item)


def take_back(station: Station, controller: Controller) -> Process:
    """Take the oldest result back, with what the ranks have measured."""
    item = controller.ring.returned()
    came = yield from station.take_back(item)
    controller.scheduler.observe(item, came.times)


def follow(station: Station) -> Process:
    """Every other rank: receive an item, pass it through the blocks, hand it on."""
    while True:
        item = yield from station.receive()
        yield from station.forward(item)
        yield from hand_on(station, item)
        yield from station.move(item)


def hand_on(station: Station, item: Item) -> Process:
    """Send *item* on and decode what is done of it, in the order that the deployment says."""
    if station.decodes_first:
        yield from station.finish(item)
        yield from station.send(item)
    else:
        yield from station.send(item)
        yield from station.finish(item)
