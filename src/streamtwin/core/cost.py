"""What does an hour of video cost, on cards that are paid by the hour?

A card costs the same whether it serves or waits, so the bill of the steady window is spread over the
video that was delivered in it: an hour of video for each session that keeps its rate all the time.
"""

from dataclasses import asdict
from typing import Any

from streamtwin.core.prices import price_of
from streamtwin.core.records import Records
from streamtwin.core.scenario import Scenario
from streamtwin.core.steady import Steady, emitted_at, emitted_chunks
from streamtwin.core.terms import terms_of


def cost_figures(records: Records, scenario: Scenario, steady: Steady) -> dict[str, Any] | None:
    """USD per hour of all cards, and per hour of delivered video (`usd_per_stream_hour`).

    `streams` is how many hours of video an hour brings; `prices` has each card's, with its source.
    None where a rank's card, or its price, is not known.
    """
    cards = [info.card for info in records.info.ranks]
    prices = {card: price_of(card, scenario) for card in dict.fromkeys(cards) if card is not None}
    if None in cards or None in prices.values():
        return None
    per_hour = sum(price.usd_per_hour for card in cards if card and (price := prices[card]))
    began_s, ended_s = steady.interval
    window_s = ended_s - began_s
    # by instants: of sessions in step several chunks leave at the one that begins the window
    delivered = (c for c in emitted_chunks(records) if began_s < emitted_at(c) <= ended_s)
    video_s = sum(one.frames / terms_of(scenario, one.session).playout_fps for one in delivered)
    return {
        "usd_per_hour": per_hour,
        "usd_per_stream_hour": per_hour * window_s / video_s,
        "streams": video_s / window_s,
        "prices": {card: asdict(price) for card, price in prices.items() if price is not None},
    }
