"""What does a plan expect of its turns, before any has been taken?"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Forecast:
    """Predicted seconds of a turn of 0, 1, 2 ... rows.

    `turn_s`: on the busiest rank, with the encodings and decodings that go with so many rows:
    the period at that load. `ring_s`: from the first rank's pass to the result's return, through
    all passes and hops, with one encoding and one decoding.
    """

    turn_s: tuple[float, ...] = ()
    ring_s: tuple[float, ...] = ()


NOTHING = Forecast()
"""That of a plan whose policies ask for no prediction."""
