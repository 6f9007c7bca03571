"""Queues that the simulator's own pipeline is: chunks that arrive when a test says so."""

from collections.abc import Sequence
from dataclasses import dataclass

import ciw
import numpy as np
import pytest

from builders import FlatLatency, make_plan
from streamtwin.core.controller import Controller
from streamtwin.core.records import Records
from streamtwin.sim import events
from streamtwin.sim.simulate import simulate

EXPONENTIAL = tuple(-np.log1p(-(np.arange(2000) + 0.5) / 2000))
"""Midpoint quantiles of the exponential distribution; their mean is 1 to 2 in 10,000."""


@dataclass(frozen=True)
class Schedule:
    """Stands for a camera's clock: chunk n is released at the n-th instant."""

    instants_s: Sequence[float]
    fps: float = 16.0

    def released_s(self, chunk: int) -> float:
        return self.instants_s[chunk]

    def deadline_s(self, chunk: int) -> float:
        return self.instants_s[chunk]


class Scheduled(Controller):
    """A controller whose cameras keep a schedule."""

    instants_s: Sequence[float] = ()

    def __post_init__(self) -> None:
        Controller.__post_init__(self)
        for book in self.books:
            book.queue.clock = Schedule(self.instants_s)
            self.door.changed(book)


def arrivals(count: int, rate: float, seed: int) -> list[float]:
    """Poisson arrivals of *rate* a second."""
    return np.cumsum(np.random.default_rng(seed).exponential(1 / rate, count)).tolist()


def serve(
    monkeypatch: pytest.MonkeyPatch, instants_s: Sequence[float], latency: FlatLatency, **changes
) -> Records:
    """Simulate a pipeline of one step whose chunks are released at *instants_s*."""
    own = type("Own", (Scheduled,), {"instants_s": instants_s})
    monkeypatch.setattr(events, "Controller", own)
    plan = make_plan(steps=1, source_fps=16.0, chunks=len(instants_s), **changes)
    return simulate(plan, latency)


def seconds_of(records: Records, kind: str, rank: int) -> list[float]:
    """What each service of *kind* on *rank* took, in order."""
    own = [s for s in records.spans if s.kind == kind and s.rank == rank]
    return [span.seconds for span in sorted(own, key=lambda span: span.began_s)]


def ciw_exits(
    instants_s: Sequence[float], services_s: Sequence[Sequence[float]], room: Sequence[float]
) -> list[float]:
    """When Ciw lets each customer leave a line of single servers, with *room* to queue at each."""
    nodes = len(services_s)
    sequential = [ciw.dists.Sequential(list(own)) for own in services_s]
    between = np.diff([0.0, *instants_s]).tolist()
    network = ciw.create_network(
        arrival_distributions=[
            ciw.dists.Sequential([*between, float("inf")]),
            *[None] * (nodes - 1),
        ],
        service_distributions=sequential,
        number_of_servers=[1] * nodes,
        queue_capacities=list(room),
        routing=[[float(to == node + 1) for to in range(nodes)] for node in range(nodes)],
    )
    simulation = ciw.Simulation(network)
    simulation.simulate_until_max_customers(len(instants_s), method="Finish")
    last = [r for r in simulation.get_all_records() if r.node == nodes]
    return sorted(record.exit_date for record in last)


def ciw_waits(
    instants_s: Sequence[float], services_s: Sequence[float], servers: int
) -> list[float]:
    """How long each customer of one queue in front of *servers* waits by Ciw, in order of arrival."""
    between = np.diff([0.0, *instants_s]).tolist()
    network = ciw.create_network(
        arrival_distributions=[ciw.dists.Sequential([*between, float("inf")])],
        # Ciw draws a service when it begins, and first come is first served
        service_distributions=[ciw.dists.Sequential(list(services_s))],
        number_of_servers=[servers],
    )
    simulation = ciw.Simulation(network)
    simulation.simulate_until_max_customers(len(instants_s), method="Finish")
    records = sorted(simulation.get_all_records(), key=lambda record: record.arrival_date)
    return [record.waiting_time for record in records]
