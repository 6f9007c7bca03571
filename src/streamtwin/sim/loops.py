"""In which order does each rank do what? The loops of the ring, in virtual time.

`lead` and `follow` are the twins of those in `streamtwin.runtime.loops`: line by line the same,
with `yield from` where the runtime works or waits.
"""

from collections.abc import Generator, Sequence
from typing import Any

import simpy

from streamtwin.core.controller import Controller
from streamtwin.core.motion import Motion
from streamtwin.core.ring import Item
from streamtwin.core.turns import Finished, TakeBack, Turn, Wait
from streamtwin.sim.station import Station

Process = Generator[simpy.Event, Any, None]


def lead(station: Station, controller: Controller, motion: Sequence[Motion]) -> Process:
    """Rank 0: take chunks in, send items round the ring, take their results back."""
    at_s = 0.0
    while not isinstance(action := controller.next(max(at_s, station.now_s)), Finished):
        match action:
            case Wait(until_s):
                yield from station.wait_input(until_s)
                at_s = until_s  # clocks may fall short of the instant by a rounding error
            case TakeBack():
                yield from station.take_back(controller.ring.returned())
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
        yield from station.take_back(controller.ring.returned())
    yield from station.send(item)
    controller.sent(item, turn)
    yield from station.finish(item)


def follow(station: Station) -> Process:
    """Every other rank: receive an item, pass it through the blocks, hand it on."""
    while True:
        item = yield from station.receive()
        yield from station.forward(item)
        yield from hand_on(station, item)


def hand_on(station: Station, item: Item) -> Process:
    """Send *item* on and decode what is done of it, in the order that the deployment says."""
    verbs = [station.send, station.finish]
    for verb in reversed(verbs) if station.decodes_first else verbs:
        yield from verb(item)
