"""What would happen to everybody if one more session began?"""

from collections import Counter
from collections.abc import Collection

from streamtwin.core.plan import Plan
from streamtwin.core.policies.session_admission import PREDICTS_SESSIONS, SessionView
from streamtwin.core.terms import Terms, terms_of


def view_of(plan: Plan, inside: Collection[int], session: int, ahead: int) -> SessionView:
    """What the admission policy sees when *session* asks beside those *inside*."""
    scenario = plan.scenario
    room = scenario.workload.sessions if plan.session_room is None else plan.session_room
    if scenario.workload.entry.policy not in PREDICTS_SESSIONS:
        return SessionView(len(inside), ahead, room)
    numbers = (*sorted(inside), session)
    everybody = [terms_of(scenario, one) for one in numbers]
    chunks_s = [scenario.shape.frames_of(1) / terms.playout_fps for terms in everybody]
    due_s = 1 / sum(1 / each for each in chunks_s)
    turn_s, chunks = _turn(plan, len(everybody))
    return SessionView(
        inside=len(inside),
        ahead=ahead,
        room=room,
        due_s=due_s,
        period_s=turn_s / chunks * _crowding(plan, numbers),
        latency_s=_latency_s(plan, everybody, due_s, max(chunks_s)),
        promised_s=min(terms.slo.latency_s for terms in everybody),
    )


def _crowding(plan: Plan, sessions: Collection[int]) -> float:
    """By how much the fullest lane is fuller than the average: lanes take turns, full or not."""
    if plan.scenario.deployment.lanes == "time":
        return 1.0
    fullest = max(Counter(session % plan.lanes for session in sessions).values())
    return fullest * plan.lanes / len(sessions)


def _rows(plan: Plan, sessions: int) -> int:
    """Rows of a turn when every lane is as full as *sessions* sessions can make it."""
    deployment = plan.scenario.deployment
    steps = plan.steps if deployment.stream_batch else 1
    return steps * min(deployment.batching.batch, sessions)


def _turn(plan: Plan, sessions: int) -> tuple[float, float]:
    """Seconds of a turn, and how many chunks it brings out: all the busiest rank or the ring allow."""
    rows = _rows(plan, sessions)
    turn_s = max(plan.forecast.turn_s[rows], plan.forecast.ring_s[rows] / plan.lanes)
    return turn_s, rows / plan.steps


def _latency_s(plan: Plan, everybody: list[Terms], due_s: float, chunk_s: float) -> float:
    """Seconds of a chunk that comes last of all that come at once, from release to emission.

    It waits for the turns before it, then takes N turns of its lane. A lane of a stream batch with
    live input moves when a chunk comes: of anybody (every *due_s* seconds), or of its own session
    (*chunk_s* at the slowest) where lanes are filled by sessions; and in time the last rank of W
    keeps what is done until rank 0 asks, W - 2 turns later, unless it decodes before.
    """
    deployment, steps = plan.scenario.deployment, plan.steps
    turn_s, _ = _turn(plan, len(everybody))
    ring_s = plan.forecast.ring_s[_rows(plan, len(everybody))]
    waits = -(-len(everybody) // deployment.batching.batch) - 1
    entering_s = waits * turn_s * (1 if deployment.stream_batch else steps)
    lane_s, held_s = max(ring_s, plan.lanes * turn_s), 0.0
    if deployment.stream_batch and all(terms.source_fps for terms in everybody):
        by_time = deployment.lanes == "time"
        lane_s = max(lane_s, plan.lanes * due_s if by_time else chunk_s)
        late = by_time and not deployment.decodes_before_send
        held_s = max(0, plan.lanes - 2) * max(due_s, turn_s) * late
    return entering_s + (steps - 1) * lane_s + ring_s + held_s
