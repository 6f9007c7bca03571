"""How long is a pipeline down, why, and what does the record say of it?"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from streamtwin.core.loss import WHY, ColdStart, LostRank
from streamtwin.core.memory import rank_memory
from streamtwin.core.plan import Plan
from streamtwin.core.records import Decision

FAMILY = "trouble"
"""Of the decisions that tell what happened when."""

PROVENANCE = "recovery times"
"""Key of a run's provenance: which of these times were given, and which are assumed."""

COLD = "cold_start"

NO_EFFECT = "no_effect"
"""What a record says of a death behind the last work of its ring."""

STATE = ("kv", "cross_kv", "vae")
"""Purposes of the memory that a rank keeps for sessions."""


@dataclass(frozen=True, slots=True)
class Recovery:
    """Instants in seconds since the start of the stream, and bytes; `state`: what became of it.

    The ring stands from `died_s` to `resumed_s`. `rank` is the one that died, or of a cold start the
    one that is ready last. Every one of `loads` loads its own weights, and has its caches of `restored`
    sessions brought back; `weights_bytes` and `state_bytes` are the most that one of them loads.
    """

    rank: int
    state: str
    died_s: float
    detected_s: float
    started_s: float
    loaded_s: float
    resumed_s: float
    weights_bytes: int
    state_bytes: int
    loads: Collection[int]
    restored: int

    def loaded_bytes(self, plan: Plan, rank: int) -> int:
        """Bytes that *rank* of *plan* loads meanwhile."""
        if rank not in self.loads:
            return 0
        return weights_bytes(plan, rank) + state_bytes(plan, rank, self.restored)


def recovery_of(plan: Plan, lost: LostRank, sessions: int) -> Recovery:
    """How *lost* is replaced while *plan*'s ranks keep the state of so many *sessions*.

    Ranks that start together load side by side, so the one with most bytes counts.
    """
    again = range(plan.ranks) if lost.restarts == "all" else (lost.rank,)
    weights = max(weights_bytes(plan, rank) for rank in again)
    restored = sessions if lost.state == "restored" else 0
    brought = max(state_bytes(plan, rank, restored) for rank in again)
    detected_s = lost.at_s + lost.detect_s
    started_s = detected_s + lost.start_s
    loaded_s = started_s + weights / lost.load_bytes_per_s
    resumed_s = loaded_s + brought / lost.restore_bytes_per_s
    return Recovery(
        lost.rank, lost.state, lost.at_s, detected_s, started_s, loaded_s, resumed_s, weights, brought,
        again, restored,
    )  # fmt: skip


def cold_start_of(plan: Plan) -> Recovery | None:
    """How *plan*'s ranks begin without weights; None where they have them before the stream."""
    cold = plan.scenario.trouble.cold_start
    if cold is None:
        return None
    last = max(range(plan.ranks), key=lambda rank: weights_bytes(plan, rank))
    weights = weights_bytes(plan, last)
    loaded_s = cold.start_s + weights / cold.load_bytes_per_s
    every = range(plan.ranks)
    return Recovery(last, COLD, 0.0, 0.0, cold.start_s, loaded_s, loaded_s, weights, 0, every, 0)


def begins_s(plan: Plan) -> float:
    """When *plan*'s ranks are ready; seconds since the start of the stream."""
    cold = cold_start_of(plan)
    return 0.0 if cold is None else cold.resumed_s


def weights_bytes(plan: Plan, rank: int) -> int:
    """Bytes of weights that *rank* loads."""
    return rank_memory(plan, plan.stage_of(rank))["weights"]


def state_bytes(plan: Plan, rank: int, sessions: int) -> int:
    """Bytes that *rank* keeps for so many *sessions*."""
    held = rank_memory(plan, plan.stage_of(rank), sessions)
    return sum(held[purpose] for purpose in STATE) if sessions else 0


def events_of(recovery: Recovery, saw: Mapping[str, float]) -> list[Decision]:
    """What happened when; *saw* is what the death found under way."""
    cold = recovery.state == COLD
    told: list[tuple[str, float, Mapping[str, float]]] = [
        ("started", recovery.started_s, {}),
        ("loaded", recovery.loaded_s, {"weights_bytes": recovery.weights_bytes}),
        ("resumed", recovery.resumed_s, {"state_bytes": recovery.state_bytes}),
    ]
    if not cold:
        told[:0] = [("died", recovery.died_s, saw), ("detected", recovery.detected_s, {})]
    return [
        Decision(at_s, recovery.rank, FAMILY, recovery.state, 0, -1, dict(seen), what)
        for what, at_s, seen in told
    ]


def without_effect(lost: LostRank, ended_s: float) -> Decision:
    """What is told of *lost*, whose ring had nothing left to do after *ended_s*."""
    saw = {"ended_s": ended_s}
    return Decision(lost.at_s, lost.rank, FAMILY, lost.state, 0, -1, saw, NO_EFFECT)


def recovery_provenance(plan: Plan) -> dict[str, str]:
    """Which times of *plan*'s recoveries are assumed, and why those; nothing where there are none."""
    trouble = plan.scenario.trouble
    sections: list[ColdStart] = [*trouble.lost_ranks]
    sections += [] if trouble.cold_start is None else [trouble.cold_start]
    used = {key: [one for one in sections if _uses(one, key)] for key in WHY}
    assumed = {
        key: getattr(one, key) for key, own in used.items() for one in own if _is_default(one, key)
    }
    given = [key for key, own in used.items() if not all(_is_default(one, key) for one in own)]
    told = [f"{key} = {value:g} assumed ({WHY[key]})" for key, value in assumed.items()]
    told += [f"{', '.join(given)} given"] if given else []
    return {PROVENANCE: "; ".join(told)} if told else {}


def _uses(section: ColdStart, key: str) -> bool:
    restores = getattr(section, "state", None) == "restored"
    return hasattr(section, key) and (restores or key != "restore_bytes_per_s")


def _is_default(section: ColdStart, key: str) -> bool:
    return bool(getattr(section, key) == type(section).model_fields[key].default)
