"""How fast is SimPy itself on a pipeline of the same shape, with nothing in it?

Ranks in a ring with a store before each; the services and hops of every item are timeouts. Nothing
is decided, looked up, drawn or recorded: what a twin on SimPy cannot do without.
"""

from collections.abc import Iterator

import simpy


def bare_pipeline(items: int, ranks: int) -> int:
    """Send *items* round *ranks* ranks, encoded on the first, decoded on the last.

    Returns the services that took place: encodings, passes, hops and decodings.
    """
    env = simpy.Environment()
    links = [simpy.Store(env, capacity=1) for _ in range(ranks)]
    served = 0

    def serve(seconds: float) -> simpy.Timeout:
        nonlocal served
        served += 1
        return env.timeout(seconds)

    def lead() -> Iterator[simpy.Event]:
        for item in range(items + ranks - 1):
            if item >= ranks - 1:
                yield links[0].get()
                yield serve(0.004)
            if item < items:
                yield serve(0.020)
                yield serve(0.030)
                yield links[1].put(item)

    def follow(rank: int) -> Iterator[simpy.Event]:
        while True:
            item = yield links[rank].get()
            yield serve(0.004)
            yield serve(0.030)
            yield links[(rank + 1) % ranks].put(item)
            if rank == ranks - 1:
                yield serve(0.025)

    env.process(lead())
    for rank in range(1, ranks):
        env.process(follow(rank))
    env.run()
    return served
