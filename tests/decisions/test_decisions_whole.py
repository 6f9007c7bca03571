"""A log that is damaged, truncated or of another scenario is refused, with one message."""

from dataclasses import replace
from typing import Any

import pytest
from decisions_logs import changed, index_of, run

from streamtwin.core.decision_log import replayed
from streamtwin.core.errors import UserError
from streamtwin.core.log_checks import check_same_scenario, check_whole, scenario_of

MOVES = {"schedule": {9: [4, 2], 20: [2, 4]}}
DIES = {"lost_ranks": [{"rank": 1, "at_s": 1.0, "start_s": 1}, {"rank": 0, "at_s": 900}]}
DOOR = {"policy": "memory", "room": 1, "max_queued": 2}

WHOLE: dict[str, tuple[dict[str, Any], set[str]]] = {
    "crowded": (
        {"conditioning": {"rope_refresh": "reset", "rope_threshold": 6}},
        {"partition", "admission", "dispatch", "noise", "rope", "batching"},
    ),
    "lanes of sessions": ({"lanes": "sessions"}, {"dispatch", "batching"}),
    "no stream batch": ({"stream_batch": False}, {"dispatch", "batching"}),
    "copies": ({"replicas": 3}, {"partition", "router", "batching"}),
    "a door": ({"entry": DOOR}, {"session_admission", "batching"}),
    "moves": ({"partition": MOVES}, {"rebalance", "batching"}),
    "deaths": ({"trouble": DIES}, {"trouble", "dispatch", "batching"}),
    "cold copies": ({"replicas": 2, "trouble": {"cold_start": {}}}, {"trouble", "partition"}),
}


@pytest.mark.parametrize("case", WHOLE)
def test_a_log_without_one_of_its_decisions_is_refused(case: str) -> None:
    changes, families = WHOLE[case]
    records = run(**changes)
    check_whole(records)
    for family in families:
        gone = [
            index
            for index, one in enumerate(records.decisions)
            if (one.family, one.chose) != ("session_admission", "queue") and one.family == family
        ]
        assert gone
        for index in gone:
            rest = records.decisions[:index] + records.decisions[index + 1 :]
            with pytest.raises(UserError, match=f"of family '{family}'.*truncated or damaged"):
                check_whole(replace(records, decisions=rest))


def test_a_run_without_a_log_is_refused() -> None:
    with pytest.raises(UserError, match="has no decision log"):
        check_whole(replace(run(), decisions=()))


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"family": "mood"}, "unknown family of policies 'mood'; known: admission, batching"),
        ({"policy": "later"}, "unknown dispatch policy 'later'; known: earliest_deadline, fifo"),
        (
            {"saw": {"waiting": 2}},
            r"what dispatch policy 'priority' saw at .* s is not all there \(KeyError: 'line'\)",
        ),
    ],
)
def test_what_cannot_be_asked_again_is_said(fields: dict[str, Any], words: str) -> None:
    records = run()
    log = changed(records, index_of(records, "dispatch"), **fields)
    with pytest.raises(UserError, match=words):
        replayed(scenario_of(records), log)


@pytest.mark.parametrize(
    ("family", "fields", "words"),
    [
        ("partition", {"policy": "optimal", "saw": {}}, "costs of 0 blocks, 0 stages"),
        ("batching", {"policy": "slo_aware"}, "batching policy 'slo_aware' saw"),
        (
            "batching",
            {"policy": "model_predictive", "saw": {"rows": 0, "room": 1, "waiting": 1e12, "batch": 1, "steps": 1}},
            "waiting = 1e[+]12: one chunk a session",
        ),
    ],
)  # fmt: skip
def test_a_log_that_leads_a_policy_astray_is_refused(
    family: str, fields: dict[str, Any], words: str
) -> None:
    records = run(batching={"batch": 2}, sessions=2)
    log = changed(records, index_of(records, family), **fields)
    with pytest.raises(UserError, match=words):
        replayed(scenario_of(records), log)


def test_logs_of_different_scenarios_are_refused() -> None:
    one, other = run(), run(gpus=3, chunks=15)
    with pytest.raises(UserError) as raised:
        check_same_scenario(one, other)
    assert "deployment.gpus = 2 and 3" in str(raised.value)
    assert "workload.chunks = 12 and 15" in str(raised.value)
    check_same_scenario(one, run(name="another name"))
