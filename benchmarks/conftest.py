"""Figures of the benchmarks, side by side at the end of the run."""

from collections.abc import Callable

import pytest

SHOWN = pytest.StashKey[list[str]]()


@pytest.fixture
def show(request: pytest.FixtureRequest) -> Callable[[str], None]:
    """Print a line once all benchmarks have run."""
    return request.config.stash.setdefault(SHOWN, []).append


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print what was shown."""
    lines = terminalreporter.config.stash.get(SHOWN, [])
    if lines:
        terminalreporter.section("figures of this run")
        for line in lines:
            terminalreporter.write_line(line)
