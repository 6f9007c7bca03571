"""The command line as a user meets it: results on stdout, the rest on stderr, exit status."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
import yaml

from commands import SAME_CODE, process
from commands import within as streamtwin
from streamtwin import __version__
from streamtwin.calibrate.digests import digests_of
from streamtwin.calibrate.environment import Environment
from streamtwin.runtime.video import read_frames

SMALL = ["--set", "workload.chunks=18", "--set", "resolution=[32,48]"]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A user's data folder in which this host has been calibrated, briefly."""
    home = tmp_path_factory.mktemp("home")
    done = streamtwin(home, "calibrate", "--resolution", "32x48", "--budget", "8", "--json")
    assert done.returncode == 0, done.stderr
    fits = json.loads(done.stdout)["fits"]
    assert {fit["ranks"] for fit in fits} >= {1}
    return home


def test_version(tmp_path: Path) -> None:
    done = process(tmp_path, "--version")
    assert (done.returncode, done.stdout) == (0, f"streamtwin {__version__}\n")


def test_schema_and_catalog_are_json(tmp_path: Path) -> None:
    schema = json.loads(streamtwin(tmp_path, "schema").stdout)
    assert schema["properties"]["profile"]["default"] == "host"
    known = json.loads(streamtwin(tmp_path, "catalog", "--json").stdout)
    sizes = {model["name"]: model["parameters"] for model in known["models"]}
    assert sizes["wan2.1-1.3b"] == 1_418_996_800
    vaes = {vae["name"]: (vae["decoder"], vae["parameters"]) for vae in known["vaes"]}
    assert vaes["wan2.1"] == ("wan", 126_892_531)
    assert vaes["taehv"] == ("taehv", 63_441_539)
    costs = {(row["model"], row["resolution"]): row for row in known["costs of a row"]}
    assert costs["wan2.1-14b", "480x832"]["hop_bytes"] == 1560 * 5120 * 2 + 16 * 60 * 104 * 2
    table = streamtwin(tmp_path, "catalog").stdout
    assert "224.7" in table
    assert "h100-sxm" in table
    assert "cpu-tiny" in table


def test_simulate_prints_one_document_and_writes_the_folder(home: Path) -> None:
    done = streamtwin(home, "simulate", "cpu-tiny", *SMALL, "--json", "--out", "sim")
    assert done.returncode == 0, done.stderr
    metrics = json.loads(done.stdout)
    assert metrics["source"] == "simulated"
    assert metrics["provenance"]["service_times"] == "measured"
    low, high = metrics["intervals"]["fps"]
    assert low <= metrics["fps"] <= high
    for name in (
        "scenario.yaml",
        "records.parquet",
        "metrics.json",
        "report.html",
        "timeline.json",
    ):
        assert (home / "sim" / name).stat().st_size > 0
    resolved = yaml.safe_load((home / "sim" / "scenario.yaml").read_text())
    assert resolved["workload"]["chunks"] == 18
    again = streamtwin(home, "simulate", "sim/scenario.yaml", "--json")
    assert json.loads(again.stdout) == metrics
    shown = streamtwin(home, "report", "sim", "--json")
    assert json.loads(shown.stdout)["fps"] == metrics["fps"]


def test_simulating_never_loads_torch(home: Path) -> None:
    code = (
        "import sys\n"
        "from streamtwin.cli import main\n"
        "try:\n"
        f"    main(['simulate', 'cpu-tiny', *{SMALL!r}, '--json'])\n"
        "except SystemExit as end:\n"
        "    assert not end.code, end.code\n"
        "print('torch' in sys.modules, file=sys.stderr)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env={**SAME_CODE, "STREAMTWIN_HOME": str(home), "PATH": "/usr/bin:/bin"},
    )
    assert done.stderr.split()[-1] == "False"


def test_run_makes_a_video_and_compare_reads_both(home: Path) -> None:
    done = streamtwin(home, "run", "cpu-tiny", *SMALL, "--json", "--out", "real")
    assert done.returncode == 0, done.stderr
    metrics = json.loads(done.stdout)
    assert metrics["source"] == "measured"
    assert metrics["chunks"]["emitted"] == 18
    assert (home / "real" / "out.mp4").stat().st_size > 1000
    assert "video:  real/out.mp4 (73 frames)" in done.stderr
    streamtwin(home, "simulate", "cpu-tiny", *SMALL, "--out", "predicted")
    both = streamtwin(home, "compare", "predicted", "real", "--json")
    names = {row["metric"] for row in json.loads(both.stdout)["metrics"]}
    assert len(names) >= 5


def test_validate_runs_every_variant_and_writes_the_page(home: Path) -> None:
    arguments = ["--repeats", "1", "--budget", "8", "--out", "valid", "--json"]
    done = streamtwin(home, "validate", "cpu-tiny", *SMALL, *arguments)
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert [d["label"] for d in document["deployments"]] == [
        "W=1 N=2", "W=2 N=2", "W=2 N=1", "W=2 N=2 live 16 fps",
    ]  # fmt: skip
    judged = [m for d in document["deployments"] for m in d["metrics"] if m["bound"] is not None]
    assert all(m["bound"] >= 0.1 for m in judged)
    assert len(judged) == 8
    page = (home / "valid" / "report.html").read_text()
    assert "W=2 N=1" in page
    assert document["decisions"]["ok"]
    assert document["decisions"]["words"][0] in page


MISTAKES = {
    ("simulate", "nothing"): "unknown scenario 'nothing'; known: baseline-decoupled",
    ("simulate", "cpu-tiny", "--set", "deployment.gpu=2"): "did you mean 'gpus'",
    ("simulate", "cpu-tiny", "--set", "profile=none"): "unknown profile 'none'",
    ("simulate", "cpu-tiny", "--set", "deployment.gpus=99"): "deployment.gpus = 99",
    ("run", "cpu-tiny", "--input", "no.mp4"): "no.mp4: no such video file",
    ("run", "cpu-tiny", "--device", "tpu"): "device 'tpu': choose cpu or cuda",
    ("run", "cpu-tiny", "--out", "/proc/none"): "--out /proc/none: cannot be written",
    ("report", "nowhere"): "'nowhere': neither the folder of a run nor a profile",
    ("compare", "nowhere"): "at least two result folders",
    ("calibrate", "--model", "wan9"): "unknown model 'wan9'",
    ("calibrate", "--budget", "0"): "--budget 0.0: give a positive number",
    ("calibrate", "--budget", "inf"): "--budget inf: give a positive number",
    ("validate", "cpu-tiny", "--budget", "nan"): "--budget nan: give a positive number",
    ("bench", "--budget", "-1"): "--budget -1.0: give a positive number",
    ("bench", "--rows", "0"): "--rows 0: give numbers from 1 to 4",
    ("bench", "--rows", "1,x"): "--rows '1,x': give numbers with commas between",
    ("bench", "--steps", "1,5"): "--steps 1,5: give numbers from 1 to 4",
    ("bench", "--out", "pipe"): "--out pipe: is no plain file",
    ("bench", "--out", "/proc/times.json"): "--out /proc/times.json: cannot be written",
    ("calibrate", "--ranks", "999"): "--ranks 999: this host has",
    ("calibrate", "--out", "mine"): "--out mine: holds 'thesis.txt' and no earlier result",
    ("simulate", "cpu-tiny", "--out", "mine"): "--out mine: holds 'thesis.txt'",
    ("simulate", "cpu-tiny", "--out", "mine/thesis.txt"): "is a file; give a folder",
    ("validate", "cpu-tiny", "--input", "no.mp4"): "no.mp4: no such video file",
    ("validate", "cpu-tiny", "--device", "tpu"): "device 'tpu': choose cpu or cuda",
    ("simulate", "cpu-tiny", "--set", "model=nope"): "unknown model 'nope'",
    ("simulate", "cpu-tiny", "--set", "resolution=[8000,8000]"): "MiB of memory",
    ("frobnicate",): "No such command 'frobnicate'",
}


@pytest.mark.parametrize("arguments", MISTAKES, ids=" ".join)
def test_a_mistake_ends_with_one_line_and_status_2(home: Path, arguments: tuple[str, ...]) -> None:
    (home / "mine").mkdir(exist_ok=True)
    (home / "mine" / "thesis.txt").write_text("years of work")
    if not (home / "pipe").exists():
        os.mkfifo(home / "pipe")
    done = streamtwin(home, *arguments)
    assert (home / "pipe").is_fifo()
    assert (home / "mine" / "thesis.txt").read_text() == "years of work"
    assert done.returncode == 2
    assert MISTAKES[arguments] in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


@pytest.mark.parametrize(
    "arguments",
    [
        ("simulate", "cpu-tiny", *SMALL, "--json"),
        ("report", "nowhere"),
        ("run", "cpu-tiny", "--device", "tpu"),
        ("calibrate", "--budget", "0"),
        ("catalog",),
    ],
    ids=" ".join,
)
def test_a_process_says_and_ends_as_the_function_does(
    home: Path, arguments: tuple[str, ...]
) -> None:
    own, real = streamtwin(home, *arguments), process(home, *arguments)
    assert (own.returncode, own.stdout, own.stderr) == (real.returncode, real.stdout, real.stderr)
    assert bool(real.stdout) == (real.returncode == 0)


def test_a_profile_of_another_host_is_refused_by_validate(home: Path) -> None:
    own = next((home / "profiles").iterdir())
    other = home / "other"
    shutil.copytree(own, other, dirs_exist_ok=True)
    meta = yaml.safe_load((other / "meta.yaml").read_text())
    done = streamtwin(home, "simulate", "cpu-tiny", *SMALL, "--set", "profile=other", "--json")
    assert done.returncode == 0, done.stderr
    host = meta["environment"]["host"]
    samples = (other / "samples.csv").read_text()
    key = samples.splitlines()[1].split(",")
    meta["environment"]["host"] = "elsewhere"
    environment = Environment(**meta["environment"])
    old = next(cell for cell in key if len(cell) == len(environment.key) and cell.isalnum())
    (other / "samples.csv").write_text(samples.replace(old, environment.key))
    meta["sources_sha256"] = digests_of(other, ("samples.csv",))
    (other / "meta.yaml").write_text(yaml.safe_dump(meta))
    done = streamtwin(home, "validate", "cpu-tiny", *SMALL, "--set", "profile=other")
    assert done.returncode == 2
    assert f"host = 'elsewhere' (here '{host}')" in done.stderr
    assert done.stdout == ""


def test_a_check_that_fails_ends_with_status_1(home: Path) -> None:
    """With a bound of nothing no prediction holds."""
    variant = "variants={only: [deployment.gpus=1]}"
    arguments = ["validate", "cpu-tiny", *SMALL, "--set", variant, "--repeats", "1"]
    code = (
        "from streamtwin.reports import comparison\n"
        "from streamtwin.cli import main\n"
        "comparison.MIN_BOUND = comparison.SPREADS = 0.0\n"
        f"main({[*arguments, '--budget', '8', '--check', '--out', 'failed']!r})\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=False,
        cwd=home,
        env={**SAME_CODE, "STREAMTWIN_HOME": str(home), "PATH": "/usr/bin:/bin"},
    )
    assert done.returncode == 1, done.stderr
    assert "OUTSIDE" in done.stdout


def living(family: list[psutil.Process]) -> list[psutil.Process]:
    return [one for one in family if one.is_running() and one.status() != psutil.STATUS_ZOMBIE]


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_run_that_is_stopped_keeps_what_it_emitted(
    home: Path, number: signal.Signals, status: int
) -> None:
    out = home / f"stopped-{status}"
    arguments = ["run", "cpu-tiny", *SMALL, "--set", "workload.chunks=5000", "--out", str(out)]
    process = subprocess.Popen(
        [sys.executable, "-m", "streamtwin.cli", *arguments],
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=home,
        env={
            **SAME_CODE,
            "STREAMTWIN_HOME": str(home),
            "PATH": "/usr/bin:/bin",
            "TMPDIR": str(home),
        },
    )
    while not any(f.stat().st_size for f in home.glob("streamtwin-run-*/session-0.rgb")):
        assert process.poll() is None
    family = psutil.Process(process.pid).children(recursive=True)
    assert len(family) >= 2, "the fork server and a rank"
    process.send_signal(number)
    output, errors = process.communicate()
    assert (process.returncode, output) == (status, "")
    assert "frames emitted before are in" in errors
    words = re.search(r"(\d+) frames emitted before are in", errors)
    assert words is not None
    kept = read_frames(out / "out.mp4", 32, 48)
    assert len(kept.frames) == int(words[1]) >= 5
    assert not list(home.glob("streamtwin-*"))
    until_s = time.monotonic() + 5  # the kernel may still be at it when the launcher has ended
    while living(family):
        assert time.monotonic() < until_s, living(family)
        time.sleep(0.05)


def test_ctrl_c_while_ranks_load_their_libraries_ends_with_one_line(tmp_path: Path) -> None:
    arguments = ["run", "cpu-tiny", *SMALL, "--out", "out"]
    process = subprocess.Popen(
        [sys.executable, "-m", "streamtwin.cli", *arguments],
        stderr=subprocess.PIPE,
        text=True,
        cwd=tmp_path,
        env={**SAME_CODE, "PATH": "/usr/bin:/bin", "TMPDIR": str(tmp_path)},
        start_new_session=True,
    )
    launcher = psutil.Process(process.pid)

    def loading() -> bool:
        return any("forkserver" in " ".join(one.cmdline()) for one in launcher.children())

    while not loading():
        assert process.poll() is None
    time.sleep(0.3)  # it is past its own start, and loading takes longer than that
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does
    _, errors = process.communicate()
    assert process.returncode == 130
    assert "streamtwin: stopped" in errors
    assert "Traceback" not in errors
    assert not list(tmp_path.glob("streamtwin-*"))


def test_bench_prints_one_document_and_keeps_the_raw_times(tmp_path: Path) -> None:
    small = ["bench", "--resolution", "32", "48", "--rows", "1,2", "--steps", "2", "--budget", "1"]
    done = process(tmp_path, *small, "--json", "--out", "raw.json")
    assert done.returncode == 0, done.stderr
    printed = json.loads(done.stdout)
    assert printed == json.loads((tmp_path / "raw.json").read_text())
    (bench,) = printed["benches"]
    assert {(line["what"], line["count"]) for line in bench["times"]} == {
        ("pass", 1),
        ("pass", 2),
        ("encode", 1),
        ("decode", 1),
    }
    assert bench["rates"][0]["fps"] > 0
    shown = process(tmp_path, *small).stdout
    assert "TFLOP/s" in shown
    assert "frames/s on one device" in shown


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--rows", "1;2"], "--rows '1;2'"),
        (["--all"], "needs --device cuda"),
        (["--mode", "graph"], "needs --device cuda"),
        (["--attention", "cudnn"], "choose auto or one of flash, math"),
        (["--out", "."], "is a folder"),
        (["--model", "none"], "unknown model 'none'"),
    ],
)
def test_bench_refuses_what_it_cannot_do(
    tmp_path: Path, arguments: list[str], message: str
) -> None:
    done = streamtwin(tmp_path, "bench", *arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert message in done.stderr
