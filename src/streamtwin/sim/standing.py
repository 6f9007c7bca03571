"""How does everything stand in a walk, as seen from one place of its tape?

Whatever a walk does next follows from what is told here: rows and items, who has what in hand and
waits where, and how far back each instant lies that is still needed; all but service times, which are
alike once every row attends a full window, and when a session's first chunk is back, which then is
over. So where it stands as it stood before, what it has done since comes again.
"""

from streamtwin.core.ring import Item, Row
from streamtwin.sim.turn_ranks import TurnLink, TurnRank
from streamtwin.sim.turns import Turns

Rows = tuple[tuple[int, int], ...]
"""Of each row how many chunks ago it entered, and its step."""

Standing = tuple[object, ...]


def standing(walk: Turns[int], here: int) -> Standing:
    """How everything stands in *walk* at place *here*, numbers counted from there."""
    ring, sent = walk.ring, walk.ring.sent_items
    lanes = tuple([_rows(walk, ring.rows(lane)) for lane in ring.in_order()])
    out = tuple(
        [
            ((lane - ring.next_lane) % ring.lanes, sent - item.index, _rows(walk, item.rows))
            for item, lane in ring.outstanding
        ]
    )
    links = tuple([_link(walk, link, here) for link in walk.links])
    ranks = tuple([_rank(walk, rank, here) for rank in walk.ranks])
    return lanes, out, _item(walk, walk.giving), links, ranks


def _rows(walk: Turns[int], rows: tuple[Row, ...]) -> Rows:
    entered = walk.entered
    return tuple([(entered - row.ordinal, row.step) for row in rows])


def _item(walk: Turns[int], item: Item | None) -> object:
    return None if item is None else (walk.ring.sent_items - item.index, _rows(walk, item.rows))


def _link(walk: Turns[int], link: TurnLink[int], here: int) -> Standing:
    posted, arrived = (
        tuple([(_item(walk, item), here - at) for item, at in parcels])
        for parcels in (link.posted, link.arrived)
    )
    asked = None if link.asked_s is None else here - link.asked_s
    return link.under_way, asked, posted, arrived, tuple([here - at for at in link.taken])


def _rank(walk: Turns[int], rank: TurnRank[int], here: int) -> Standing:
    return here - rank.clock_s, rank.waits_on, _item(walk, rank.item)
