"""How much must be written so that no cache holds what a case used last?"""

EVICTED_BYTES = 2**26
"""Enough for the last-level cache of the CPUs this runs on, and of cards that do not tell."""

TIMES_THE_CACHE = 2
"""A cache does not throw out its oldest line first: writing its size once leaves some of them."""


def flush_bytes(cache_bytes: int) -> int:
    """Bytes to write before each time on a device whose last cache has *cache_bytes*; 0: unknown."""
    return max(EVICTED_BYTES, TIMES_THE_CACHE * cache_bytes)
