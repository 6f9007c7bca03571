"""`streamtwin calibrate` as a user meets it: what it would do, and whether a profile still holds."""

import hashlib
import json
import shutil
from pathlib import Path
from subprocess import CompletedProcess

import pytest

from commands import within


def calibrate(home: Path, *arguments: str) -> CompletedProcess[str]:
    return within(home, "calibrate", *arguments)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("home")
    small = ["--resolution", "32x48", "--resolution", "64x64", "--ranks", "1", "--out", "mine"]
    done = calibrate(home, *small, "--budget", "20", "--json")
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert document["left_out"] == []
    assert {(fit["family"], fit["subject"]) for fit in document["fits"]} == {
        ("dit", "tiny"),
        ("encode", "tiny"),
        ("decode", "tiny"),
    }
    return home


def test_a_dry_run_lists_what_would_be_done_and_measures_nothing(tmp_path: Path) -> None:
    sizes = [
        "--resolution",
        "32x48",
        "--resolution",
        "64x64",
        "--vae",
        "tiny",
        "--vae",
        "taehv-tiny",
    ]
    done = calibrate(tmp_path, "--dry-run", *sizes, "--ranks", "1", "--budget", "90", "--json")
    assert done.returncode == 0, done.stderr
    assert not list(tmp_path.iterdir())
    document = json.loads(done.stdout)
    lines = {(line["vae"], line["resolution"], line["operation"]) for line in document["lines"]}
    assert lines == {
        (vae, size, operation)
        for vae in ("tiny", "taehv-tiny")
        for size in ("32x48", "64x64")
        for operation in ("dit", "encode", "decode")
        if (vae, operation) != ("taehv-tiny", "dit")
    }
    each_s = sum(line["expected_s"] for line in document["lines"])
    assert document["expected_s"] == pytest.approx(each_s + document["starts_s"])
    assert document["expected_s"] <= 90
    assert document["left_out"] == []


def test_a_dry_run_names_what_it_leaves_out_and_why(tmp_path: Path) -> None:
    sizes = ["--resolution", "32x48", "--resolution", "8192x8192"]
    done = calibrate(tmp_path, "--dry-run", *sizes, "--ranks", "1", "--budget", "1")
    assert done.returncode == 0, done.stderr
    assert "left out: tiny with tiny at 8192x8192: needs" in done.stderr
    assert "32 cases, for lack of time" in done.stderr
    assert "--budget 1 is less than the" in done.stderr
    assert "would take" in done.stdout
    assert not list(tmp_path.iterdir())


MISTAKES = {
    ("--resolution", "480"): "--resolution '480': give HEIGHTxWIDTH in pixels",
    ("--resolution", "30x30"): "height = 30 must be a multiple of 16",
    ("--model", "tiny", "--model", "wan9"): "unknown model 'wan9'",
    ("--vae", "none"): "unknown VAE 'none'",
    ("--budget", "-3"): "--budget -3.0: give a positive number",
    ("--device", "tpu"): "device 'tpu': choose cpu or cuda",
    ("--check", "nothing"): "unknown profile 'nothing'",
    ("--resolution", "8192x8192"): "nothing is left to calibrate: tiny with tiny at 8192x8192",
    ("--out", "/proc/none/mine"): "profiles cannot be kept there",
}


@pytest.mark.parametrize("arguments", MISTAKES, ids=" ".join)
def test_a_mistake_ends_with_one_message(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    done = calibrate(tmp_path, *arguments)
    assert done.returncode == 2
    assert MISTAKES[arguments] in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


def test_a_profile_of_other_times_does_not_hold(home: Path) -> None:
    """Passes are as long as before; encoding was six times as fast, says the edited copy."""
    other = home / "other"
    shutil.copytree(home / "mine", other)
    lines = (other / "samples.csv").read_text().splitlines()
    place = lines[0].split(",").index("seconds")
    for number, line in enumerate(lines):
        cells = line.split(",")
        if cells[0] == "encode":
            cells[place] = repr(float(cells[place]) / 6)
            lines[number] = ",".join(cells)
    before = hashlib.sha256((other / "samples.csv").read_bytes()).hexdigest()
    (other / "samples.csv").write_text("\n".join(lines) + "\n")
    after = hashlib.sha256((other / "samples.csv").read_bytes()).hexdigest()
    meta = other / "meta.yaml"
    meta.write_text(meta.read_text().replace(before, after))
    done = calibrate(home, "--check", "other", "--budget", "4", "--json")
    assert done.returncode == 1, done.stderr
    document = json.loads(done.stdout)
    held = {(part["family"], part["resolution"]): part["holds"] for part in document["parts"]}
    assert not held["encode", "32x48"]
    assert not held["encode", "64x64"]
    assert document["remedy"].startswith("streamtwin calibrate --model tiny --vae tiny")
    assert f"calibrate again with: {document['remedy']}" in done.stderr
    table = calibrate(home, "--check", "other", "--budget", "4")
    assert table.returncode == 1
    assert "DOES NOT" in table.stdout


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (("--from-trace", "x", "--dry-run"), "--dry-run does not go with --from-trace"),
        (("--from-trace", "x", "--model", "tiny"), "--model does not go with --from-trace"),
        (("--from-runs", "x", "--budget", "5"), "--budget does not go with --from-runs"),
        (("--check", "mine", "--out", "y"), "--out does not go with --check"),
        (("--fresh", "--dry-run"), "--dry-run does not go with --fresh"),
        (("--card", "h100-sxm"), "--card goes with --dry-run"),
        (("--card", "h100-sxm", "--dry-run"), "give --device cuda"),
        (("--card", "h9", "--dry-run", "--device", "cuda"), "unknown GPU 'h9'"),
        (("--ranks", "0"), "--ranks 0: give numbers of at least 1"),
        (("--out", "/proc/mine"), "give another --out"),
        (("--out", "x" * 300), "--out xxx"),
        (("--check", "h100-sxm-sdv2-paper"), "is published, not measured"),
        (("--chunk-latents", "0"), "--chunk-latents 0: give 1 to 64"),
    ],
)
def test_what_would_be_ignored_or_cannot_be_is_refused(
    home: Path, arguments: tuple[str, ...], complaint: str
) -> None:
    done = calibrate(home, *arguments)
    assert done.returncode == 2, done.stderr
    assert complaint in done.stderr
    assert "Traceback" not in done.stderr


def test_a_card_s_grid_is_planned_without_the_card(tmp_path: Path) -> None:
    done = calibrate(tmp_path, "--dry-run", "--device", "cuda", "--card", "h100-sxm", "--json")
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert document["expected_s"] < 480
    assert {line["model"] for line in document["lines"]} == {"wan2.1-1.3b", "wan2.1-14b"}
    assert any("wan2.1-14b with wan2.1 at 720x1280" in words for words in document["left_out"])
    assert not list(tmp_path.iterdir())
