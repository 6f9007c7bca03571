"""Profiles of what a user has, and their reports, as the command line makes them."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from streamtwin.calibrate.ranges import name_of
from streamtwin.core.ops import DitPass, VaeDecode, VaeEncode
from test_cli import streamtwin

TABLE = "kind,vae,height,width,latents,first,model,blocks,rows,chunk_latents,tokens,kv_tokens,embeds,unembeds,ranks,seconds\n"


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A user's folder with a table, a trace, and the profile of the table."""
    home = tmp_path_factory.mktemp("home")
    rows = [
        f"{kind},tiny,64,96,{latents},{first},,,,,,,,,1,{0.002 * latents}"
        for kind in ("encode", "decode")
        for latents, first in ((2, 1), (1, 0))
    ]
    rows += [
        f"dit,,,,,,tiny,6,{count},{latents},24,{24 * filled},1,1,1,{0.004 + 0.001 * count * latents}"
        for count, latents, filled in ((1, 2, 2), *((c, 1, f) for c in (1, 2) for f in (2.5, 4, 6)))
    ]
    (home / "times.csv").write_text(TABLE + "\n".join(row for row in rows for _ in range(5)))
    ops = [VaeEncode("tiny", 64, 96, 1, False), VaeDecode("tiny", 64, 96, 1, False)]
    ops += [DitPass("tiny", 6, rows, 1, 24, 144, True, True) for rows in (1, 2, 3)]
    events = [
        {"ph": "X", "cat": "user_annotation", "name": name_of(op), "pid": 1, "tid": 1,
         "ts": 1e4 * (number * len(ops) + place), "dur": 1e3 * (1 + place)}
        for number in range(4) for place, op in enumerate(ops)
    ]  # fmt: skip
    (home / "trace.json").write_text(json.dumps({"traceEvents": events}))
    (home / "checked").mkdir()
    (home / "checked" / "validation.json").write_text("{}")
    done = streamtwin(home, "calibrate", "--from-trace", "times.csv", "--json")
    assert done.returncode == 0, done.stderr
    return home


def test_a_table_makes_a_profile_that_simulates(home: Path) -> None:
    done = streamtwin(
        home, "simulate", "cpu-tiny", "--json", "--out", "sim", "--set", "profile=from-times",
        "--set", "resolution=[64,96]", "--set", "workload.chunks=24",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    stated = json.loads(done.stdout)["provenance"]
    assert stated["profile"].startswith("times.csv (sha256 ")


def test_a_trace_makes_a_profile_in_a_folder_of_ones_choice(home: Path) -> None:
    done = streamtwin(home, "calibrate", "--from-trace", "trace.json", "--out", "traced", "--json")
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert document["provenance"].startswith("measured: trace.json (sha256 ")
    assert {fit["family"] for fit in document["fits"]} == {"dit", "encode", "decode"}
    assert (home / "traced" / "samples.csv").exists()


def test_making_a_profile_of_a_file_never_loads_torch(home: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from streamtwin.cli.sources import profile_from;"
        f"profile_from(Path({str(home / 'times.csv')!r}), [], Path({str(home / 'light')!r}));"
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_report_of_a_profile_prints_one_document_and_writes_a_page(home: Path) -> None:
    done = streamtwin(home, "report", "from-times", "--json")
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert document["name"] == "from-times"
    assert all(fit["provenance"].startswith("measured: times.csv") for fit in document["fits"])
    assert sum(len(fit["cases"]) for fit in document["fits"]) == 11
    page = (home / "runs" / "profile-from-times" / "report.html").read_text()
    assert "times.csv" in page
    folder = home / "profiles" / "from-times"
    assert {one.name for one in folder.iterdir()} == {"meta.yaml", "fit.json", "samples.csv"}
    shown = streamtwin(home, "report", str(folder), "--out", "page")
    assert shown.returncode == 0, shown.stderr
    assert "dit of tiny" in shown.stdout
    assert (home / "page" / "report.html").read_text() == page


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (
            ("report", "nobody"),
            "'nobody': neither the folder of a run nor a profile; profiles: a100-sxm-derived",
        ),
        (("report", "profiles"), "profiles: has neither metrics.json nor meta.yaml"),
        (("calibrate", "--from-trace", "none.json"), "none.json: cannot be read"),
        (("calibrate", "--from-runs", "profiles"), "profiles: has no metrics.json"),
        (("calibrate", "--from-runs", "sim"), "sim: cpu-tiny: source = simulated: there is noth"),
        (("calibrate", "--from-runs", "sim", "./sim/"), "--from-runs sim: is given twice"),
        (("calibrate", "--from-runs", "checked"), "--from-runs checked: holds no measured run"),
        (
            ("calibrate", "--from-trace", "trace.json", "--ranks", "0"),
            "trace.json: ranks = 0: give",
        ),
        (("calibrate", "sim"), "sim: calibrate takes folders with --from-runs only"),
        (
            ("calibrate", "--from-trace", "times.csv", "--from-runs", "sim"),
            "--from-runs does not go with --from-trace",
        ),
        (("calibrate", "--from-trace", "times.csv", "--ranks", "2"), "in its column ranks"),
        (
            ("calibrate", "--from-runs", "sim", "--ranks", "2"),
            "--ranks does not go with --from-runs",
        ),
        (("calibrate", "--from-trace", "times.csv", "--out", "sim"), "--out sim: holds"),
    ],
)
def test_a_mistake_ends_with_one_line_and_status_2(
    home: Path, arguments: tuple[str, ...], complaint: str
) -> None:
    if not (home / "sim").exists():
        test_a_table_makes_a_profile_that_simulates(home)
    done = streamtwin(home, *arguments)
    assert done.returncode == 2, done.stderr
    assert complaint in done.stderr
    assert "Traceback" not in done.stderr
    assert not done.stdout
