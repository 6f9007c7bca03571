"""How is it worded what an hour of video costs?"""

from collections.abc import Iterator, Mapping
from typing import Any


def cost_words(metrics: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Subject and words of the cost, with its prices; nothing where prices are not known."""
    cost = metrics.get("cost")
    if cost is None:
        return
    told = "; ".join(
        f"{card} {price['usd_per_hour']:.2f}: {price['source']}"
        for card, price in cost["prices"].items()
    )
    yield "cost of an hour of video, USD", f"{cost['usd_per_stream_hour']:.2f}"
    yield "cost of all cards, USD/h", f"{cost['usd_per_hour']:.2f} ({told})"
