"""Which random numbers does each purpose of a run get?

Each purpose has a stream of its own, and each session its own streams within it (numpy's
`SeedSequence`, keyed as `spawn` would key it). So one parameter changes what is drawn for its own
purpose, and all other draws stay: two scenarios that differ in one value see the same arrivals, the
same losses, the same jitter (common random numbers; Law, Simulation Modeling and Analysis, ch. 11).
"""

from typing import Literal, get_args

import numpy as np

Purpose = Literal["joins", "lengths", "classes", "active", "idle", "jitter", "losses"]

_PURPOSES: tuple[str, ...] = get_args(Purpose)


def stream(
    seed: int, run: int, purpose: Purpose, session: int | None = None
) -> np.random.Generator:
    """The random numbers of *purpose* in replication *run*; of one *session* where given."""
    key = (run, _PURPOSES.index(purpose))
    return np.random.default_rng(
        np.random.SeedSequence(seed, spawn_key=key if session is None else (*key, session))
    )
