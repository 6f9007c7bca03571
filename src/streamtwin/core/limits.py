"""How long may things take that should take no time at all?"""

HANG_TIMEOUT_S = 60.0
"""Without a beat for so long a rank counts as stuck. Longer than any honest service: a 14B pass or
the decoding of a chunk takes seconds at most on a card, and building a stage is not watched."""
