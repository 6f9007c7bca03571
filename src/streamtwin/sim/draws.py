"""Which random numbers does a service draw, so that two runs that share it share them too?

Every kind of service of a rank has a stream of its own, and so has every link: no draw depends on
which of two events of one instant comes first.
"""

from collections.abc import Iterator, Sequence

import numpy as np

BLOCK = 256
"""Numbers that are drawn at once: drawing one takes as long as drawing some hundred."""


def uniforms(seed: Sequence[int]) -> Iterator[float]:
    """Numbers from 0 to below 1 without end, those of *seed*."""
    generator = np.random.default_rng(list(seed))
    while True:
        yield from generator.random(BLOCK).tolist()
