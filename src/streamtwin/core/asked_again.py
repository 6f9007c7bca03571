"""What do policies say when they are asked again with what a log says that they saw?

A policy is a pure function, so the answer must be the logged one, whichever executor wrote the log.
What a decision did not see comes from the scenario; a line of waiting chunks, which is told piece
by piece (`core.told_line`), and what a session or a schedule has had already, from the decisions
before it.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from streamtwin.core import catalog
from streamtwin.core.entrance import FAMILY, chosen
from streamtwin.core.errors import UserError, unknown_name
from streamtwin.core.moved import counts_text
from streamtwin.core.policies.admission import ADMISSION, QueueView
from streamtwin.core.policies.batching import BATCHING, LaneView
from streamtwin.core.policies.dispatch import DISPATCH, WaitingChunk
from streamtwin.core.policies.noise import NOISE, MotionView
from streamtwin.core.policies.partition import PARTITION, StageCosts
from streamtwin.core.policies.rebalance import REBALANCE, Hysteresis, RebalanceView, decide
from streamtwin.core.policies.rope import ROPE
from streamtwin.core.policies.router import ROUTER, ReplicaView
from streamtwin.core.policies.session_admission import SESSION_ADMISSION, SessionView
from streamtwin.core.policies.sink import SINK, SinkView
from streamtwin.core.records import Decision
from streamtwin.core.recovery import FAMILY as TROUBLE
from streamtwin.core.restarts import seen as position_seen
from streamtwin.core.scenario import Scenario
from streamtwin.core.section import MAX_SESSIONS
from streamtwin.core.stages import of_every_rank
from streamtwin.core.told_line import hear


@dataclass(slots=True)
class Asker:
    """Asks the policies of *scenario* again, decision by decision, in the order of the log."""

    scenario: Scenario
    waiting: dict[tuple[int, float], dict[int, WaitingChunk]] = field(default_factory=dict)
    """What stands in each line of each copy of the pipeline."""
    queued: set[int] = field(default_factory=set)
    """Sessions that have waited at the door."""
    scheduled: dict[int, int] = field(default_factory=dict)
    """Partitions of the schedule that each copy has had."""

    def again(self, decision: Decision) -> Decision:
        """*decision* as its policy makes it on what it saw; what has merely happened, as it was.

        Raises:
            UserError: there is no such policy, or what it saw is not all there.
        """
        if decision.family == TROUBLE:
            return decision
        family = FAMILIES.get(decision.family)
        if family is None:
            raise UserError(unknown_name("family of policies", decision.family, FAMILIES))
        if decision.policy not in (*family.policies, *family.rules):
            raise UserError(
                unknown_name(f"{decision.family} policy", decision.policy, family.policies)
            )
        try:
            said = family.ask(self, decision)
        except (
            LookupError,
            TypeError,
            ValueError,
            ArithmeticError,
            RecursionError,
            StopIteration,
        ) as error:
            raise UserError(
                f"what {decision.family} policy {decision.policy!r} saw at {decision.time_s:.3f} s is "
                f"not all there ({type(error).__name__}: {error}): the log is damaged, or of another "
                "version"
            ) from error
        return said if isinstance(said, Decision) else replace(decision, chose=said)


Answer = Decision | float | str


@dataclass(frozen=True, slots=True)
class Family:
    """How one family is asked again. `rules` are names of what the scenario says instead of a policy."""

    policies: Mapping[str, Callable[..., Any]]
    ask: Callable[[Asker, Decision], Answer]
    rules: Sequence[str] = ()


def _admission(_: Asker, one: Decision) -> str:
    return ADMISSION[one.policy](QueueView(int(one.saw["waiting"]), int(one.saw["max_waiting"])))


def _batching(_: Asker, one: Decision) -> int:
    view = LaneView.seen(one.saw)
    if view.waiting > MAX_SESSIONS:
        raise ValueError(f"waiting = {view.waiting:g}: one chunk a session waits at most")
    return BATCHING[one.policy](view)


def _dispatch(asker: Asker, one: Decision) -> Decision:
    line = asker.waiting.setdefault((one.rank, one.saw["line"]), {})
    waiting = hear(line, one.saw)
    taken = waiting[DISPATCH[one.policy](waiting)]
    # what was chosen in fact has gone, so that one difference does not make all that follow differ
    line.pop(one.session, None)
    return replace(one, session=taken.session, chunk=taken.chunk, chose=taken.chunk)


def _noise(_: Asker, one: Decision) -> float:
    """A session's first chunk has nothing before it, and gets the scenario's rate."""
    view = MotionView(**{name: number for name, number in one.saw.items() if name != "first"})
    return view.base if "first" in one.saw else NOISE[one.policy](view)


def _partition(asker: Asker, one: Decision) -> str:
    deployment = asker.scenario.deployment
    if one.policy == "given":
        counts = deployment.partition.blocks or []
    else:
        costs, blocks = StageCosts.seen(one.saw), catalog.model(asker.scenario.model).blocks
        if len(costs.block_s) != blocks or len(costs.fixed_s) != deployment.block_stages:
            raise ValueError(f"costs of {len(costs.block_s)} blocks, {len(costs.fixed_s)} stages")
        counts = [len(part) for part in PARTITION[one.policy](costs)]
    return counts_text(of_every_rank(counts, deployment))


def _rebalance(asker: Asker, one: Decision) -> str:
    deployment = asker.scenario.deployment
    asked = deployment.partition
    if one.policy == "schedule":
        had = asker.scheduled.get(one.rank, 0)
        asker.scheduled[one.rank] = had + 1
        counts = tuple(sorted(asked.schedule.items())[had][1])
    else:
        once = asked.trigger == "once"
        hysteresis = None if once else Hysteresis(asked.horizon_s, asked.factor, asked.margin)
        counts = decide(one.policy, RebalanceView.seen(one.saw), hysteresis)
    return counts_text(of_every_rank(counts, deployment))


def _rope(_: Asker, one: Decision) -> int:
    return ROPE[one.policy](position_seen(one.saw))


def _router(_: Asker, one: Decision) -> int:
    return ROUTER[one.policy](ReplicaView.seen(one.saw))


def _session_admission(asker: Asker, one: Decision) -> str:
    """Who may enter is admitted; who may not waits or is sent away, as the entrance's rules say."""
    entry, waited = asker.scenario.workload.entry, one.session in asker.queued
    if one.chose == "queue":
        asker.queued.add(one.session)
    view = SessionView(**{n: int(v) if n in _COUNTS else v for n, v in one.saw.items()})  # type: ignore[arg-type]
    # who has waited too long, or makes room in a full line for somebody newer, goes unasked
    if one.chose == "gave_up" and entry.patience_s is not None:
        return "gave_up"
    if one.chose == "refuse" and waited and view.inside and entry.full == "drop_oldest":
        return "refuse"
    if chosen(one.policy, view):
        return "admit"
    full = view.ahead >= entry.max_queued and entry.full == "drop_newest"
    return "refuse" if not view.inside or not entry.max_queued or full else "queue"


_COUNTS = ("inside", "ahead", "room")


def _sink(asker: Asker, one: Decision) -> float | str:
    if one.chose == "kept" and "frame" not in one.saw:
        return "kept"  # a count of views, none of which was noted
    slot = SINK[one.policy](SinkView.seen(one.saw, asker.scenario.deployment.sink))
    return "kept" if slot is None else slot


FAMILIES: Mapping[str, Family] = {
    "admission": Family(ADMISSION, _admission),
    "batching": Family(BATCHING, _batching),
    "dispatch": Family(DISPATCH, _dispatch),
    "noise": Family(NOISE, _noise),
    "partition": Family(PARTITION, _partition, ("given",)),
    "rebalance": Family(REBALANCE, _rebalance, ("schedule",)),
    "rope": Family(ROPE, _rope),
    "router": Family(ROUTER, _router),
    FAMILY: Family(SESSION_ADMISSION, _session_admission),
    "sink": Family(SINK, _sink),
}
"""Every family of policies, by the name under which its decisions are logged."""
