"""How long was a pipeline down, until when did viewers notice, and what was lost?"""

from math import inf
from typing import Any

from streamtwin.core.moved import ranks_of_a_copy
from streamtwin.core.records import Decision, Records
from streamtwin.core.recovery import COLD, FAMILY, NO_EFFECT

WHEN = {"died": "died_s", "detected": "detected_s", "started": "started_s", "loaded": "loaded_s"}

OUTCOME = ("resumed_s", "recover_s", "recover_all_s")

COUNTS = ("chunks_lost", "chunks_again", "frames_lost", "weights_bytes", "state_bytes")


def recovery_metrics(records: Records) -> list[dict[str, Any]]:
    """Every time in which a ring stood, in order of its begin; seconds since the stream's start.

    `recover_s` is how long after the death (of a cold start: after the stream's start) the next frame
    came, `recover_all_s` when each session that had been running, or had been waiting for a cold start,
    had shown one; None: none came, or not of all.
    `died_s` and `detected_s` of a cold start are None. A rank that died when its ring had nothing left
    to do has `died_s` alone.
    """
    found: list[dict[str, Any]] = []
    open_: dict[int, dict[str, Any]] = {}
    for event in records.decisions:
        if event.family != FAMILY:
            continue
        if event.chose == NO_EFFECT:
            found.append({**_begun(event), "died_s": event.time_s, **dict.fromkeys(OUTCOME)})
            continue
        if event.rank not in open_:
            open_[event.rank] = _begun(event)
        told = open_[event.rank]
        told |= {key: int(event.saw[key]) for key in COUNTS if key in event.saw}
        if event.chose == "resumed":
            told["resumed_s"] = event.time_s
            found.append(told | _frames(records, open_.pop(event.rank)))
        else:
            told[WHEN[str(event.chose)]] = event.time_s
    return sorted(found, key=lambda one: (one["died_s"] or 0.0, one["rank"]))


def _begun(event: Decision) -> dict[str, Any]:
    instants = dict.fromkeys(WHEN.values())
    return {"rank": event.rank, "state": event.policy, **instants, **dict.fromkeys(COUNTS, 0)}


def _frames(records: Records, told: dict[str, Any]) -> dict[str, float | None]:
    """When frames came again."""
    own = _sessions(records, told["rank"])
    down_s = told["died_s"] or 0.0
    cold = told["state"] == COLD
    running: set[int] = set()
    back_s: dict[int, float] = {}
    for chunk in records.chunks:
        if own is not None and chunk.session not in own:
            continue
        waits = cold and chunk.released_s < told["resumed_s"]
        if waits or (chunk.taken_s is not None and chunk.taken_s < down_s):
            running.add(chunk.session)
        if chunk.emitted_s is not None and chunk.emitted_s >= told["resumed_s"]:
            soonest_s = back_s.get(chunk.session, chunk.emitted_s)
            back_s[chunk.session] = min(soonest_s, chunk.emitted_s)
    every = [back_s.get(session, inf) for session in running]
    last_s = max(every, default=inf)
    return {
        "recover_s": min(back_s.values()) - down_s if back_s else None,
        "recover_all_s": None if last_s == inf else last_s - down_s,
    }


def _sessions(records: Records, rank: int) -> set[int] | None:
    """Sessions of the copy that *rank* belongs to; None: all."""
    routed = [one for one in records.decisions if one.family == "router"]
    copy = rank // ranks_of_a_copy(records)
    return {one.session for one in routed if one.chose == copy} if routed else None
