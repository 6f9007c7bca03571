"""Which part loads which: what a command does not need it does not load."""

import subprocess
import sys

import pytest

LOADED = "import sys; print(' '.join(m for m in {names!r} if m in sys.modules))"


def loaded_after(code: str, names: list[str]) -> list[str]:
    out = subprocess.run(
        [sys.executable, "-c", code + "\n" + LOADED.format(names=names)],
        capture_output=True,
        text=True,
        check=True,
    )
    return out.stdout.split()


@pytest.mark.parametrize(
    ("module", "never"),
    [
        ("streamtwin.core.metrics", ["torch", "simpy", "pandas", "scipy", "matplotlib"]),
        ("streamtwin.sim.simulate", ["torch", "pandas", "matplotlib"]),
        ("streamtwin.calibrate.profile", ["torch", "simpy", "matplotlib"]),
        ("streamtwin.bench.run", ["simpy", "pandas", "matplotlib"]),
        ("streamtwin.reports.page", ["torch", "simpy"]),
        ("streamtwin.kernels.stage", ["simpy", "pandas", "matplotlib"]),
        ("streamtwin.cli", ["torch", "simpy", "pandas", "matplotlib", "scipy"]),
    ],
)
def test_a_part_loads_only_its_own(module: str, never: list[str]) -> None:
    assert loaded_after(f"import {module}", never) == []
