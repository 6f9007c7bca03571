"""In which order does each rank do what? The loops of the ring, in real time.

`lead` and `follow` are the twins of those in `streamtwin.sim.loops`: line by line the same.
"""

from streamtwin.core.controller import Controller
from streamtwin.core.ring import Item
from streamtwin.core.turns import Finished, TakeBack, Turn, Wait
from streamtwin.runtime.station import Station


def lead(station: Station, controller: Controller) -> None:
    """Rank 0: take chunks in, send items round the ring, take their results back."""
    at_s = 0.0
    while not isinstance(action := controller.next(max(at_s, station.now_s)), Finished):
        match action:
            case Wait(until_s):
                station.wait_input(until_s)
                at_s = until_s  # clocks may fall short of the instant by a rounding error
            case TakeBack():
                take_back(station, controller)
            case Turn():
                give(station, controller, action)
    controller.close()
    station.end()


def give(station: Station, controller: Controller, turn: Turn) -> None:
    """Give a lane its turn."""
    new = controller.admit(turn, station.now_s)
    for row in new:
        station.encode(row, controller)
    item = controller.compose(turn, new)
    station.forward(item)
    while controller.ring.due():
        take_back(station, controller)
    station.slip = controller.scheduler.behind(item, station.now_s)
    station.send(item)
    controller.sent(item, turn)
    station.finish(item)
    while controller.scheduler.far(item) and len(controller.ring.outstanding) > 1:
        take_back(station, controller)
    station.move(item)


def take_back(station: Station, controller: Controller) -> None:
    """Take the oldest result back, with what the ranks have measured."""
    item = controller.ring.returned()
    came = station.take_back(item)
    controller.scheduler.observe(item, came.times)


def follow(station: Station) -> None:
    """Every other rank: receive an item, pass it through the blocks, hand it on."""
    while (item := station.receive()) is not None:
        station.forward(item)
        hand_on(station, item)
        station.move(item)
    station.end()


def hand_on(station: Station, item: Item) -> None:
    """Send *item* on and decode what is done of it, in the order that the deployment says."""
    if station.decodes_first:
        station.finish(item)
        station.send(item)
    else:
        station.send(item)
        station.finish(item)
