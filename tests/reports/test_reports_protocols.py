"""Timelines and pages of runs in which transfers hide, or ranks have no blocks."""

import json
from collections import defaultdict
from itertools import pairwise

import pytest

from builders import FlatLatency, make_plan
from streamtwin.core.metrics import compute_metrics
from streamtwin.core.records import Records
from streamtwin.reports.page import render_run
from streamtwin.reports.perfetto import timeline
from streamtwin.reports.records_file import read_records, write_records
from streamtwin.sim.simulate import simulate

DEPLOYMENTS = [
    {"gpus": 3, "protocol": "overlap"},
    {"gpus": 4, "vae_placement": "dedicated"},
    {"gpus": 4, "vae_placement": "dedicated", "protocol": "overlap"},
]


@pytest.fixture(scope="module", params=range(len(DEPLOYMENTS)))
def records(request: pytest.FixtureRequest) -> Records:
    return simulate(make_plan(**DEPLOYMENTS[request.param]), FlatLatency(hop_s=0.03))


def test_slices_of_one_track_never_overlap(records: Records) -> None:
    events = json.loads(json.dumps(timeline({"run": records})))["traceEvents"]
    names = {e["tid"]: e["args"]["name"] for e in events if e["name"] == "thread_name"}
    tracks = defaultdict(list)
    for event in events:
        if event["ph"] == "X":
            tracks[names[event["tid"]]].append((event["ts"], event["ts"] + event["dur"]))
    for pieces in tracks.values():
        assert all(one[1] <= other[0] + 1e-3 for one, other in pairwise(sorted(pieces)))
    links = {
        f"{link['from_rank']} → {link['to_rank']}" for link in compute_metrics(records)["links"]
    }
    ahead = any(span.kind == "transfer" for span in records.spans)
    prefix = "transfer " if ahead else "hop "
    assert {name.removeprefix(prefix) for name in tracks if name.startswith(prefix)} == links


def test_records_and_pages_hold_such_runs(records: Records, tmp_path) -> None:
    write_records(records, tmp_path / "run.parquet")
    assert read_records(tmp_path / "run.parquet") == records
    page = render_run(records)
    assert f"{len(records.info.ranks)} ranks" in page
    assert page.count("<svg") >= 2
