"""Which sessions got in, which did not, and on what grounds?"""

from collections import Counter
from typing import Any

from streamtwin.core.entrance import FAMILY
from streamtwin.core.records import Decision, Records
from streamtwin.core.scenario import Scenario

AWAY = {"refuse": "refused", "gave_up": "gave_up"}
"""Outcome of a session whose last answer at the door was this."""


def outcomes(records: Records) -> dict[int, Decision]:
    """The last answer that each session got at the door; of those alone that had to ask."""
    asked = (decision for decision in records.decisions if decision.family == FAMILY)
    return {decision.session: decision for decision in asked}


def entry_metrics(records: Records, scenario: Scenario) -> dict[str, Any]:
    """How many sessions came, got in, waited and were sent away; these one by one, with what was seen.

    `wait_s` is how long those that got in behind others had waited: mean and longest.
    """
    sessions, last = scenario.workload.sessions, outcomes(records)
    away = [one for one in last.values() if one.chose in AWAY]
    waiting = {d.session for d in records.decisions if d.family == FAMILY and d.chose == "queue"}
    let_in = [last[one] for one in sorted(waiting) if last[one].chose == "admit"]
    waits_s = [one.time_s - scenario.visit(one.session).join_s for one in let_in]
    counts = Counter(AWAY[str(one.chose)] for one in away)
    return {
        "offered": sessions,
        "admitted": sessions - len(away),
        "refused": counts["refused"],
        "gave_up": counts["gave_up"],
        "queued": len(waiting),
        "wait_s": {
            "mean": sum(waits_s) / len(waits_s) if waits_s else 0.0,
            "max": max(waits_s, default=0.0),
        },
        "away": [
            {
                "session": one.session,
                "class": scenario.visit(one.session).session_class or "",
                "outcome": AWAY[str(one.chose)],
                "time_s": one.time_s,
                "policy": one.policy,
                "saw": dict(one.saw),
            }
            for one in away
        ],
    }
