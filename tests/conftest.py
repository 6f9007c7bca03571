"""What holds for every test: which examples property tests draw, and how many threads there are.

Property tests draw the same examples in every run, so that a failure belongs to a change, and none
has a deadline: how long an example takes says more of what else the host does.
`STREAMTWIN_EXPLORE=1` draws new ones, and more of them.

Tests have one thread, as ranks do. Tiny kernels gain nothing from a second one, and threads that
wait for each other by spinning take many times as long as one where other tests have the cores.
"""

import os
import signal
from collections.abc import Generator

os.environ.setdefault("OMP_NUM_THREADS", "1")  # read when the libraries are loaded

import pytest
from hypothesis import settings

settings.register_profile("repeatable", derandomize=True, deadline=None)
settings.register_profile("explore", max_examples=500, deadline=None)
settings.load_profile("explore" if os.environ.get("STREAMTWIN_EXPLORE") else "repeatable")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol() -> Generator[None, object, object]:
    """Take back SIGINT and SIGTERM, which a command given within this process keeps for its life."""
    kept = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        return (yield)
    finally:
        for number, handler in kept.items():
            signal.signal(number, handler)
