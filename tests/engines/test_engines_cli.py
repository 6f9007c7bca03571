"""The engine is chosen on the command line, and named in what is printed."""

import json
import os
import subprocess
import sys
from pathlib import Path

STILL = ("--set", "deployment.partition={policy: even}")
PAPER = ("sdv2-1.3b-480p", *STILL, "--set", "workload.chunks=40", "--json")
MOVES = ("--set", "deployment.partition.schedule={5: [6, 8, 8, 8]}")


def simulated(home: Path, *arguments: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-m", "streamtwin.cli", "simulate", *PAPER, *arguments],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "STREAMTWIN_HOME": str(home), "OMP_NUM_THREADS": "1"},
    )


def test_both_engines_print_the_same_but_their_name(tmp_path: Path) -> None:
    said = {}
    for engine in ("simpy", "recurrence"):
        done = simulated(tmp_path, "--engine", engine)
        assert done.returncode == 0, done.stderr
        said[engine] = json.loads(done.stdout)
        assert said[engine]["provenance"].pop("engine") == engine
    assert said["simpy"] == said["recurrence"]


def test_an_engine_that_does_not_apply_or_exist_is_refused(tmp_path: Path) -> None:
    done = simulated(tmp_path, "--engine", "recurrence", *MOVES)
    assert done.returncode == 2
    assert "'recurrence' does not apply: deployment.partition.schedule moves blocks" in done.stderr
    done = simulated(tmp_path, "--engine", "fast")
    assert done.returncode == 2
    assert "--engine fast: choose one of auto, simpy, recurrence" in done.stderr
