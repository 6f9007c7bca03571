"""In which order does each rank do what? The loops of the ring, in real time.

`lead` and `follow` are the twins of those in `streamtwin.sim.loops`: line by line the same.
"""

from streamtwin.core.controller import Controller
from streamtwin.core.ring import Row, first_turns
from streamtwin.runtime.station import Station


def lead(station: Station, controller: Controller) -> None:
    """Rank 0: take chunks in, send items round the ring, take their results back."""
    ring, queue = controller.ring, controller.queue
    station.wait_chunk(controller)
    first = controller.take(station.now_s)
    station.encode(first, controller)
    for item in first_turns(first, station.plan.steps):
        station.forward(item)
        station.send(item)
        station.finish(item)
        station.take_back(item)
    index = 1
    while not (queue.ended() and ring.empty()):
        new: tuple[Row, ...] = ()
        takes = controller.takes_chunk(index, station.now_s)
        if takes and station.wait_chunk(controller):
            new = (controller.take(station.now_s),)
            station.encode(new[0], controller)
        turn = ring.compose(index, new)
        if turn is not None:
            station.forward(turn)
        while ring.due(index):
            station.take_back(ring.returned())
        if turn is not None:
            station.send(turn)
            ring.sent(turn)
            station.finish(turn)
        index += 1
    controller.close()
    station.end()


def follow(station: Station) -> None:
    """Every other rank: receive an item, pass it through the blocks, send it on."""
    while (item := station.receive()) is not None:
        station.forward(item)
        station.send(item)
        station.finish(item)
    station.end()
