"""Which copy of the pipeline does each session go to, and what is each copy's own scenario?

Sessions are routed once, when they come, in the order of their coming; from then on the copies know
nothing of each other. So each is a run of its own, of a scenario that has its sessions only.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from streamtwin.core.plan import Plan
from streamtwin.core.policies.router import ROUTER, ReplicaView
from streamtwin.core.records import Decision
from streamtwin.core.scenario import Scenario
from streamtwin.core.terms import terms_of


@dataclass(frozen=True, slots=True)
class Routing:
    """The sessions of each copy in the order of their numbers, and the router's decisions."""

    sessions: tuple[tuple[int, ...], ...]
    decisions: tuple[Decision, ...]


def route(scenario: Scenario, turn_s: Sequence[float] = ()) -> Routing:
    """Send every session of *scenario* to a copy of its pipeline.

    *turn_s* has the predicted seconds of a turn that serves one chunk, a copy each; policies that
    weigh nothing need none. A session has ended, for the router, when its input has been played.
    """
    deployment = scenario.deployment
    shape = scenario.shape
    turns_s = tuple(turn_s) or (0.0,) * deployment.replicas
    sent: list[list[int]] = [[] for _ in range(deployment.replicas)]
    ends_s: dict[int, float] = {}
    decisions = []
    sessions = range(scenario.workload.sessions)
    for session in sorted(sessions, key=lambda one: (scenario.visit(one).join_s, one)):
        now_s, fps = scenario.visit(session).join_s, terms_of(scenario, session).source_fps
        chunk_s = 0.0 if fps is None else shape.frames_of(1) / fps
        views = [
            ReplicaView(len(own), sum(ends_s[one] > now_s for one in own), each_s, chunk_s)
            for own, each_s in zip(sent, turns_s, strict=True)
        ]
        chosen = ROUTER[deployment.router](views)
        sent[chosen].append(session)
        frames = shape.last_frame(scenario.chunks_of(session) - 1) + 1
        ends_s[session] = now_s + frames / terms_of(scenario, session).playout_fps
        decisions.append(_decision(deployment.router, session, now_s, views, chosen))
    return Routing(tuple(tuple(sorted(own)) for own in sent), tuple(decisions))


def _decision(
    policy: str, session: int, now_s: float, views: Sequence[ReplicaView], chosen: int
) -> Decision:
    saw = {f"open.{replica}": float(view.open) for replica, view in enumerate(views)}
    saw |= {f"routed.{replica}": float(view.routed) for replica, view in enumerate(views)}
    saw |= {f"turn_s.{replica}": view.turn_s for replica, view in enumerate(views)}
    saw |= {f"chunk_s.{replica}": view.chunk_s for replica, view in enumerate(views)}
    saw |= {f"slack_s.{replica}": view.slack_s for replica, view in enumerate(views)}
    return Decision(now_s, 0, "router", policy, session, -1, saw, chosen)


def replica_scenario(scenario: Scenario, sessions: Sequence[int], replica: int) -> Scenario:
    """The scenario of copy number *replica*, which has *sessions* and its own dead ranks.

    Sessions keep their input, prompts and noise.
    """
    deployment = scenario.deployment.model_copy(update={"replicas": 1})
    visits = [
        scenario.visit(session).model_copy(update={"noise_key": scenario.noise_key(session)})
        for session in sessions
    ]
    workload = scenario.workload.model_copy(update={"sessions": len(sessions), "visits": visits})
    trouble = scenario.trouble.of_copy(replica, deployment.gpus)
    changed = {"deployment": deployment, "workload": workload, "trouble": trouble}
    return scenario.model_copy(update=changed)


def replica_plan(plan: Plan, sessions: Sequence[int], replica: int) -> Plan:
    """The plan of copy number *replica*, which has *sessions*."""
    return replace(plan, scenario=replica_scenario(plan.scenario, sessions, replica))
